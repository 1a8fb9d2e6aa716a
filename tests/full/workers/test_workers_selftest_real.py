"""The self-test slows a real pipeline down, in real processes."""

from __future__ import annotations

import importlib
import json

import pytest
from test_workers_selftest import REAL

from pytest_diffbench.judge import Limits
from pytest_diffbench.workers.selftest import (
    Arm,
)


@pytest.mark.pipeline
def test_a_real_pipeline_is_slowed_down_in_real_processes(
    pytester: pytest.Pytester, real_libraries: None, quick_processes: None
) -> None:
    path = pytester.makepyfile(test_real=REAL)
    with pytest.MonkeyPatch.context() as patch:
        # As few processes as there can be. Imported here: pytester forgets what runs before this one have imported,
        # and what a package still holds of that by name is not what the run will use.
        trials = importlib.import_module("pytest_diffbench.workers.selftest")
        session = importlib.import_module("pytest_diffbench.session.modes.selftest")
        patch.setattr(trials, "_arms", lambda *_: [Arm(0.5, "calls")])
        patch.setattr(trials, "BASELINE_RUNS", 2)
        patch.setattr(session, "limits_of", lambda _: Limits(time_min_pairs=2, time_max_pairs=2, time_spare_pairs=0))
        patch.setattr(session, "_MOST_ROUNDS", 1)
        result = pytester.runpytest_inprocess(
            *("--diffbench-selftest", "--diffbench-rounds=1", "--diffbench-pairs=2", "--diffbench-max-time=600"), path
        )
    assert result.ret == 0
    (report,) = json.loads((pytester.path / ".diffbench" / "selftest.json").read_text())
    assert [(arm["size_rel"], arm["died"]) for arm in report["arms"]] == [(0.0, 0), (0.5, 0)]
    assert report["processes"] == 2 + 4
    result.stdout.fnmatch_lines(["*diffbench self-test*", "*test_case on *: 6 processes*", "*identical code*"])
    # Two of four calls were made twice, in two of the processes: by turns, after the two of the baseline.
    flops = [int(line) for line in (pytester.path / "flops.txt").read_text().splitlines()]
    assert [flops_of_run / flops[0] for flops_of_run in flops] == pytest.approx([1, 1, 1, 1.5, 1.5, 1], rel=0.01)
