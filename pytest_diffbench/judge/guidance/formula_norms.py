"""Holding what became of guided predictions against the renormalisation that was requested."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.records import format_steps
from pytest_diffbench.records.details import GuidanceFault

if TYPE_CHECKING:
    from pytest_diffbench.judge.guidance.formula import Expected
    from pytest_diffbench.records import GuidanceStep
    from pytest_diffbench.records.details import FaultKind

Steps: TypeAlias = "Sequence[tuple[int, GuidanceStep]]"
Faults: TypeAlias = Iterable[GuidanceFault]


def norm_faults(steps: Steps, expected: Expected, *, gain_rel: float, ratio_rel: float) -> Faults:
    """Faults of the norms of guided steps.

    Args:
        steps: the guided steps that are meant to be, with their numbers.
        expected: what was requested.
        gain_rel: how far from 1 the gain of an unscaled prediction may be.
        ratio_rel: how far from what is requested a ratio of norms may be.
    """
    if expected.renorm == "rows":
        return _rows(steps, gain_rel, ratio_rel)
    if expected.renorm in ("clamp", "std"):
        return _samples(steps, expected, gain_rel, ratio_rel)
    return _none(steps, expected, gain_rel, ratio_rel)


def unread(step: GuidanceStep, expected: Expected) -> bool:
    """Whether a step doesn't show the norms that tell whether it was renormalised as requested."""
    if expected.renorm == "rows":
        return step.norm_ratio_min is None
    return expected.renorm != "none" and not step.samples


def is_unity(low: float | None, high: float | None, allowed_rel: float) -> bool:
    """Whether a range is 1 within rounding; NaN isn't."""
    return low is not None and high is not None and abs(low - 1) <= allowed_rel and abs(high - 1) <= allowed_rel


def span(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Lowest and highest of the values that are known; None where there is none, or one isn't finite."""
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known and all(map(math.isfinite, known)) else None


def _scaled(steps: Steps, gain_rel: float) -> list[int]:
    return [i for i, s in steps if s.gain_min is not None and not is_unity(s.gain_min, s.gain_max, gain_rel)]


def _gains(steps: Steps, chosen: Sequence[int]) -> tuple[float, float] | None:
    return span(gain for i, step in steps if i in chosen for gain in (step.gain_min, step.gain_max))


def _rows(steps: Steps, gain_rel: float, ratio_rel: float) -> Faults:
    scaled = _scaled(steps, gain_rel)
    ratios = {i: (step.norm_ratio_min, step.norm_ratio_max) for i, step in steps}
    lost = [i for i, pair in ratios.items() if None not in pair and not is_unity(*pair, ratio_rel)]
    if lost:
        yield GuidanceFault(
            # rows that are rescaled by something else than the ratio of norms are not the same fault
            kind="renorm_wrong" if any(i in scaled for i in lost) else "renorm_missing",
            steps=format_steps(lost),
            observed=span(ratio for i in lost for ratio in ratios[i]),
            expected=1.0,
            tolerance=ratio_rel,
            renorm="rows",
        )


def _none(steps: Steps, expected: Expected, gain_rel: float, ratio_rel: float) -> Faults:
    known = [i for i, s in steps if s.norm_ratio_min is not None and s.norm_ratio_max is not None]
    kept = [i for i, s in steps if is_unity(s.norm_ratio_min, s.norm_ratio_max, ratio_rel)]
    scaled = _scaled(steps, gain_rel)
    unasked = [i for i in kept if i in scaled]
    # without gains a kept norm in every row of every step is no accident either, unless the scale is 1
    gains_known = any(s.gain_min is not None for _, s in steps)
    if not gains_known and known and len(kept) == len(known) and abs(expected.scale - 1) > ratio_rel:
        unasked = kept
    if unasked:
        yield GuidanceFault(kind="renorm_unasked", steps=format_steps(unasked))
    if others := [i for i in scaled if i not in unasked]:
        yield GuidanceFault(
            kind="gain", steps=format_steps(others), observed=_gains(steps, others), expected=1.0, tolerance=gain_rel
        )


def _samples(steps: Steps, expected: Expected, gain_rel: float, ratio_rel: float) -> Faults:
    """Renormalisation of whole samples: one gain in each, and the one that was requested."""
    tolerance = max(gain_rel, ratio_rel)
    missing: list[int] = []
    wrong: list[int] = []
    uneven: list[int] = []
    for i, step in steps:
        gains = [gain for gain, _, _ in step.samples]
        if not gains:
            continue
        if not _even(step, gains, tolerance):
            uneven.append(i)
        elif not all(_right(sample, expected, tolerance) for sample in step.samples):
            (missing if is_unity(min(gains), max(gains), gain_rel) else wrong).append(i)
    faults: tuple[tuple[FaultKind, list[int]], ...] = (("renorm_missing", missing), ("renorm_wrong", wrong))
    for kind, chosen in faults:
        if chosen:
            yield GuidanceFault(
                kind=kind,
                steps=format_steps(chosen),
                observed=span(
                    deviation if expected.renorm == "std" else norm
                    for i, step in steps
                    if i in chosen
                    for _, norm, deviation in step.samples
                ),
                expected=expected.renorm_factor,
                tolerance=tolerance,
                renorm=expected.renorm,
            )
    if uneven:
        yield GuidanceFault(kind="renorm_by_row", steps=format_steps(uneven), observed=_gains(steps, uneven))


def _even(step: GuidanceStep, gains: list[float], allowed_rel: float) -> bool:
    """Whether the rows' gains are within those of their samples."""
    if step.gain_min is None or step.gain_max is None:
        return True
    return min(gains) - step.gain_min <= allowed_rel * min(gains) and step.gain_max - max(gains) <= allowed_rel * max(
        gains
    )


def _right(sample: tuple[float, float, float], expected: Expected, allowed_rel: float) -> bool:
    """Whether the gain of a sample is the one that was requested.

    With r the ratio of standard deviations after rescaling, and k the gain, `std` asks for k = f (k / r) + 1 - f. It
    is held as k (r - f) = (1 - f) r, which needs no division and holds for f = 1 too, where it says r = 1.
    """
    gain, norm, deviation = sample
    factor = expected.renorm_factor
    if expected.renorm == "std":
        left, right = gain * (deviation - factor), (1 - factor) * deviation
        return abs(left - right) <= allowed_rel * (gain * (deviation + factor) + abs(right))
    if norm < factor * (1 - allowed_rel):
        return abs(gain - 1) <= allowed_rel
    return norm <= factor * (1 + allowed_rel) and gain <= 1 + allowed_rel
