"""Decides what measurements mean: pure functions of records.

A module is imported when a name of it is asked for, since some, such as `trend`, need none of the gates.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_diffbench.judge.definition import definition_changes
    from pytest_diffbench.judge.judging import judge, wants_runs
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.output.loosening import limits_with
    from pytest_diffbench.judge.reasons import REASONS
    from pytest_diffbench.judge.time.paired import judge_pairs
    from pytest_diffbench.judge.time.runs import doubts
    from pytest_diffbench.judge.time.telemetry import slowed_down

_PLACES = {
    "REASONS": "reasons",
    "Limits": "limits",
    "definition_changes": "definition",
    "doubts": "time.runs",
    "judge": "judging",
    "judge_pairs": "time.paired",
    "limits_with": "output.loosening",
    "slowed_down": "time.telemetry",
    "wants_runs": "judging",
}
"""Module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
