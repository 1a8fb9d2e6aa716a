"""What heat or the power supply slowed down is no baseline; a power cap and clocks that somebody set are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from store_builders import make_artifacts, make_observation, make_run

from pytest_diffbench.options import Settings
from pytest_diffbench.records import Run, Telemetry
from pytest_diffbench.store import Store
from pytest_diffbench.verdicts import Concluded, conclude

if TYPE_CHECKING:
    from pathlib import Path


def throttled(*rounds: tuple[str, ...] | None) -> Run:
    """A run whose rounds were throttled for these reasons; None: nobody asked the device."""
    run = make_run()
    return msgspec.structs.replace(
        run,
        rounds=tuple(
            msgspec.structs.replace(
                run.rounds[0], telemetry=Telemetry(throttle_reasons=reasons) if reasons is not None else None
            )
            for reasons in rounds
        ),
    )


def saving(folder: Path, run: Run) -> Concluded:
    artifacts = make_artifacts()
    settings = Settings(save=True, gates=("work", "time"))
    return conclude(
        make_observation(artifacts, run),
        artifacts,
        store=Store(folder),
        settings=settings,
        nodeid="tests/test_cfg.py::test_cfg_trunc[0.5]",
        failed=False,
    )


@pytest.mark.parametrize(
    "reason", ["hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown"]
)
def test_a_run_that_was_slowed_down_in_most_rounds_is_refused(tmp_path: Path, reason: str) -> None:
    done = saving(tmp_path, throttled((reason,), (), ("sw_power_cap", reason)))
    assert done.report.saved == (
        f"refused: The device's clocks were held down in 2 of 3 rounds ({reason}):"
        " cool it, or look at its power supply."
    )
    assert done.failure is not None
    assert "not saved, The device's clocks were held down" in done.failure
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rounds",
    [
        [("hw_thermal_slowdown",), ()],  # half of them
        [("hw_thermal_slowdown",), (), None],
        [("sw_power_cap",)] * 3,
        [("applications_clocks_setting", "display_clock_setting")] * 3,
        [None] * 3,
    ],
)
def test_other_runs_are_saved(tmp_path: Path, rounds: list[tuple[str, ...] | None]) -> None:
    assert saving(tmp_path, throttled(*rounds)).report.saved == "created"
