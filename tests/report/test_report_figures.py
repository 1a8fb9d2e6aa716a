"""What reports say of a case beyond its records is right for odd records too."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import report_factories as make
import report_records

from pytest_diffbench.records import DECISIONS, SaveOutcome
from pytest_diffbench.report.figures import (
    STATUSES,
    grouped,
    image_figures,
    node_id,
    save_command,
    status_of,
    to_tell,
    truncation_text,
)

if TYPE_CHECKING:
    from pytest_diffbench.records import Verdict


def test_the_gravest_verdict_is_the_status() -> None:
    verdicts = [make.verdict("time", "x", decision) for decision in DECISIONS]
    for i, decision in enumerate(DECISIONS):
        report = msgspec.structs.replace(
            make.report(report_records.flux("t")), verdicts=tuple(reversed(verdicts[i:])), baseline_distance=None
        )
        assert status_of(report) == decision


def test_what_has_nothing_to_compare_with_leaves_a_case_that_passed_otherwise_in_part() -> None:
    passed, elsewhere, worse = (
        make.verdict("work", "same", "same"),
        make.verdict("time", "other_machine", "unbaselined"),
        make.verdict("output", "colour", "worse"),
    )
    case = make.report(report_records.flux("t"))

    def status(*verdicts: Verdict, **fields: Any) -> str:
        return status_of(msgspec.structs.replace(case, verdicts=verdicts, **fields))

    assert status(passed, elsewhere) == "partial"
    assert status(elsewhere) == "unbaselined"
    assert status(passed, elsewhere, worse) == "worse"
    assert status(passed, elsewhere, baseline_distance=None) == "unbaselined", "guidance passes by its formula alone"


def test_status_of_cases_without_an_ordinary_end() -> None:
    case = make.report(report_records.flux("t"))
    incomplete = msgspec.structs.replace(case.observation, complete=False)
    assert status_of(msgspec.structs.replace(case, error="boom")) == "error"
    assert status_of(msgspec.structs.replace(case, observation=incomplete)) == "error"
    assert status_of(msgspec.structs.replace(case, saved=SaveOutcome(what="added", number=3))) == "saved"
    assert status_of(msgspec.structs.replace(case, saved=SaveOutcome(what="refused", why="hot"))) == "refused"
    assert status_of(msgspec.structs.replace(make.slower(), saved=SaveOutcome(what="refused", why="hot"))) == "worse"
    assert status_of(msgspec.structs.replace(case, verdicts=())) == "measured"


def test_every_decision_has_a_place_among_the_statuses() -> None:
    assert len(set(STATUSES)) == len(STATUSES)
    assert [status for status in STATUSES if status in DECISIONS] == list(DECISIONS)


def test_images_are_judged_by_the_worst_of_every_metric() -> None:
    details = make.image_details(
        {"psnr_db": 31.5, "ssim": 0.97, "tile_ssim": 0.4}, psnr_db=None, ssim=1.0, tile_ssim=1.0
    )
    differs = make.verdict("output", "differs", "worse", details=details)
    figures = image_figures(make.report(report_records.flux("t"), differs))
    assert figures == {"psnr_db": 31.5, "ssim": 0.97, "tile_ssim": 0.4}


def test_a_psnr_without_any_difference_is_infinite() -> None:
    drifted = make.verdict("output", "within_tolerance", "same", details=make.image_details(psnr_db=None, ssim=1.0))
    figures = image_figures(make.report(report_records.flux("t"), drifted))
    assert figures is not None
    assert figures["psnr_db"] == math.inf


def test_truncation_is_reported_with_what_counts_predict_and_never_with_times_of_two_cases() -> None:
    assert (
        truncation_text(make.report(report_records.lumina("half", ratio=0.5)))
        == "truncation 0.5 (calls predict 25 %)"
    )
    assert truncation_text(make.report(report_records.lumina("full", ratio=1.0))) == "truncation off"
    assert truncation_text(make.report(report_records.flux("none"))) is None


@pytest.mark.parametrize(
    ("case_id", "node"),
    [
        ("a/test_x.py::test_y", "a/test_x.py::test_y"),
        ("a/test_x.py::test_y#full", "a/test_x.py::test_y"),
        ("a/test_x.py::test_y[0.5]#full", "a/test_x.py::test_y[0.5]"),
        ("a/test_x.py::test_y[#fff]", "a/test_x.py::test_y[#fff]"),
        ("a/test_x.py::test_y[#fff]#half", "a/test_x.py::test_y[#fff]"),
        ("a/test_x.py::test_y#half[1]", "a/test_x.py::test_y"),
    ],
)
def test_node_id_is_the_case_without_the_label(case_id: str, node: str) -> None:
    assert node_id(case_id) == node


def test_the_command_survives_a_shell() -> None:
    nodes = ["t.py::test[a b]", "t.py::test[it's $HOME]", "t.py::test[a b]"]
    assert shlex.split(save_command(nodes)) == ["pytest", "--diffbench-save", *nodes[:2]]


def test_the_suite_is_named_by_the_module() -> None:
    assert shlex.split(save_command(["pytest_diffbench/suite/test_lumina2.py::test_cfg_trunc[0.5]"])) == [
        "pytest",
        "--diffbench-save",
        "--pyargs",
        "pytest_diffbench.suite.test_lumina2::test_cfg_trunc[0.5]",
    ]


def test_gates_with_the_same_message_are_listed_once() -> None:
    report = make.unbaselined(report_records.lumina("new"))
    assert [heading for heading, _ in grouped(to_tell(report))] == ["work, output, memory, time: no_baseline"]


def test_gates_with_different_messages_are_listed_apart() -> None:
    ram = make.verdict("memory", "hardware", "incomparable", "Memory can't be compared: cpus: 4 -> 2.")
    clock = make.verdict("time", "hardware", "incomparable", "Times can't be compared: cpus: 4 -> 2.")
    groups = grouped(to_tell(make.report(report_records.flux("t"), ram, clock)))
    assert groups == [("memory.hardware", ram), ("time.hardware", clock)]


def test_a_saved_case_does_not_complain_of_a_missing_baseline() -> None:
    assert to_tell(make.unbaselined(report_records.lumina("new"), saved=SaveOutcome(what="created"))) == []
