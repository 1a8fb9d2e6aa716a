"""Variants of real calls, measured against each other in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from real_calls import PROMPT

from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Plan
from pytest_diffbench.records import Definition
from pytest_diffbench.session.comparing import Asked, compare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.session.compared import Compared

CALL: dict[str, Any] = {"num_inference_steps": 4, "height": 32, "width": 32}


def side_by_side(variants: Mapping[str, tuple[Any, dict[str, Any]]], **how: Any) -> Compared:
    """Measure variants, each a target and its own arguments, against the first."""
    asked = []
    for name, (target, own) in variants.items():
        kwargs = CALL | own
        plan = Plan(
            case_id=f"case#{name}",
            device="cpu",
            definition=Definition(
                pipeline=definition.name_of(target),
                weights="own",
                dtype="float32",
                seed=0,
                arguments=describe(definition.bind(target, (PROMPT,), kwargs)),
            ),
            rounds=2,
            warmup_rounds=0,
        )
        asked.append(Asked(name, plan, target, (PROMPT,), kwargs))
    return compare(
        asked,
        next(iter(variants)),
        comparison_id="case",
        argument=None,
        confidence=0.99,
        precision_rel=9.0,
        seed=0,
        drive=drive_plainly,
        progress=lambda *_: None,
        measurements=[],
        comparisons=[],
        **how,
    )
