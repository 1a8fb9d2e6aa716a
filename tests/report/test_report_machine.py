"""What is true of the machine is said once for a session, not once a case."""

from __future__ import annotations

import report_factories as make
import report_records

from pytest_diffbench.records import CaseReport, Verdict
from pytest_diffbench.report.lines import plain
from pytest_diffbench.report.machine import machine_lines
from pytest_diffbench.report.terminal import summary_lines


def cases(*verdicts: Verdict, count: int = 17) -> list[CaseReport]:
    return [CaseReport(observation=report_records.flux(f"test_case[{n}]"), verdicts=verdicts) for n in range(count)]


def test_a_slow_machine_is_a_single_line() -> None:
    slow = make.verdict("time", "machine_slower", "unsure", "A paragraph.", details={"machine_ratio": 1.63})
    reports = cases(slow)
    assert machine_lines(reports) == [
        "this machine does reference work 1.6x slower than it did when the baselines were recorded (17 cases):"
        " times are shown, not judged"
    ]
    text = plain(summary_lines(make.session(*reports), 120, False))
    assert "A paragraph." not in text
    assert text.count("reference work") == 1
    assert text.count("time.machine_slower") == 17
    assert "A paragraph." in plain(summary_lines(make.session(*reports), 120, True))


def test_a_fast_machine_too() -> None:
    fast = make.verdict("time", "machine_faster", "unsure", details={"machine_ratio": 0.5})
    assert machine_lines(cases(fast, count=1))[0].startswith("this machine does reference work 2x faster")


def test_a_different_class_of_machine_is_a_line_for_time_a_line_for_memory_and_what_to_do() -> None:
    message = "{} compare on one class of machine only; the baseline is of cpu-other-2c."
    reports = cases(
        make.verdict("time", "other_machine", "unbaselined", message.format("Times")),
        make.verdict("memory", "other_machine", "unbaselined", message.format("Memory figures")),
    )
    assert machine_lines(reports) == [
        f"{message.format('Times')} (17 cases)",
        f"{message.format('Memory figures')} (17 cases)",
        "Save a baseline on this class of machine.",
    ]


def test_a_verdict_on_the_case_is_no_line_about_the_machine() -> None:
    assert machine_lines(cases(make.verdict("time", "slower", "worse"))) == []


def test_a_wandering_pace_is_reported_as_such() -> None:
    wandering = [
        *cases(make.verdict("time", "machine_slower", "unsure", details={"machine_ratio": 1.14}), count=3),
        *cases(make.verdict("time", "machine_faster", "unsure", details={"machine_ratio": 0.8}), count=3),
    ]
    assert machine_lines(wandering)[0].startswith("this machine does reference work up to 1.2x slower or faster than")


def test_too_few_runs_are_a_single_line_with_the_detectable_change() -> None:
    few = make.verdict("time", "few_days", "unsure", "A paragraph.", details={"detectable_rel": 0.57})
    ratio = make.verdict("time", "ratio_few_runs", "unsure", "Another.")
    reports = [*cases(few), *cases(ratio, count=3)]
    assert machine_lines(reports) == [
        "too few runs or days are recorded to know how far times spread (20 cases), so nothing under +57 % would be"
        " seen: save on more days"
    ]
    assert "A paragraph." not in plain(summary_lines(make.session(*reports), 120, False))
