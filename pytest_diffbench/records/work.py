"""What was computed, whatever it ran on, and which optimisations had a part in it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Branch, Count, PositiveCount, Record

EngagementKind: TypeAlias = Literal["cache", "lora", "compile", "quantize", "group_offload"]


class Engagement(Record, frozen=True, kw_only=True):
    """An optimisation of one component: where it is attached, and where it took part.

    Attributes:
        component: that carries it.
        kind: of optimisation.
        name: as the library calls it: `FirstBlockCache`, or the names of the adapters.
        layers: modules that it is attached to.
        active: those of them in which it had an effect on the call.
        fused: adapters' layers whose change is part of the weights, which costs nothing in a call.
        reached: calls of those modules; of caches and offloading alone.
        skipped: calls of those modules that a cache answered without the module.
        skipped_steps: steps in which that happened, as ranges.
        cheaper_calls: calls of the denoiser that took fewer FLOPs than the dearest alike.
        chances: calls of the denoiser that come after a call alike, so that something could have been reused.
    """

    component: str
    kind: EngagementKind
    name: str
    layers: PositiveCount
    active: Count
    fused: Count = 0
    reached: Count = 0
    skipped: Count = 0
    skipped_steps: str = ""
    cheaper_calls: Count = 0
    chances: Count = 0

    @property
    def inert(self) -> bool:
        """Whether it is attached, could have had an effect, and had none."""
        if self.kind == "cache":
            return self.chances > 0 and not self.skipped and not self.cheaper_calls
        return not self.active


ATTENTION, MASKED_ATTENTION = "attention", "attention with a mask"
"""What torch's fused attention is called among the operators, whatever kernel serves it."""


class CallGroup(Record, frozen=True, kw_only=True):
    """Denoiser calls that are alike in all but their step."""

    component: str
    branch: Branch
    batch: PositiveCount
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor argument, by the name of the argument."""

    dtypes: dict[str, str] = {}
    """Dtype of each tensor argument: a mask of numbers is added where one of booleans hides."""

    flops: Count
    """Of one call."""

    tokens: Count = 0
    """Positions of one sample that a call computes: of latents the product of frames, height and width over those of
    a patch, of tokens their number; 0 where the sample wasn't recognised, and in older records."""

    steps: str
    """The steps, counted from 0, as ranges: `0-14,20`. A step that calls twice alike stands twice: `0,0`."""


class Work(Record, frozen=True, kw_only=True):
    """What was computed, whatever it ran on."""

    steps: Count
    """Scheduler steps."""

    timesteps: tuple[float, ...] = ()
    """What each scheduler step was handed; empty where one was no number."""

    sigmas: tuple[float, ...] = ()
    """The scheduler's, after the call; empty where it has none."""

    idle_steps: str = ""
    """Steps that returned the very sample that they were handed, as ranges."""

    denoiser: tuple[CallGroup, ...]
    component_calls: dict[str, Count]
    """Outermost calls by component; methods stand behind a dot: `vae.decode`."""

    flops: dict[str, Count]
    """By component, as counted by torch's formulas (one multiply-add is two)."""

    operators: dict[str, dict[str, Count]] = {}
    """How often torch's operators ran, by component and name; views, which compute nothing, aren't among them."""

    uncounted: dict[str, Count] = {}
    """How often operators of other packages ran that no formula counts, by namespace and name. Attention isn't among
    them where diffusers dispatches it: it is counted by its shapes."""

    python_calls: dict[str, Count] = {}
    """How often Python functions were called, by component; empty where another profiler was active."""

    compiled: dict[str, Count] = {}
    """What torch compiled in this measurement: `graphs`, `graph breaks`, `recompile limits hit`, those that occurred.
    A pipeline that an earlier measurement compiled has none."""

    engagements: tuple[Engagement, ...] = ()
    """Optimisations that components carry, and whether they took part."""

    parameters: dict[str, Count]
    attention_parameters: dict[str, Count]

    @property
    def denoiser_calls(self) -> int:
        """Number of calls of the denoiser over all steps and branches."""
        return sum(len(parse_steps(group.steps)) for group in self.denoiser)

    @property
    def total_flops(self) -> int:
        """FLOPs of all components together."""
        return sum(self.flops.values())

    @property
    def total_operators(self) -> int:
        """Operators of all components together."""
        return sum(sum(operator.values()) for operator in self.operators.values())

    def calls_by_branch(self) -> dict[Branch, int]:
        """Number of denoiser calls of each branch that occurs."""
        counts: dict[Branch, int] = {}
        for group in self.denoiser:
            counts[group.branch] = counts.get(group.branch, 0) + len(parse_steps(group.steps))
        return counts


def format_steps(steps: list[int]) -> str:
    """Write step numbers as ranges: `[0, 1, 2, 5]` becomes `0-2,5`; a repeated step starts a new range."""
    ranges: list[list[int]] = []
    for step in steps:
        if ranges and step == ranges[-1][1] + 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def parse_steps(text: str) -> list[int]:
    """Read what `format_steps` wrote. Raises ValueError on anything else."""
    steps: list[int] = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        steps.extend(range(int(first), int(last or first) + 1))
    return steps
