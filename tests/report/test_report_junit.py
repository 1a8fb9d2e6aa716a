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
    found = dict(properties(make.slower()))
    assert found["diffbench.case"] == "benchmarks/test_guidance.py::test_cfg_trunc[0.5]"
    assert found["diffbench.status"] == "worse"
    assert found["diffbench.total_median_s"] == "1.0604"
    assert found["diffbench.denoise_median_s"] == "0.93"
    assert found["diffbench.denoiser_calls"] == "60"
    assert found["diffbench.guided_steps"] == "30"
    assert found["diffbench.peak_bytes"] == "851443712"
    assert found["diffbench.memory_source"] == "process_rss"
    assert found["diffbench.attention_rel"] == "0.38"
    assert found["diffbench.psnr_db"] == "17.8069"
    assert found["diffbench.work.decision"] == "worse"
    assert found["diffbench.work.reason"] == "work.denoiser_calls"
    assert found["diffbench.memory.decision"] == "same"


def test_how_sure_the_time_is() -> None:
    found = dict(properties(make.slower()))
    assert found["diffbench.time.detectable_rel"] == "0.236909"
    assert (found["diffbench.time.confirmed"], found["diffbench.time.fresh_runs"]) == ("2", "2")
    few = make.verdict("time", "few_runs", "unsure")
    names = dict(properties(make.report(report_records.lumina("t"), few)))
    assert not any(name in names for name in ("diffbench.time.detectable_rel", "diffbench.time.confirmed"))


@pytest.mark.parametrize("report", [*make.all_pass().cases, *make.red().cases, *make.interrupted().cases])
def test_names_are_unique_and_values_are_text(report: CaseReport) -> None:
    found = properties(report)
    assert len(dict(found)) == len(found)
    assert all(type(name) is str and type(value) is str and value for name, value in found)


def test_what_was_not_measured_is_left_out() -> None:
    broken = next(one for one in make.red().cases if one.error is not None)
    names = dict(properties(broken))
    assert names.keys() == {
        "diffbench.case",
        "diffbench.status",
        "diffbench.machine",
        "diffbench.error",
    }
