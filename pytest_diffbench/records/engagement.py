"""Optimisations that a component carries, and whether they had a part in the call."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, PositiveCount, Record

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
