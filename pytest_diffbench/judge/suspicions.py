"""Why a gain isn't believed: shortcuts that calls with other prompts and seeds, and the rounds, give away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.likeness import same_picture

if TYPE_CHECKING:
    from pytest_diffbench.records import Baseline, ImageDifference, Observation, Suspicion

_SLOWER = 1.5
"""How much more than a round a call with new inputs may take, beyond what it takes of the reference: single calls on
a shared machine differ by that, and what is stored is faster by far."""


def suspicions(
    variant: Observation, reference: Observation | Baseline, hidden_difference: ImageDifference | None = None
) -> tuple[Suspicion, ...]:
    """What speaks against the figures of a variant, or of a case.

    Args:
        variant: what was measured of it, with its probe where that was asked for.
        reference: the same of the reference, or a baseline: the control. What it does as well is nothing to suspect.
        hidden_difference: between the outputs of both with the hidden prompt.
    """
    found: list[Suspicion] = []
    now, base = variant.probe, reference.probe
    asked = [side.case.definition.arguments.get("num_inference_steps") for side in (variant, reference)]
    counts = [(variant.work, reference.work), (now, base)]
    if asked[0] == asked[1] and any(
        few is not None and many is not None and few.steps < many.steps for few, many in counts
    ):
        found.append("fewer_steps")
    if rounds_without_steps(variant):
        found.append("rounds_without_steps")
    if now is None or base is None:
        return tuple(found)
    if now.ignores_seed and not base.ignores_seed:
        found.append("seed_ignored")
    if now.ignores_prompt and not base.ignores_prompt:
        found.append("prompt_ignored")
    if hidden_difference is not None and not same_picture(hidden_difference):
        found.append("hidden_prompt_differs")
    paces = [probe.fresh_s / probe.round_s for probe in (now, base) if probe.round_s is not None]
    if len(paces) == 2 and paces[0] > _SLOWER * max(1.0, paces[1]):
        found.append("only_repeats_are_fast")
    if now.late_calls and not base.late_calls:
        found.append("work_behind_the_timer")
    if now.threads > base.threads:
        found.append("threads_left")
    return tuple(found)


def rounds_without_steps(observation: Observation) -> bool:
    """Whether a timed round lacks scheduler steps that the survey saw: what was done wasn't what was timed."""
    work = observation.work
    if work is None or not work.steps:
        return False
    return any(len(timed.steps_s) < work.steps for timed in observation.run.rounds)
