"""Times that are no evidence are left out, and the rest is saved; a power cap and set clocks are no reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from store_builders import make_artifacts, make_observation, make_run

from pytest_diffbench.records import Run, Telemetry
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.session.verdicts import Concluded, conclude
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.store import Store

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
def test_times_slowed_down_in_most_rounds_are_left_out(tmp_path: Path, reason: str) -> None:
    done = saving(tmp_path, throttled((reason,), (), ("sw_power_cap", reason)))
    assert (saved_text(done.report.saved), done.failure) == ("created", None)
    assert done.report.times_left_out == (f"The device was throttled in 2 of 3 rounds ({reason}).")
    (folder,) = Store(tmp_path).entries()
    baseline = Store(tmp_path).load(folder).baseline
    assert baseline.timed_runs == ()
    assert baseline.work is not None
    assert Store(tmp_path).runs(baseline.runs[0].environment.machine, 9) == {baseline.case.id: ()}


def test_a_run_with_times_takes_the_place_of_a_run_without(tmp_path: Path) -> None:
    hot = throttled(("hw_slowdown",))
    assert saved_text(saving(tmp_path, hot).report.saved) == "created"
    assert saved_text(saving(tmp_path, hot).report.saved) == "kept: nothing changed, and there are no times to add"
    assert saved_text(saving(tmp_path, throttled(None)).report.saved) == "added run 1"
    assert saved_text(saving(tmp_path, hot).report.saved) == "kept: nothing changed, and there are no times to add"
    assert saved_text(saving(tmp_path, throttled(None)).report.saved) == "added run 2"
    (folder,) = Store(tmp_path).entries()
    assert all(run.rounds for run in Store(tmp_path).load(folder).baseline.runs)


def test_a_baseline_without_times_leaves_the_gate_of_time_without_a_baseline(tmp_path: Path) -> None:
    saving(tmp_path, throttled(("hw_slowdown",)))
    artifacts = make_artifacts()
    done = conclude(
        make_observation(artifacts, throttled(None)),
        artifacts,
        store=Store(tmp_path),
        settings=Settings(gates=("work", "time")),
        nodeid="tests/test_cfg.py::test_cfg_trunc[0.5]",
        failed=False,
    )
    assert [verdict.reason for verdict in done.report.verdicts] == ["work.same", "time.no_baseline"]
    assert "holds no times that can be compared with" in done.report.verdicts[1].message
    assert done.failure is None


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
    assert saved_text(saving(tmp_path, throttled(*rounds)).report.saved) == "created"
