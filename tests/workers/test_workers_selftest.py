"""The self-test: its trials and bounds on made-up runs, and once for real on a mini."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from observations import make_observation, make_run

from pytest_diffbench.judge import Limits, wants_runs
from pytest_diffbench.records import CallGroup, LayerTimes, Work
from pytest_diffbench.session.modes.selftest import SelfTest
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.workers.budget import Budget
from pytest_diffbench.workers.exchange import Measured
from pytest_diffbench.workers.launch import ProcessResult
from pytest_diffbench.workers.process import Ended
from pytest_diffbench.workers.selftest import (
    BASELINE_RUNS,
    KINDS,
    SIZES,
    SOUND,
    Arm,
    Selftest,
    SelftestReport,
    lines,
    processes_at_least,
    rate,
    stored_verdicts,
)

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation

WORK = Work(
    steps=8,
    denoiser=(CallGroup(component="transformer", branch="cond", batch=1, shapes={}, flops=1, steps="0-7"),),
    component_calls={},
    flops={},
    parameters={},
    attention_parameters={},
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Clopper and Pearson, 1934: .95 bounds as tables print them
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 20, 0.0013, 0.2487)],
)
def test_bounds_match_published_tables(successes: int, trials: int, low: float, high: float) -> None:
    estimated = rate(successes, trials)
    assert [estimated.low, estimated.high] == pytest.approx([low, high], abs=5e-5)


def test_what_is_undecided_widens_the_bounds_to_both_sides() -> None:
    estimated = rate(5, 10, 2)
    assert (estimated.seen, estimated.undecided, estimated.trials) == (5, 2, 10)
    assert (estimated.low, estimated.high) == (rate(5, 10).low, rate(7, 10).high)
    assert rate(8, 10, 2).high == 1.0


def test_nothing_is_known_without_a_trial() -> None:
    assert rate(0, 0) == rate(0, 0).__class__(seen=0, trials=0, low=0.0, high=1.0)


def test_a_slowdown_is_only_planted_where_possible_for_the_case() -> None:
    bare = make_observation()
    assert [Arm(0.2, kind).plant(bare) for kind in KINDS] == ["delay:0.2", None, None]
    layers = LayerTimes(attention_s=1.0, other_s=3.0, attention_layers=2)
    whole = msgspec.structs.replace(bare, work=WORK, layers=layers)
    assert [Arm(0.5, kind).plant(whole) for kind in KINDS] == ["delay:0.5", "attention:2", "calls:4/8"]
    assert Arm(0.05, "calls").plant(whole) is None, "a fifth of a call can't be made twice"
    assert SOUND.plant(whole) is None


def test_no_run_serves_two_trials() -> None:
    sound = make_observation()
    baseline = [make_run(str(i)) for i in range(5)]
    slow = [make_run(f"slow {i}", 0.2) for i in range(7)]
    # A first run and two fresh ones each; the seventh has none left to confirm it, and stays open.
    verdicts = stored_verdicts(sound, baseline, slow, Limits())
    assert [verdict.reason for verdict in verdicts] == ["time.slower", "time.slower", "time.unconfirmed"]
    assert [wants_runs(verdict) for verdict in verdicts] == [False, False, True]
    assert [verdict.reason for verdict in stored_verdicts(sound, baseline, baseline, Limits())] == ["time.same"] * 5


class Machine:
    """Makes runs of a spread, slower by half of what is planted, until it has made enough."""

    def __init__(self, most: int, spread_rel: float = 0.01) -> None:
        self.left = most
        self.spread_rel = spread_rel
        self.plants: list[str | None] = []
        self.chance = random.Random(4711)

    def measure(self, plant: str | None) -> Observation | str | None:
        if self.left == 0:
            return None
        self.left -= 1
        self.plants.append(plant)
        size_rel = float(plant.partition(":")[2]) if plant is not None else 0.0
        total_s = 0.1 * (1 + size_rel / 2) * (1 + self.chance.gauss(0, self.spread_rel))
        return make_observation(make_run(str(self.left), total_s))


FOUR = Limits(time_max_pairs=4)
"""Whatever four pairs leave open stays so."""


def selftest(machine: Machine, rounds: int = 100, limits: Limits = FOUR) -> SelftestReport | str:
    trials = Selftest(machine.measure, limits, lambda _: None, pairs=4)
    trials.run(rounds)
    return trials.report()


def test_the_selftest_detects_large_slowdowns_and_none_in_identical_code() -> None:
    machine = Machine(5 + 2 * 40)
    report = selftest(machine, rounds=2)
    assert isinstance(report, SelftestReport)
    assert report.processes == 85
    assert [arm.size_rel for arm in report.arms] == [0.0, *SIZES]
    sound, *_, largest = report.arms
    assert (sound.stored.seen, sound.paired.seen) == (0, 0)
    # Identical code, and the sound side of each of four sizes, four runs a round each: some run as confirmation.
    assert 40 <= sound.stored.trials <= 48
    assert sound.paired.trials == 2
    assert (largest.paired.seen, largest.paired.trials) == (2, 2)
    # Of eight runs, two were left for the third trial.
    assert (largest.stored.seen, largest.stored.undecided, largest.stored.trials) == (2, 1, 3)
    assert largest.total_rel == pytest.approx(0.25, abs=0.03)
    # Sides take turns within a block.
    assert machine.plants[BASELINE_RUNS + 8 :][:8] == [None, "delay:0.05", "delay:0.05", None] * 2
    text = "\n".join(lines(report))
    assert "identical code" in text
    assert "50 % by delay" in text
    assert "2 of 2 (16 to 100 %)" in text


def test_what_is_there_when_the_time_is_used_up_is_reported() -> None:
    report = selftest(Machine(5 + 11))
    assert isinstance(report, SelftestReport)
    assert [(arm.size_rel, arm.paired.trials) for arm in report.arms] == [(0.0, 1), (0.05, 0)]
    assert "no trial" in "\n".join(lines(report))


def test_without_a_baseline_the_selftest_says_why() -> None:
    assert selftest(Machine(3)) == f"3 of {BASELINE_RUNS} runs for a baseline were made, then: there was no time"
    broken = Selftest(lambda _: "the test failed (call): no", Limits(), lambda _: None, pairs=4)
    broken.run(1)
    assert broken.report() == f"0 of {BASELINE_RUNS} runs for a baseline were made, then: the test failed (call): no"
    assert not broken.out_of_time


def test_a_trial_of_pairs_goes_on_while_undecided() -> None:
    """As a session does, of which a trial is to tell."""
    noisy = selftest(Machine(10_000, spread_rel=0.5), rounds=1, limits=Limits())
    assert isinstance(noisy, SelftestReport)
    assert (noisy.pairs, noisy.most_pairs) == (4, 10)
    # Most of the five trials go on to the end.
    assert processes_at_least(4) + 3 * 2 * 6 < noisy.processes <= BASELINE_RUNS + 5 * 2 * 10
    assert [(arm.paired.trials, arm.paired.undecided) for arm in noisy.arms] == [(1, 0)] * 5
    assert "A trial of pairs has 4, and up to 10 usable ones if they leave it open" in "\n".join(lines(noisy))
    calm = selftest(Machine(10_000, spread_rel=0.0001), rounds=1, limits=Limits())
    assert isinstance(calm, SelftestReport)
    assert calm.processes == processes_at_least(4) == BASELINE_RUNS + 5 * 2 * 4


def test_a_trial_short_of_time_is_undecided() -> None:
    report = selftest(Machine(5 + 2 * 6, spread_rel=0.2), limits=Limits())
    assert isinstance(report, SelftestReport)
    (sound,) = report.arms
    assert (sound.paired.seen, sound.paired.undecided, sound.paired.trials) == (0, 1, 1)
    assert "0 of 1, 1 undecided (0 to 100 %)" in "\n".join(lines(report))


def test_an_interruption_keeps_what_is_there() -> None:
    machine, count = Machine(1000), 0

    def measure(plant: str | None) -> Observation | str | None:
        nonlocal count
        count += 1
        if count > BASELINE_RUNS + 8 + 3:
            raise KeyboardInterrupt
        return machine.measure(plant)

    trials = Selftest(measure, FOUR, lambda _: None, pairs=4)
    with pytest.raises(KeyboardInterrupt):
        trials.run(100)
    report = trials.report()
    assert isinstance(report, SelftestReport)
    assert [(arm.size_rel, arm.paired.trials) for arm in report.arms] == [(0.0, 1), (0.05, 0)]
    early = Selftest(measure, FOUR, lambda _: None, pairs=4)
    with pytest.raises(KeyboardInterrupt):
        early.run(100)
    assert early.report() == f"0 of {BASELINE_RUNS} runs for a baseline were made, then: it was interrupted"


def test_the_selftest_gives_up_when_no_process_leaves_a_run_any_more() -> None:
    machine = Machine(BASELINE_RUNS + 8)

    def measure(plant: str | None) -> Observation | str | None:
        return machine.measure(plant) or "no process could be started ([Errno 28])"

    trials = Selftest(measure, FOUR, lambda _: None, pairs=4)
    trials.run(100)
    assert trials.gave_up == "5 processes in a row gave no run: no process could be started ([Errno 28])"
    report = trials.report()
    assert isinstance(report, SelftestReport)
    assert (report.processes, trials.out_of_time) == (BASELINE_RUNS + 8 + 5, False)


class Launcher:
    """Stands in for the real one: each process takes ten seconds by a clock of its own; `dead` tests leave no run."""

    def __init__(self, *dead: str, last: int = 1000) -> None:
        self.dead = dead
        self.last = last
        self.now_s = 0.0
        self.started: list[str] = []

    def launch(self, items: list[Any], *, timeout_s: float, plant: str | None) -> ProcessResult:
        name = items[0].nodeid
        self.started.append(name)
        if len(self.started) > self.last:
            raise KeyboardInterrupt
        self.now_s += min(10, timeout_s)
        ended = Ended(0 if timeout_s >= 10 else None, timeout_s, "")
        dead = name in self.dead or ended.status is None
        measured = Measured(test=name, observation=make_observation(case_id=name))
        return ProcessResult((name,), Path(), ended, () if dead else (measured,), (), None)


def session(folder: Path, launcher: Launcher, max_time_s: float, *names: str) -> SelfTest:
    """A session of tests of these names."""
    config: Any = SimpleNamespace(
        rootpath=folder,
        args_source=pytest.Config.ArgsSource.ARGS,
        getoption=lambda _: False,
        get_verbosity=lambda: -1,
        pluginmanager=SimpleNamespace(get_plugin=lambda _: None),
    )
    budget = Budget(max_time_s, lambda: launcher.now_s)
    selftest = SelfTest(config, launcher, budget)  # type: ignore[arg-type]  # stands in for it
    tests: list[Any] = [
        SimpleNamespace(path=folder / "test_it.py", nodeid=name, config=config, fixturenames=("diffbench_pipeline",))
        for name in names
    ]
    selftest.begin([(test, Settings()) for test in tests])
    return selftest


def terminal_text(selftest: SelfTest) -> str:
    lines: list[str] = []
    reporter: Any = SimpleNamespace(
        section=lines.append,
        write_line=lambda text, **_: lines.append(text),
    )
    selftest.pytest_terminal_summary(reporter)
    return "\n".join(lines)


def written(folder: Path) -> list[str]:
    return [line["case"] for line in json.loads((folder / ".diffbench" / "selftest.json").read_text())]


A, B, C = (f"test_it.py::test_{name}" for name in "abc")


def test_every_test_has_a_part_of_the_time(tmp_path: Path) -> None:
    launcher = Launcher()
    selftest = session(tmp_path, launcher, 1800, A, B, C)
    run: Any = SimpleNamespace(testsfailed=0)
    assert selftest.pytest_runtestloop(run)
    assert {name: launcher.started.count(name) for name in (A, B, C)} == {A: 60, B: 60, C: 60}
    assert (run.testsfailed, written(tmp_path)) == (0, [A, B, C])
    assert "max-time" not in terminal_text(selftest)


def test_unneeded_time_of_a_test_goes_to_the_next(tmp_path: Path) -> None:
    launcher = Launcher(A)
    selftest = session(tmp_path, launcher, 1850, A, B, C)
    run: Any = SimpleNamespace(testsfailed=0)
    selftest.pytest_runtestloop(run)
    assert {name: launcher.started.count(name) for name in (A, B, C)} == {A: 5, B: 90, C: 90}
    assert (run.testsfailed, written(tmp_path)) == (1, [B, C])
    assert f"{A}: 0 of 5 runs for a baseline were made, then: it ended with status 0" in terminal_text(selftest)


def test_a_test_with_too_little_time_is_named_with_the_remedy(tmp_path: Path) -> None:
    launcher = Launcher()
    selftest = session(tmp_path, launcher, 60, A, B)
    run: Any = SimpleNamespace(testsfailed=0)
    selftest.pytest_runtestloop(run)
    remedy = "It had 30 of the 60 s of --diffbench-max-time. Give at least --diffbench-max-time=1140."
    for name in (A, B):
        assert f"{name}: 3 of 5 runs for a baseline were made, then: there was no time. {remedy}" in terminal_text(
            selftest
        )
    assert (run.testsfailed, launcher.started) == (2, [A] * 3 + [B] * 3)
    assert not (tmp_path / ".diffbench").exists()

    selftest = session(tmp_path, Launcher(), 400, A, B)
    run.testsfailed = 0
    selftest.pytest_runtestloop(run)
    remedy = "It had 200 of the 400 s of --diffbench-max-time. Give at least --diffbench-max-time=1140."
    assert f"{A}: no complete trial of pairs of each size. {remedy}" in terminal_text(selftest)
    assert (run.testsfailed, written(tmp_path)) == (0, [A, B])

    selftest = session(tmp_path, Launcher(), 8, A)
    selftest.pytest_runtestloop(run)
    assert "It had 8 of the 8 s of --diffbench-max-time, and no process finished in that time" in terminal_text(
        selftest
    )


def test_a_night_is_not_lost_to_an_interruption(tmp_path: Path) -> None:
    launcher = Launcher(last=60 + 30)
    selftest = session(tmp_path, launcher, 1800, A, B, C)
    run: Any = SimpleNamespace(testsfailed=0)
    with pytest.raises(KeyboardInterrupt):
        selftest.pytest_runtestloop(run)
    assert written(tmp_path) == [A, B]
    text = terminal_text(selftest)
    assert f"{A} on cpu-test-2c: 60 processes, 5 for the baseline" in text
    assert f"{B} on cpu-test-2c: 30 processes, 5 for the baseline" in text


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def test_it(diffbench): ...", "*none of the tests uses diffbench_pipeline*"),
        ("def test_it(): ...", "*none of the tests uses diffbench_pipeline*"),
    ],
)
def test_tests_unfit_for_the_selftest_are_a_usage_error(
    pytester: pytest.Pytester, real_libraries: None, test: str, message: str
) -> None:
    path = pytester.makepyfile(test)
    result = pytester.runpytest_inprocess("--diffbench-selftest", path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


REAL = """
import pytest

@pytest.mark.diffbench(model="lumina2")
def test_case(diffbench, diffbench_pipeline):
    result = diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2, height=128, width=128)
    with open("flops.txt", "a") as file:
        file.write(f"{result.work.flops['transformer']}\\n")
"""


INTERRUPTING = """
from pytest_diffbench.workers.launch import Launcher

def launch(*_, **__):
    raise KeyboardInterrupt

Launcher.launch = launch
"""


def test_an_interrupted_session_tells_what_there_is(pytester: pytest.Pytester, quick_processes: None) -> None:
    pytester.makeconftest(INTERRUPTING)
    result = pytester.runpytest_subprocess("--diffbench-selftest", pytester.makepyfile(test_real=REAL))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["*diffbench self-test*", "*test_case: 0 of 5 runs for a baseline were made, then: it was interrupted"]
    )
