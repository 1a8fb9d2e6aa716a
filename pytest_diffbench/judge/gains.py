"""What a variant's gain is worth: whether it did anything, what it does to the output, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.gate_input import GateInput
from pytest_diffbench.judge.guidance.gate import judge_guidance
from pytest_diffbench.judge.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.records import (
        Baseline,
        ImageDifference,
        Memory,
        Observation,
        Output,
        Profile,
        Speedup,
        Suspicion,
        Tier,
        Work,
    )
    from pytest_diffbench.records.artifacts import Artifacts


GAIN_REL = 1.02
"""A gain or loss smaller than this is none, as for the time gate; one beyond it has a cause, seen or not."""

_MEMORY_REL = 0.99
"""Of the reference's peak: what an allocator rounds isn't saved."""


def is_inert(
    variant: Observation, reference: Observation, speedup_rel: Speedup, *, same_latents: bool | None = None
) -> bool | None:
    """Whether what a variant changes had no effect at all.

    Args:
        variant: what was measured of it.
        reference: of the call that it is compared with.
        speedup_rel: of the variant.
        same_latents: whether the final latents are equal; None where they aren't known on both sides.

    Returns:
        None where work or output of one of them weren't seen.
    """
    outputs = _output(variant), _output(reference)
    if variant.work is None or reference.work is None or None in outputs:
        return None
    if not (variant.work.operators and reference.work.operators):
        return None  # a call that only looks alike may be made of other kernels
    return (
        outputs[0] == outputs[1]
        and same_latents is not False
        and speedup_rel.low <= GAIN_REL
        and _work(variant.work) == _work(reference.work)
        and _no_less_operators(variant.work, reference.work)
        and _no_less_memory(variant.memory, reference.memory)
        and _no_less_kernels(variant.profile, reference.profile)
    )


def _output(observation: Observation) -> tuple[str, ...] | None:
    output = observation.output
    if output is None:
        return None
    digests = (
        *(image.digest for image in output.images),
        *(tensor.digest for tensor in output.tensors),
        *(part.digest for part in output.parts),
    )
    return digests or None


def _work(work: Work) -> tuple[object, ...]:
    """What a call is made of. Compiled code is counted eagerly, so that it is compiled is part of it.

    What is merely attached isn't: a cache that never hits is as inert as none.
    """
    return (
        work.steps,
        work.timesteps,
        sorted((group.component, group.branch, group.batch, group.flops, group.steps) for group in work.denoiser),
        work.component_calls,
        work.flops,
        work.uncounted,
        work.parameters,
        sorted((found.component, found.kind) for found in work.engagements if not found.inert),
    )


def _no_less_operators(work: Work, other: Work) -> bool:
    """Whether each operator ran as often or more; more of them is what an option costs that is looked at in vain."""
    return all(
        work.operators.get(component, {}).get(name, 0) >= count
        for component, counts in other.operators.items()
        for name, count in counts.items()
    )


def _no_less_memory(memory: Memory | None, other: Memory | None) -> bool:
    """Whether nothing was saved: workspace is exact on every device, peaks are where an allocator tells them."""
    if memory is None or other is None:
        return True
    if _saves(_workspace_bytes(memory), _workspace_bytes(other)):
        return False
    exact = memory.source == other.source and memory.source.endswith("_allocator")
    return not exact or memory.peak_bytes >= _MEMORY_REL * other.peak_bytes


def _workspace_bytes(memory: Memory) -> dict[str, int]:
    return {stage: part.workspace_bytes or 0 for stage, part in memory.stages.items()}


def _saves(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    return any(now.get(stage, 0) < workspace_bytes for stage, workspace_bytes in before.items())


def _no_less_kernels(profile: Profile | None, other: Profile | None) -> bool:
    """Whether all of the reference's kernels ran, as far as both were looked at."""
    if profile is None or other is None or profile.kind != other.kind:
        return True
    names, others = ({(operator.name, operator.stage) for operator in side.operators} for side in (profile, other))
    return others <= names


_SLOWER = 1.5
"""How much more than a round a call with new inputs may take, beyond what it takes of the reference: single calls on
a shared machine differ by that, and what is stored is faster by far."""


def suspicions(
    variant: Observation, reference: Observation | Baseline, *, hidden_differs: bool = False
) -> tuple[Suspicion, ...]:
    """What speaks against the figures of a variant, or of a case.

    Args:
        variant: what was measured of it, with its probe where that was asked for.
        reference: the same of the reference, or a baseline: the control. What it does as well is nothing to suspect.
        hidden_differs: what both returned for the hidden prompt isn't the same by the limits of outputs.
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
    if hidden_differs:
        found.append("hidden_prompt_differs")
    paces = [
        probe.fresh_s / max(probe.round_s, probe.repeat_s or 0.0)
        for probe in (now, base)
        if probe.round_s is not None
    ]
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
