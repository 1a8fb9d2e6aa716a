"""Sentences about calls of one session that returned different results."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.report.units import format_count, format_decibels, format_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import PartNoise, RerunNoise

_MOST_NAMES = 3


def disagreement(noise: RerunNoise) -> str:
    """Which calls returned something else, and how far off it was: a sentence without its end."""
    figures = []
    if noise.psnr_db is not None:
        figures.append(f"PSNR {format_decibels(noise.psnr_db)}")
    if noise.latents_rel is not None:
        figures.append(f"{format_distance(noise.latents_rel)} apart")
    if noise.parts:
        figures.append(_worst_part(noise.parts))
    text = f"calls with the same arguments disagree ({', '.join(figures) or 'not the same number or size'})"
    return f"{text}: {_groups(noise)}" if noise.alike else text


def _worst_part(drifts: Sequence[PartNoise]) -> str:
    """The figure of a part that is furthest beyond what is allowed on a single class of machine."""
    known = [drift for drift in drifts if drift.metric in PART_METRICS]
    if not known:
        return "parts differ"

    def excess(drift: PartNoise) -> float:
        metric = PART_METRICS[drift.metric]
        return metric.excess(math.nan if drift.value is None else drift.value, metric.machine)

    worst = max(known, key=excess)
    metric = PART_METRICS[worst.metric]
    return f"{metric.label} {metric.text(worst.value)}"


def cause(noise: RerunNoise) -> str:
    """What may be behind it, as far as that can be told; else empty."""
    if noise.drew_from:
        return f" The call was given a generator, but also drew from a global one: {', '.join(noise.drew_from)}."
    if _first_alone(noise):
        return " The first call leaves something behind that changes those after it."
    return ""


def _groups(noise: RerunNoise) -> str:
    groups = sorted(noise.alike, key=len)
    *odd, most = groups
    if len(most) == 1:
        return f"no two of {format_count(noise.rounds, 'call')} agree"
    if _first_alone(noise):
        return f"the first ({noise.alike[0][0]}) differs from the {len(noise.alike[1])} after it"
    names = [name for group in odd for name in group]
    return f"{_names(names)} {'differs' if len(names) == 1 else 'differ'} from {_names(most)}"


def _names(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _first_alone(noise: RerunNoise) -> bool:
    """Whether the calls fall into the first one and all others. Groups stand in the order in which they began."""
    return len(noise.alike) == 2 and len(noise.alike[0]) == 1 < len(noise.alike[1])
