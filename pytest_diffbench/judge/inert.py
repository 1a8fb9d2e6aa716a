"""Whether a variant is the reference under another name: its output, for no less work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.records import Memory, Observation, Profile, Speedup, Work

_GAIN_REL = 1.02
"""A variant that is faster than this beyond chance has done something, seen or not: the time gate's floor."""

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
        and speedup_rel.low <= _GAIN_REL
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
