"""The terminal: golden files for whole sessions, and rules that hold at any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import report_factories as make
import report_records
from golden_files import assert_golden

from pytest_diffbench.judge.reasons import REASONS
from pytest_diffbench.report.failure import failure_text
from pytest_diffbench.report.lines import for_encoding, plain, text_of, width_of
from pytest_diffbench.report.terminal import case_lines, summary_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.judge.reasons import Reason
    from pytest_diffbench.records import CaseReport, Decision, SessionReport

SESSIONS = {"pass": make.all_pass, "red": make.red, "interrupted": make.interrupted, "empty": make.empty}
COLOURS = {"red", "green", "yellow", "cyan"}


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("width", [80, 100, 140])
def test_golden_summary(name: str, width: int) -> None:
    assert_golden(f"terminal-{name}-{width}.txt", plain(summary_lines(SESSIONS[name](), width, verbose=False)))


def test_what_pytest_has_explained_is_named_by_its_reasons() -> None:
    session = make.red()
    explained = [case.observation.case.id for case in session.cases]
    text = plain(summary_lines(session, 80, False, explained))
    assert_golden("terminal-red-80-explained.txt", text)
    whole = plain(summary_lines(session, 80, False))
    assert summary_lines(session, 80, True, explained) == summary_lines(session, 80, True), "-v says everything"
    worse = [verdict for case in session.cases for verdict in case.verdicts if verdict.decision == "worse"]
    assert len(worse) > 2
    for verdict in worse:
        assert verdict.reason in text
        assert verdict.reason in whole
    assert len(text.splitlines()) < len(whole.splitlines()) - 2 * len(worse)


def test_golden_verbose_summary() -> None:
    assert_golden("terminal-red-100-verbose.txt", plain(summary_lines(make.red(), 100, verbose=True)))


def test_golden_ascii_summary() -> None:
    text = plain(for_encoding(summary_lines(make.red(), 100, verbose=True), "ascii"))
    assert text.isascii()
    assert_golden("terminal-red-100-ascii.txt", text)


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("worse", make.slower()),
        ("unbaselined", make.unbaselined(report_records.lumina("test_new_prompt[a|b]"))),
        ("refused", make.red().cases[-1]),
        ("error", make.red().cases[5]),
        ("strict", make.red().cases[3]),
    ],
)
def test_golden_failure(name: str, report: CaseReport) -> None:
    assert_golden(f"failure-{name}.txt", failure_text(report) + "\n")


@pytest.mark.parametrize("session", SESSIONS.values())
@pytest.mark.parametrize("width", [60, 80, 99, 120, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_the_terminal(session: Callable[[], SessionReport], width: int, verbose: bool) -> None:
    for line in summary_lines(session(), width, verbose):
        # the command to copy is never broken
        assert width_of(line) <= width or "pytest --diffbench-save" in text_of(line)


def test_every_gate_and_reason_is_shown() -> None:
    for session in (make.all_pass(), make.red()):
        text = plain(summary_lines(session, 100, verbose=False))
        for case in session.cases:
            for verdict in case.verdicts:
                if not verdict.reason.endswith("no_baseline"):
                    assert verdict.reason in text


SEES = {"detectable_rel": 0.118}


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize(
    ("what", "decision"),
    [("slower", "worse"), ("unconfirmed", "unsure"), ("clocks", "unsure"), ("faster", "better"), ("same", "same")],
)
def test_every_verdict_on_time_states_the_detectable_change(what: str, decision: Decision, verbose: bool) -> None:
    case = make.report(report_records.lumina("t"), make.verdict("time", what, decision, details=SEES))
    text = plain(summary_lines(make.session(case), 100, verbose))
    assert f"time.{what} (finds +12 %)" in text


def test_only_time_states_the_detectable_change() -> None:
    work = make.verdict("work", "same", "same", details=SEES)  # not the time gate's
    blind = make.verdict("time", "few_runs", "unsure", details={"detectable_rel": None})
    assert "finds" not in plain(
        summary_lines(make.session(make.report(report_records.lumina("t"), work, blind)), 100, False)
    )


def test_only_decisions_are_coloured() -> None:
    worse = [segment for line in case_lines(make.slower(), 100) for segment in line if "red" in segment[1]]
    assert {text for text, _ in worse} == {"WORSE", "worse"}
    same = [segment for line in case_lines(make.report(report_records.flux("t")), 100) for segment in line]
    coloured = {text for text, markup in same if COLOURS & markup.keys()}
    assert coloured == {"same", "work.same", "output.same_bits", "memory.same", "time.same"}


def test_the_worst_comes_first() -> None:
    text = plain(summary_lines(make.red(), 140, verbose=False))
    order = ["test_huge", "test_cfg_trunc[0.5]", "test_cfg_trunc[0.7]", "test_cfg_renorm[on]", "test_cfg_trunc[1]"]
    places = [text.index(f"::{name} ") for name in order]
    assert places == sorted(places)


def test_a_passing_case_takes_three_lines_and_a_fourth_for_truncation() -> None:
    assert len(case_lines(make.report(report_records.lumina("test_full")), 100)) == 3
    assert len(case_lines(make.report(report_records.flux("test_flux")), 100)) == 3
    assert len(case_lines(make.report(report_records.lumina("test_half", ratio=0.5)), 100)) == 4


def test_figures_stand_in_columns() -> None:
    lines = [text_of(line) for line in summary_lines(make.all_pass(), 100, verbose=False)]
    rows = [line for line in lines if line.startswith(("  same", "  better"))]
    assert len(rows) == 15
    assert {len(row) for row in rows} == {100}
    assert len({row.index("FLOP") for row in rows}) == 1
    assert len({row.index(" rough") for row in rows if "rough" in row}) == 1


def test_rough_memory_says_so_and_exact_memory_does_not() -> None:
    assert "812 MiB rough" in plain(case_lines(make.report(report_records.lumina("t")), 100))
    exact = plain(case_lines(make.report(report_records.flux("t")), 100))
    assert "33.7 GiB" in exact
    assert "rough" not in exact


def test_names_stay_distinct_when_shortened() -> None:
    first, other = (
        make.report(report_records.lumina("test_same_name")),
        make.report(report_records.lumina("test_same_name")),
    )
    case = msgspec.structs.replace(other.observation.case, id="other/folder/test_other.py::test_same_name")
    other = msgspec.structs.replace(other, observation=msgspec.structs.replace(other.observation, case=case))
    for width in (60, 80, 100, 140):
        text = plain(summary_lines(make.session(first, other), width, verbose=False))
        assert "test_guidance.py::test_same_name" in text
        assert "test_other.py::test_same_name" in text


def test_a_long_name_is_broken_not_cut() -> None:
    name = "test_" + "x" * 150
    text = plain(case_lines(make.report(report_records.lumina(name)), 80))
    assert f"{report_records.FILE}::{name}" in "".join(text.split())


def test_what_was_not_observed_is_left_out() -> None:
    observation = report_records.lumina("bare")
    bare = msgspec.structs.replace(
        observation,
        work=None,
        guidance=None,
        output=None,
        memory=None,
        layers=None,
        run=msgspec.structs.replace(
            observation.run,
            rounds=tuple(msgspec.structs.replace(timed, stages_s={}) for timed in observation.run.rounds),
        ),
    )
    assert (
        plain(case_lines(make.report(bare, make.verdict("work", "not_seen", "incomparable")), 100)).count("ms") == 0
    )
    assert "1.060 s" in plain(case_lines(make.report(bare), 100))


def test_many_missing_baselines_are_counted_and_their_files_named() -> None:
    cases = [make.unbaselined(report_records.lumina(f"test_{i}")) for i in range(14)]
    missing = tuple(case.observation.case.id for case in cases)
    every = plain(summary_lines(make.session(*cases, missing=missing), 100, verbose=False))
    assert "and 4 more" in every
    assert every.endswith("pytest --diffbench-save\n")
    more = plain(summary_lines(make.session(*cases, make.slower(), missing=missing), 100, verbose=False))
    assert more.endswith(f"pytest --diffbench-save {report_records.FILE}\n")


def test_failure_names_the_gates_and_the_remedy() -> None:
    slower = make.verdict("time", "slower", "worse", "Slower: 1 s -> 2 s (+100 %).")
    text = failure_text(make.report(report_records.lumina("test_x[a b]", ratio=0.5), slower), "here.py::test_x[a b]")
    assert text.startswith("diffbench: worse in time\n")
    assert text.endswith("accept it:\n    pytest --diffbench-save 'here.py::test_x[a b]'")


@pytest.mark.parametrize("reason", ["guidance.sign", "output.not_finite", "output.constant", "output.no_images"])
def test_what_no_baseline_excuses_is_not_offered_for_saving(reason: str) -> None:
    gate, what = reason.split(".")
    assert gate in ("guidance", "output")
    fault = make.verdict("guidance" if gate == "guidance" else "output", what, "worse")
    text = failure_text(make.report(report_records.lumina("t"), fault))
    assert "no baseline makes this pass" in text
    assert "--diffbench-save" not in text


def test_failure_says_when_the_baseline_is_from_a_different_machine() -> None:
    text = failure_text(msgspec.structs.replace(make.slower(), baseline_distance="family"))
    assert f"baseline: {make.BASELINE} (of another machine with this type of device)" in text


def test_a_pipeline_of_the_tests_own_is_titled_by_class() -> None:
    observation = report_records.lumina("t")
    own = msgspec.structs.replace(observation.case.definition, model=None, weights="own", offload="model")
    observation = msgspec.structs.replace(observation, case=msgspec.structs.replace(observation.case, definition=own))
    lines = [text_of(line) for line in summary_lines(make.session(make.report(observation)), 100, verbose=False)]
    assert any(line.startswith("Lumina2Pipeline · float32 · offload model  ") for line in lines)


@pytest.mark.parametrize(
    "reason",
    [reason for reason in REASONS.values() if reason.decision not in ("same", "better")],
    ids=lambda reason: reason.code,
)
def test_a_failure_prints_the_reasons_remedy(reason: Reason) -> None:
    gate, _, what = reason.code.partition(".")
    verdict = make.verdict(gate, what, reason.decision)  # type: ignore[arg-type]  # a gate
    text = failure_text(make.report(report_records.lumina("t"), verdict))
    assert reason.remedy in " ".join(text.split())
