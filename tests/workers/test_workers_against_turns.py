"""Where the two processes of a pair are alive at once, and go round by round."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from observations import CASE_ID as CASE
from two_sides import Launcher, against, died, failed, measured_result, met, other_environment

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.records import Memory
from pytest_diffbench.session.modes import environment as module
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.workers import turns

if TYPE_CHECKING:
    from pathlib import Path


def test_rounds_take_turns_in_a_single_launch_per_pair(tmp_path: Path) -> None:
    both_met = met(measured_result(tmp_path), CASE)
    launcher = Launcher(tmp_path, base=[both_met], head=[both_met])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "BHBH"
    other = both.of(CASE)
    assert (len(other.pairs), other.by_turns, other.missing) == (4, True, None)


def test_a_pair_without_turns_is_no_match_for_pairs_by_turns(tmp_path: Path) -> None:
    here, there = met(measured_result(tmp_path), CASE), measured_result(tmp_path)
    launcher = Launcher(tmp_path, base=[here, there, here], head=[here, there, here])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert (both.of(CASE).by_turns, len(both.of(CASE).pairs)) == (True, 3)
    launcher = Launcher(tmp_path, base=[there], head=[there])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert (both.of(CASE).by_turns, len(both.of(CASE).pairs)) == (False, 4)


def test_a_dead_side_does_not_shorten_the_time_of_later_pairs(tmp_path: Path) -> None:
    here = met(measured_result(tmp_path), CASE)
    measured_in_part = dataclasses.replace(here, done=None)
    launcher = Launcher(tmp_path, base=[measured_in_part, here], head=[here])
    launcher.takes_s = 300
    both = against(launcher, budget_s=6000)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert min(launcher.timeouts_s) > 300


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


def test_with_room_after_a_first_pair_pairs_go_by_turns(tmp_path: Path) -> None:
    both_met = met(measured_result(tmp_path), CASE)
    launcher = Launcher(
        tmp_path, base=[measured_result(tmp_path), both_met], head=[measured_result(tmp_path), both_met]
    )
    both = against(launcher)
    both.measure(["test"], lambda: [], has_room=lambda pair: len(pair) == 2)  # type: ignore[list-item]  # handed on
    assert launcher.order == "bhHBHB"
    other = both.of(CASE)
    assert (len(other.pairs), other.by_turns, other.missing) == (4, True, None)


@pytest.mark.parametrize("pairs", [1, 4])
def test_without_room_or_for_a_single_pair_processes_follow_in_sequence(tmp_path: Path, pairs: int) -> None:
    launcher = Launcher(tmp_path, base=[measured_result(tmp_path)], head=[measured_result(tmp_path)])
    both = against(launcher, pairs=pairs)
    both.measure(["test"], lambda: [], has_room=lambda _: pairs == 1)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "bhhbbhhb"[: 2 * pairs]
    assert (len(both.of(CASE).pairs), both.of(CASE).by_turns) == (pairs, False)


def test_if_both_measure_nothing_at_once_processes_follow_in_sequence_again(tmp_path: Path) -> None:
    launcher = Launcher(
        tmp_path,
        base=[measured_result(tmp_path)],
        head=[measured_result(tmp_path), failed(tmp_path), measured_result(tmp_path)],
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
    process = measured_result(tmp_path)
    (case,) = process.measured
    memory = Memory(source="process_rss", peak_bytes=100, reserved_bytes=None, stages={})
    measured = msgspec.structs.replace(case, observation=msgspec.structs.replace(case.observation, memory=memory))
    process = dataclasses.replace(process, measured=(measured,))
    assert module._has_room([process, process]) is room
    assert not module._has_room([process, failed(tmp_path)])
    assert not module._has_room([process, measured_result(tmp_path)]), "how much it takes isn't known"


def test_where_no_socket_can_be_handed_on_processes_go_by_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = other_environment(tmp_path, monkeypatch)
    monkeypatch.setattr(turns, "SUPPORTED", False)
    item: Any = SimpleNamespace(fixturenames=["diffbench_pipeline"])
    session.begin([(item, Settings(device="cpu"))])
    assert not session._goes_by_turns()


def test_neighbours_are_measured_alike(tmp_path: Path) -> None:
    some_met = met(measured_result(tmp_path, labels=("a", "b")), CASE, f"{CASE}#a")
    launcher = Launcher(tmp_path, base=[some_met], head=[some_met])
    both = against(launcher)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert [len(both.of(case).peer_pairs) for case in (CASE, f"{CASE}#a", f"{CASE}#b")] == [1, 1, 0]


def test_time_for_pairs_by_turns_is_asked_for_by_the_pair(tmp_path: Path) -> None:
    both_met = met(measured_result(tmp_path), CASE)
    launcher = Launcher(tmp_path, base=[both_met], head=[both_met])
    launcher.takes_s = 100
    both = against(launcher, budget_s=250)
    both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
    assert launcher.order == "BH"
    (note,) = both.of(CASE).notes
    assert "no more than 2 pairs" in note
    assert "For 2 more pairs" in note


def test_the_failed_side_is_named_and_not_the_ended_side(tmp_path: Path) -> None:
    ended, failed_there = died(tmp_path, -15), failed(tmp_path)
    both = against(Launcher(tmp_path, base=[ended], head=[failed_there]))
    with pytest.raises(MeasureError, match=r"this environment measured no test.*ValueError: no"):
        both.measure(["test"], lambda: [], by_turns=True)  # type: ignore[list-item]  # only handed on
