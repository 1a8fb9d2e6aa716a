"""Extension points. Implement them in a conftest.py or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.records import CaseReport, Fact, PipelineSpec


@pytest.hookspec(firstresult=True)
def pytest_diffbench_load_pipeline(spec: PipelineSpec, config: pytest.Config) -> Any:
    """Load the pipeline that a spec asks for.

    Called when a test asks for `diffbench_pipeline` and another pipeline, or none, is resident. The first
    implementation that returns something other than None wins; the plugin's own comes last and knows the registered
    models.

    Args:
        spec: model, weights, device, dtype, offload and tuning. `device` has been resolved and exists.
        config: pytest's.

    Returns:
        A pipeline on its device, ready to be called; or None to leave it to others.
    """


@pytest.hookspec
def pytest_diffbench_environment(config: pytest.Config) -> Mapping[str, Fact] | None:
    """Add facts to the environment that is recorded with every run.

    A fact that differs from the baseline's is listed under "changed since the baseline". It never stops two runs
    from being compared. Units stand in the names.

    Args:
        config: pytest's.

    Returns:
        Names and plain values (text, number, bool or None), or None. Anything else fails the tests.
    """


@pytest.hookspec
def pytest_diffbench_outcome(report: CaseReport, config: pytest.Config) -> None:
    """Be told of a case once it was judged, in the process that measured it and before its test's outcome is known.

    Args:
        report: what was measured, the verdicts, and what was saved.
        config: pytest's.
    """
