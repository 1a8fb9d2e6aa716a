"""A case's properties in a JUnit file are text, named with their units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import report_factories as make
import report_records

from pytest_diffbench.report.junit import properties

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport


def test_figures_and_decisions() -> None:
    named_values = dict(properties(make.slower()))
    assert named_values["diffbench.case"] == "benchmarks/test_guidance.py::test_cfg_trunc[0.5]"
    assert named_values["diffbench.status"] == "worse"
    assert named_values["diffbench.total_median_s"] == "1.0604"
    assert named_values["diffbench.denoise_median_s"] == "0.93"
    assert named_values["diffbench.denoiser_calls"] == "60"
    assert named_values["diffbench.guided_steps"] == "30"
    assert named_values["diffbench.peak_bytes"] == "851443712"
    assert named_values["diffbench.memory_source"] == "process_rss"
    assert named_values["diffbench.attention_rel"] == "0.38"
    assert named_values["diffbench.psnr_db"] == "17.8069"
    assert named_values["diffbench.work.decision"] == "worse"
    assert named_values["diffbench.work.reason"] == "work.denoiser_calls"
    assert named_values["diffbench.memory.decision"] == "same"


def test_how_sure_the_time_is() -> None:
    named_values = dict(properties(make.slower()))
    assert named_values["diffbench.time.detectable_rel"] == "0.264539"
    assert (named_values["diffbench.time.confirmed"], named_values["diffbench.time.fresh_runs"]) == ("2", "2")
    few = make.verdict("time", "few_runs", "unsure")
    names = dict(properties(make.report(report_records.lumina("t"), few)))
    assert not any(name in names for name in ("diffbench.time.detectable_rel", "diffbench.time.confirmed"))


@pytest.mark.parametrize("report", [*make.all_pass().cases, *make.red().cases, *make.interrupted().cases])
def test_names_are_unique_and_values_are_text(report: CaseReport) -> None:
    named_values = properties(report)
    assert len(dict(named_values)) == len(named_values)
    assert all(type(name) is str and type(value) is str and value for name, value in named_values)


def test_what_was_not_measured_is_left_out() -> None:
    broken = next(case for case in make.red().cases if case.error is not None)
    names = dict(properties(broken))
    assert names.keys() == {
        "diffbench.case",
        "diffbench.status",
        "diffbench.machine",
        "diffbench.error",
    }
