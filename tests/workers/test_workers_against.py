"""The order of two environments' processes, how many there are, and what becomes of those that die."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from observations import CASE_ID as CASE
from observations import make_observation, make_run

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.judge import Limits, judge_pairs
from pytest_diffbench.records import Memory
from pytest_diffbench.records.details import TimeDetails
from pytest_diffbench.session.modes import environment as module
from pytest_diffbench.session.modes.environment import OtherEnvironment
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.workers import turns
from pytest_diffbench.workers.against import Against
from pytest_diffbench.workers.budget import Budget
from pytest_diffbench.workers.exchange import Done, Measured, Outcome
from pytest_diffbench.workers.launch import ProcessResult
from pytest_diffbench.workers.process import Ended

if TYPE_CHECKING:
    from pathlib import Path


class Launcher:
    """Stands in for the real one: what each side's processes leave, in their order; the last one again and again.

    An exception among them is raised. Each process takes `takes_s` by a clock of its own.
    """

    takes_s = 0.0
    now_s = 0.0

    def __init__(self, folder: Path, **sides: list[Any]) -> None:
        self.folder = folder
        self.sides = sides
        self.order = ""
        self.timeouts_s: list[float] = []

    def launch(
        self, items: Any, *, timeout_s: float, interpreter: str | None = None, artifacts: bool = False
    ) -> ProcessResult:
        side = "head" if interpreter is None else "base"
        assert artifacts is (side == "base")
        self.order += side[0]
        self.timeouts_s.append(timeout_s)
        self.now_s += self.takes_s
        return self.next_of(side)

    def launch_interleaved(
        self, items: Any, *, timeout_s: float, interpreters: tuple[str | None, str | None], first: int
    ) -> tuple[ProcessResult, ProcessResult]:
        assert interpreters == ("other/python", None)
        self.order += "BH"[first]
        self.timeouts_s.append(timeout_s)
        self.now_s += self.takes_s
        return self.next_of("base"), self.next_of("head")

    def next_of(self, side: str) -> ProcessResult:
        left = self.sides[side]
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, BaseException):
            raise one
        assert isinstance(one, ProcessResult)
        return one


def told(
    tmp_path: Path, *, modules: dict[str, str] | None = None, labels: tuple[str, ...] = (), total_s: float = 0.1
) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,),
        folder=tmp_path,
        ended=Ended(0, 60, ""),
        measured=tuple(
            Measured(
                test=CASE,
                observation=make_observation(make_run(total_s=total_s), case_id=identity),
                artifacts="case-0",
            )
            for identity in (CASE, *(f"{CASE}#{label}" for label in labels))
        ),
        outcomes=(),
        done=Done(tests=(CASE,), modules=modules or {}),
    )


def died(tmp_path: Path, status: int | None = -11) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,), folder=tmp_path, ended=Ended(status, 60, "last words"), measured=(), outcomes=(), done=None
    )


def failed(tmp_path: Path) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,),
        folder=tmp_path,
        ended=Ended(1, 60, ""),
        measured=(),
        outcomes=(Outcome(test=CASE, when="call", outcome="failed", text="ValueError: no"),),
        done=Done(tests=(CASE,), modules={}),
    )


def against(
    launcher: Launcher, *, begins: float = 0.0, pairs: int = 4, most: int = 6, budget_s: float = 600
) -> Against:
    return Against(
        launcher,  # type: ignore[arg-type]  # stands in for it
        Budget(budget_s, lambda: launcher.now_s),
        "other/python",
        pairs=pairs,
        most=most,
        notify=lambda _: None,
        chance=lambda: begins,
    )


def other_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OtherEnvironment:
    """The session's side, with two tests."""
    monkeypatch.setattr(module, "checked_interpreter", lambda *_: "other/python")
    config: Any = SimpleNamespace(
        rootpath=tmp_path,
        invocation_params=SimpleNamespace(dir=tmp_path),
        getoption=lambda _, default=None: default,
        get_verbosity=lambda: -1,
        pluginmanager=SimpleNamespace(get_plugin=lambda _: None),
    )
    launcher: Any = None
    session = OtherEnvironment(config, Settings(against="other/python"), launcher, Budget(600))
    tests: list[Any] = [
        SimpleNamespace(path=tmp_path / "tests" / "test_it.py", nodeid=name, config=config)
        for name in (CASE, f"{CASE}_too")
    ]
    session.begin([(test, Settings()) for test in tests])
    return session


@pytest.mark.parametrize(("begins", "order"), [(0.0, "bhhbbhhb"), (0.9, "hbbhhbbh")])
def test_sides_take_turns_and_chance_says_which_begins(tmp_path: Path, begins: float, order: str) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    both = against(launcher, begins=begins)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == order
    other = both.of(CASE)
    assert (len(other.pairs), other.missing, other.notes) == (4, None, [])
    assert other.reference is not None
    assert other.reference.distance == "machine"


def met(one: ProcessResult, *cases: str) -> ProcessResult:
    return dataclasses.replace(one, met=frozenset(cases))


def test_rounds_take_turns_in_one_launch_a_pair(tmp_path: Path) -> None:
    both_met = met(told(tmp_path), CASE)
    launcher = Launcher(tmp_path, base=[both_met], head=[both_met])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "BHBH"
    other = both.of(CASE)
    assert (len(other.pairs), other.by_turns, other.missing) == (4, True, None)


def test_a_pair_that_was_not_made_by_turns_is_no_match_for_those_that_were(tmp_path: Path) -> None:
    here, there = met(told(tmp_path), CASE), told(tmp_path)
    launcher = Launcher(tmp_path, base=[here, there, here], head=[here, there, here])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert (both.of(CASE).by_turns, len(both.of(CASE).pairs)) == (True, 3)
    launcher = Launcher(tmp_path, base=[there], head=[there])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert (both.of(CASE).by_turns, len(both.of(CASE).pairs)) == (False, 4)


def test_a_side_that_died_does_not_shorten_the_time_of_later_pairs(tmp_path: Path) -> None:
    here = met(told(tmp_path), CASE)
    measured_in_part = dataclasses.replace(here, done=None)
    launcher = Launcher(tmp_path, base=[measured_in_part, here], head=[here])
    launcher.takes_s = 300
    both = against(launcher, budget_s=6000)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert min(launcher.timeouts_s) > 300


def test_the_side_that_came_to_nothing_is_named_not_the_one_that_was_ended_for_it(tmp_path: Path) -> None:
    ended, failed_there = died(tmp_path, -15), failed(tmp_path)
    both = against(Launcher(tmp_path, base=[ended], head=[failed_there]))
    with pytest.raises(MeasureError, match=r"this environment measured no test.*ValueError: no"):
        both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on


@pytest.mark.parametrize(
    ("settings", "fixtures", "rounds"),
    [
        ({}, ["diffbench_pipeline"], True),
        ({"weights": "plan"}, ["diffbench_pipeline"], True),
        ({"weights": "random"}, ["diffbench_pipeline"], None),
        ({"device": "nowhere"}, ["diffbench_pipeline"], False),
        ({}, ["diffbench"], None),
        ({"turns": "rounds", "weights": "random"}, ["diffbench"], True),
        ({"turns": "processes"}, ["diffbench_pipeline"], False),
    ],
)
def test_two_processes_live_at_once_where_both_are_small(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    fixtures: list[str],
    rounds: bool | None,
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    monkeypatch.setattr(turns, "SUPPORTED", True)
    item: Any = SimpleNamespace(fixturenames=fixtures)
    session.begin([(item, Settings(**{"device": "cpu", **settings}))])
    assert session._goes_by_turns() is rounds


def test_after_a_first_pair_that_leaves_room_pairs_go_by_turns_without_it(tmp_path: Path) -> None:
    both_met = met(told(tmp_path), CASE)
    launcher = Launcher(tmp_path, base=[told(tmp_path), both_met], head=[told(tmp_path), both_met])
    both = against(launcher)
    both.measure(["test"], lambda: [], has_room=lambda pair: len(pair) == 2)  # type: ignore[list-item]  # handed on
    assert launcher.order == "bhHBHB"
    other = both.of(CASE)
    assert (len(other.pairs), other.by_turns, other.missing) == (4, True, None)


@pytest.mark.parametrize("pairs", [1, 4])
def test_without_room_or_with_one_pair_alone_processes_follow_each_other(tmp_path: Path, pairs: int) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    both = against(launcher, pairs=pairs)
    both.measure(["test"], lambda: [], has_room=lambda _: pairs == 1)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "bhhbbhhb"[: 2 * pairs]
    assert (len(both.of(CASE).pairs), both.of(CASE).by_turns) == (pairs, False)


def test_where_both_at_once_measure_nothing_they_follow_each_other_again(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[told(tmp_path)],
        head=[told(tmp_path), failed(tmp_path), told(tmp_path)],
    )
    both = against(launcher)
    both.measure(["test"], lambda: [], has_room=lambda _: True)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "bh" + "H" + "hbbhhbbh"
    other = both.of(CASE)
    assert (len(other.pairs), other.by_turns, other.missing) == (5, False, None)


@pytest.mark.parametrize(("free", "room"), [(250, True), (249, False), (None, False)])
def test_there_is_room_for_both_where_memory_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, room: bool
) -> None:
    monkeypatch.setattr("pytest_diffbench.pipelines.free_memory.free_bytes", lambda _: free)
    process = told(tmp_path)
    (case,) = process.measured
    memory = Memory(source="process_rss", peak_bytes=100, reserved_bytes=None, stages={})
    measured = msgspec.structs.replace(case, observation=msgspec.structs.replace(case.observation, memory=memory))
    process = dataclasses.replace(process, measured=(measured,))
    assert module._has_room([process, process]) is room
    assert not module._has_room([process, failed(tmp_path)])
    assert not module._has_room([process, told(tmp_path)]), "how much it takes isn't known"


def test_where_no_socket_can_be_handed_on_processes_go_by_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    monkeypatch.setattr(turns, "SUPPORTED", False)
    item: Any = SimpleNamespace(fixturenames=["diffbench_pipeline"])
    session.begin([(item, Settings(device="cpu"))])
    assert not session._goes_by_turns()


def test_neighbours_are_those_that_were_made_alike(tmp_path: Path) -> None:
    some_met = met(told(tmp_path, labels=("a", "b")), CASE, f"{CASE}#a")
    launcher = Launcher(tmp_path, base=[some_met], head=[some_met])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert [len(both.of(one).peer_pairs) for one in (CASE, f"{CASE}#a", f"{CASE}#b")] == [1, 1, 0]


def test_time_for_pairs_by_turns_is_asked_for_by_the_pair(tmp_path: Path) -> None:
    both_met = met(told(tmp_path), CASE)
    launcher = Launcher(tmp_path, base=[both_met], head=[both_met])
    launcher.takes_s = 100
    both = against(launcher, budget_s=250)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "BH"
    (note,) = both.of(CASE).notes
    assert "no more than 2 pairs" in note
    assert "For 2 more pairs" in note


def test_what_is_undecided_buys_more_pairs_up_to_the_most(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    asked: list[int] = []
    both = against(launcher)

    def wants_more() -> list[Any]:
        asked.append(len(both.of(CASE).pairs))
        return ["test"]

    both.measure(["test"], wants_more)  # type: ignore[list-item]  # only handed on
    assert (asked, len(both.of(CASE).pairs)) == ([4, 5], 6)


def test_a_process_that_died_costs_its_pair_alone_and_is_told_of(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[told(tmp_path), died(tmp_path), told(tmp_path)],
        head=[told(tmp_path), told(tmp_path), died(tmp_path, None), told(tmp_path)],
    )
    both = against(launcher)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    other = both.of(CASE)
    assert len(other.pairs) == 2
    assert other.notes == [
        "pair 2, the other environment: it was ended by SIGSEGV: last words",
        "pair 3, this environment: it didn't end within 60 s: last words",
    ]
    # After the first pair, nothing may take much longer than what was the longest.
    assert launcher.timeouts_s == [600, 600, *[60] * 6]


@pytest.mark.parametrize(
    ("kind", "why"),
    [(died, "it was ended by SIGSEGV: last words"), (failed, "ValueError: no")],
    ids=["died", "failed"],
)
def test_a_side_that_measured_nothing_stops_the_session_at_once(tmp_path: Path, kind: Any, why: str) -> None:
    launcher = Launcher(tmp_path, base=[kind(tmp_path)], head=[told(tmp_path)])
    with pytest.raises(MeasureError, match=f"the other environment .other/python. measured no test.*{why}"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == "b"


def test_no_pair_is_begun_when_the_time_is_used_up(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    launcher.takes_s = 600
    both = against(launcher, budget_s=600)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    other = both.of(CASE)
    assert (launcher.order, other.pairs, other.reference) == ("b", [], None)
    assert other.missing == (
        "no more than 0 pairs: the 600 s of --diffbench-max-time are used up."
        " For 7 more processes, give --diffbench-max-time=5220"
    )


def test_no_pair_is_begun_that_would_be_ended_before_its_time(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    launcher.takes_s = 100
    both = against(launcher, budget_s=750)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == "bhhbbh"
    assert (len(both.of(CASE).pairs), both.of(CASE).missing) == (3, None)
    assert both.of(CASE).notes == [
        "no more than 3 pairs: the next takes about 200 s, and 150 of the 750 s of --diffbench-max-time are left."
        " For 2 more processes, give --diffbench-max-time=960"
    ]


def test_the_second_of_a_pair_is_not_begun_either(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    launcher.takes_s = 400
    both = against(launcher, budget_s=600)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == "b"
    assert "the next takes about 400 s, and 200 of the 600 s" in (both.of(CASE).missing or "")


def test_fewer_tests_may_fit_where_all_do_not(tmp_path: Path) -> None:
    """How long those take that want more pairs is only known when they ran without the others."""
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])
    launcher.takes_s = 100
    both = against(launcher, budget_s=900)

    def wants_more() -> list[Any]:
        launcher.takes_s = 40
        return ["test"]

    both.measure(["test", "other"], wants_more)  # type: ignore[list-item]  # only handed on
    assert len(both.of(CASE).pairs) == 5
    assert "the next takes about 80 s, and 20 of the 900 s" in both.of(CASE).notes[-1]


def test_a_first_process_that_did_not_end_within_the_time_asks_for_more_of_it(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[died(tmp_path, None)], head=[told(tmp_path)])
    with pytest.raises(MeasureError, match=r"didn't end within 60 s: .*max-time the seconds that 8 such processes"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on


def test_pairs_that_are_there_survive_a_process_that_cannot_be_started(tmp_path: Path) -> None:
    full = OSError(28, "No space left")
    launcher = Launcher(tmp_path, base=[*[told(tmp_path)] * 3, full], head=[told(tmp_path)])
    both = against(launcher)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    other = both.of(CASE)
    assert (launcher.order, len(other.pairs), other.missing) == ("bhhbbhhb", 3, None)
    assert other.notes == [
        "no more than 3 pairs: the other environment: no process could be started ([Errno 28] No space left)"
    ]


def test_a_first_process_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[OSError(13, "Permission denied")])
    with pytest.raises(MeasureError, match=r"^this environment: no process could be started \(\[Errno 13\] Perm"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on


def test_pairs_that_are_there_are_judged_when_the_session_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    slower = told(tmp_path, labels=("dark",), total_s=0.15)
    launcher = Launcher(tmp_path, base=[told(tmp_path, labels=("dark",))], head=[*[slower] * 4, KeyboardInterrupt()])
    session._against = against(launcher, pairs=10, most=10)
    with pytest.raises(KeyboardInterrupt):
        session._against.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    (report,) = session.unreached({CASE})
    assert report.observation.case.id == f"{CASE}#dark"
    assert report.observation.run.median_s == 0.15, "as this environment measured it"
    assert report.observation.notes == ("interrupted: only its time is judged, by pairs",)
    assert (len(report.pairs), report.against) == (4, "other/python")
    (verdict,) = report.verdicts
    assert isinstance(verdict.details, TimeDetails)
    assert (verdict.reason, verdict.details.decisions) == ("time.slower", 4), verdict
    session.begin([(test, Settings(gates=("work",))) for test, _ in session._tests])
    assert session.unreached(()) == []


@pytest.mark.parametrize(("labels", "parts"), [((), {2}), (("dark", "darker"), {6})])
def test_whether_a_further_pair_is_wanted_is_asked_with_the_cases_own_part_of_the_error_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: tuple[str, ...], parts: set[int]
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    side = told(tmp_path, labels=labels)
    session._against = against(Launcher(tmp_path, base=[side], head=[side]))
    session._against.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    decided: list[int] = []

    def judged(pairs: Any, limits: Limits, decisions: int, *more: Any, **named: Any) -> Any:
        decided.append(decisions)
        return judge_pairs(pairs, limits, decisions, *more, **named)

    monkeypatch.setattr(module, "judge_pairs", judged)
    assert session._undecided() == []
    assert (set(decided), len(decided)) == (parts, 1 + len(labels))


def test_a_session_leaves_room_for_pairs_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = other_environment(tmp_path, monkeypatch)
    session._against._launcher = Launcher(tmp_path, base=[told(tmp_path)], head=[told(tmp_path)])  # type: ignore[assignment]  # answers as one does
    session._against.measure(["test"], lambda: ["test"])  # type: ignore[list-item]  # only handed on
    assert len(session._against.of(CASE).pairs) == Limits().time_max_pairs + Limits().time_spare_pairs


def test_modules_from_one_file_on_both_sides_are_known(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[told(tmp_path, modules={"engine": "/here/engine.py", "other": "/there/other.py"})],
        head=[told(tmp_path, modules={"engine": "/here/engine.py", "other": "/here/other.py"})],
    )
    both = against(launcher)
    assert both.shared_modules == []
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert both.shared_modules == ["engine"]
