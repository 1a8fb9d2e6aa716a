"""What an optimisation does to the output, in one word: nothing, nothing beyond rounding, something, or too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.gate_input import GateInput
from pytest_diffbench.judge.guidance.gate import judge_guidance
from pytest_diffbench.judge.limits import Limits

if TYPE_CHECKING:
    from pytest_diffbench.records import ImageDifference, Observation, Output, Tier
    from pytest_diffbench.records.artifacts import Artifacts

_NO_FURTHER = 2.0
"""Times the reference's distance from float64 that a variant may have: two roundings of the same call, by sums in
another order, differ by that much, and an approximation is off by orders of magnitude."""


def tier_of(
    output: Output | None,
    reference: Output | None,
    difference: ImageDifference | None,
    float64_rel: float | None = None,
    reference_float64_rel: float | None = None,
) -> Tier | None:
    """The tier of a variant.

    Args:
        output: of the variant.
        reference: of the call that it is compared with.
        difference: between the two.
        float64_rel: how far the variant is from the reference's call in float64; None where nobody asked.
        reference_float64_rel: the same of the reference itself.

    Returns:
        None where outputs can't be compared, and where they differ and nobody asked for float64: whether that is a
        loss isn't known then.
    """
    if output is None or reference is None or difference is None:
        return None
    if not output.finite or (_constant(output) and not _constant(reference)):
        return "broken"
    if difference.problem is not None:
        return "broken"
    if difference.same_bits and not difference.latents_rel:
        return "bit-equal"
    if float64_rel is None or reference_float64_rel is None:
        return None
    return "lossless" if float64_rel <= _NO_FURTHER * reference_float64_rel else "lossy"


def wrong_guidance(observation: Observation, artifacts: Artifacts) -> str | None:
    """Reason by which the guidance gate calls steps wrong, without a baseline; None where it doesn't."""
    if observation.guidance is None:
        return None
    verdict = judge_guidance(GateInput(observation=observation, artifacts=artifacts, reference=None, limits=Limits()))
    return verdict.reason if verdict.decision == "worse" else None


def _constant(output: Output) -> bool:
    return bool(output.images) and all(image.constant for image in output.images)
