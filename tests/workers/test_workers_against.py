"""The order of two environments' processes, how many there are, and what becomes of those that die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from observations import CASE_ID as CASE
from two_sides import Launcher, against, died, failed, measured_result, other_environment

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.judge import Limits, judge_pairs
from pytest_diffbench.records.details import TimeDetails
from pytest_diffbench.session.modes import environment as module
from pytest_diffbench.settings.options import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("begins", "order"), [(0.0, "bhhbbhhb"), (0.9, "hbbhhbbh")])
def test_sides_take_turns_and_chance_picks_the_first(tmp_path: Path, begins: float, order: str) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    both = against(launcher, begins=begins)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == order
    other = both.of(CASE)
    assert (len(other.pairs), other.missing, other.notes) == (4, None, [])
    assert other.reference is not None
    assert other.reference.distance == "machine"


def test_what_is_undecided_buys_more_pairs_up_to_the_most(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    asked: list[int] = []
    both = against(launcher)

    def wants_more() -> list[Any]:
        asked.append(len(both.of(CASE).pairs))
        return ["test"]

    both.measure(["test"], wants_more)  # type: ignore[list-item]  # only handed on
    assert (asked, len(both.of(CASE).pairs)) == ([4, 5], 6)


def test_a_dead_process_costs_a_single_pair_and_is_reported(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[measured_result(tmp_path), died(tmp_path), measured_result(tmp_path)],
        head=[measured_result(tmp_path), measured_result(tmp_path), died(tmp_path, None), measured_result(tmp_path)],
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
def test_a_side_without_measurements_stops_the_session_at_once(tmp_path: Path, kind: Any, why: str) -> None:
    launcher = Launcher(tmp_path, base=[kind(tmp_path)], head=[measured_result(tmp_path)])
    with pytest.raises(MeasureError, match=f"the other environment .other/python. measured no test.*{why}"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == "b"


def test_no_pair_is_begun_when_the_time_is_used_up(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    launcher.takes_s = 600
    both = against(launcher, budget_s=600)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    other = both.of(CASE)
    assert (launcher.order, other.pairs, other.reference) == ("b", [], None)
    assert other.missing == (
        "no more than 0 pairs: the 600 s of --diffbench-max-time are used up."
        " For 7 more processes, give --diffbench-max-time=5220"
    )


def test_no_pair_is_begun_without_time_to_end(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
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
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    launcher.takes_s = 400
    both = against(launcher, budget_s=600)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert launcher.order == "b"
    assert "the next takes about 400 s, and 200 of the 600 s" in (both.of(CASE).missing or "")


def test_fewer_tests_may_fit_where_all_do_not(tmp_path: Path) -> None:
    """How long those take that want more pairs is only known when they ran without the others."""
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    launcher.takes_s = 100
    both = against(launcher, budget_s=900)

    def wants_more() -> list[Any]:
        launcher.takes_s = 40
        return ["test"]

    both.measure(["test", "other"], wants_more)  # type: ignore[list-item]  # only handed on
    assert len(both.of(CASE).pairs) == 5
    assert "the next takes about 80 s, and 20 of the 900 s" in both.of(CASE).notes[-1]


def test_a_first_process_without_an_end_in_time_asks_for_more_time(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[died(tmp_path, None)], head=[measured_result(tmp_path)])
    with pytest.raises(MeasureError, match=r"didn't end within 60 s: .*max-time the seconds that 8 such processes"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on


def test_finished_pairs_survive_an_unstartable_process(tmp_path: Path) -> None:
    full = OSError(28, "No space left")
    launcher = Launcher(tmp_path, base=[*[measured_result(tmp_path)] * 3, full], head=[measured_result(tmp_path)])
    both = against(launcher)
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    other = both.of(CASE)
    assert (launcher.order, len(other.pairs), other.missing) == ("bhhbbhhb", 3, None)
    assert other.notes == [
        "no more than 3 pairs: the other environment: no process could be started ([Errno 28] No space left)"
    ]


def test_an_unstartable_first_process_is_an_error(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[OSError(13, "Permission denied")])
    with pytest.raises(MeasureError, match=r"^this environment: no process could be started \(\[Errno 13\] Perm"):
        against(launcher).measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on


def test_finished_pairs_are_judged_when_the_session_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    slower = measured_result(tmp_path, labels=("dark",), total_s=0.15)
    launcher = Launcher(
        tmp_path, base=[measured_result(tmp_path, labels=("dark",))], head=[*[slower] * 4, KeyboardInterrupt()]
    )
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
    side = measured_result(tmp_path, labels=labels)
    session._against = against(Launcher(tmp_path, base=[side], head=[side]))
    session._against.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    decided: list[int] = []

    def judged(pairs: Any, limits: Limits, decisions: int, *more: Any, **named: Any) -> Any:
        decided.append(decisions)
        return judge_pairs(pairs, limits, decisions, *more, **named)

    monkeypatch.setattr(module, "judge_pairs", judged)
    assert session._undecided() == []
    assert (set(decided), len(decided)) == (parts, 1 + len(labels))


def test_a_session_leaves_room_for_unusable_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = other_environment(tmp_path, monkeypatch)
    session._against._launcher = Launcher(
        tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)]
    )  # type: ignore[assignment]  # answers as one does
    session._against.measure(["test"], lambda: ["test"])  # type: ignore[list-item]  # only handed on
    assert len(session._against.of(CASE).pairs) == Limits().time_max_pairs + Limits().time_spare_pairs


def test_modules_from_the_same_file_on_both_sides_are_known(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[measured_result(tmp_path, modules={"engine": "/here/engine.py", "other": "/there/other.py"})],
        head=[measured_result(tmp_path, modules={"engine": "/here/engine.py", "other": "/here/other.py"})],
    )
    both = against(launcher)
    assert both.shared_modules == []
    both.measure(["test"], lambda: [])  # type: ignore[list-item]  # only handed on
    assert both.shared_modules == ["engine"]
