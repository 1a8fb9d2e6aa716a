"""Questions to the time gate: runs of a baseline, and a run held against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge import Limits
    from pytest_diffbench.records import Run

SPREAD = (0, 1, -1, 0.5, -0.5, 0.8, -0.8, 0.2, -0.2, 0.4)


def past(count: int, median_s: float = 12.0, spread_rel: float = 0.01, **changed: Any) -> list[Run]:
    """Runs of so many days before that of `make.run`."""
    return [
        make.run(
            median_s * (1 + spread_rel * SPREAD[n % len(SPREAD)]), started=f"2025-12-{n + 1:02}T00:00:00Z", **changed
        )
        for n in range(count)
    ]


def judged(
    now: Run, runs: Sequence[Run], limits: Limits | None = None, fresh: Sequence[Run] | int = 0, **more: Any
) -> Any:
    """The verdict; `fresh` are the runs of fresh processes, or how many that repeat the first."""
    more_runs = [now] * fresh if isinstance(fresh, int) else fresh
    return make.ask(
        "time", make.observation(run=now), make.reference(runs=runs), limits=limits, more_runs=more_runs, **more
    )


def on_gpu(median_s: float, spread_rel: float = 0.002, count: int = 10, fresh: int = 2) -> Any:
    env = make.environment("cuda")
    return judged(make.run(median_s, env=env), past(count, env=env, spread_rel=spread_rel), fresh=fresh)
