"""Performance regression tests for diffusion pipelines, as a pytest plugin.

What tests, `conftest.py` files and scripts may import is listed in `__all__`; all other modules may change with any
release. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_diffbench.errors import (
        BaselineError,
        DiffbenchError,
        MeasureError,
        MissingPipelineError,
        OptionError,
        PipelineError,
    )
    from pytest_diffbench.judge.guidance.formula import Call, Expected
    from pytest_diffbench.judge.guidance.formulas import register as register_formula
    from pytest_diffbench.records import (
        CaseReport,
        Check,
        Comparison,
        Fact,
        PipelineSpec,
        SessionReport,
        Verdict,
        Verification,
    )
    from pytest_diffbench.report.session_json import load as load_session
    from pytest_diffbench.session.bench import Bench
    from pytest_diffbench.session.compared import Compared, Swept
    from pytest_diffbench.session.result import Result
    from pytest_diffbench.session.variants import Variant

__version__ = "0.1.0"

__all__ = [
    "BaselineError",
    "Bench",
    "Call",
    "CaseReport",
    "Check",
    "Compared",
    "Comparison",
    "DiffbenchError",
    "Expected",
    "Fact",
    "MeasureError",
    "MissingPipelineError",
    "OptionError",
    "PipelineError",
    "PipelineSpec",
    "Result",
    "SessionReport",
    "Swept",
    "Variant",
    "Verdict",
    "Verification",
    "load_session",
    "register_formula",
]

_PLACES = {
    "Bench": "session.bench",
    "Call": "judge.guidance.formula",
    "CaseReport": "records",
    "Compared": "session.compared",
    "Comparison": "records",
    "Expected": "judge.guidance.formula",
    "Fact": "records",
    "Check": "records",
    "PipelineSpec": "records",
    "Result": "session.result",
    "SessionReport": "records",
    "Swept": "session.compared",
    "Variant": "session.variants",
    "Verdict": "records",
    "Verification": "records",
    "load_session": "report.session_json:load",
    "register_formula": "judge.guidance.formulas:register",
}
"""Module of each name, and its name there where that is another. The rest are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It exports {', '.join(__all__)}.")
    module, _, there = _PLACES.get(name, "errors").partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
