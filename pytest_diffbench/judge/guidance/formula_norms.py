"""Holding what became of guided predictions against the renormalisation that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.judge.text import step_list
from pytest_diffbench.records import format_steps

if TYPE_CHECKING:
    from pytest_diffbench.judge.guidance.formula import Expected
    from pytest_diffbench.records import GuidanceStep

Steps: TypeAlias = "Sequence[tuple[int, GuidanceStep]]"
Faults: TypeAlias = Iterable[tuple[str, str]]
"""Reason and words."""


def norm_faults(steps: Steps, expected: Expected, *, gain_rel: float, ratio_rel: float) -> Faults:
    """Faults of the norms of guided steps.

    Args:
        steps: the guided steps that are meant to be, with their numbers.
        expected: what was asked for.
        gain_rel: how far from 1 the gain of an unscaled prediction may be.
        ratio_rel: how far from what is asked for a ratio of norms may be.
    """
    if expected.renorm == "rows":
        return _rows(steps, gain_rel, ratio_rel)
    if expected.renorm in ("clamp", "std"):
        return _samples(steps, expected, gain_rel, ratio_rel)
    return _none(steps, expected, gain_rel, ratio_rel)


def unread(step: GuidanceStep, expected: Expected) -> bool:
    """Whether a step doesn't show the norms by which the renormalisation that was asked for is told."""
    if expected.renorm == "rows":
        return step.norm_ratio_min is None
    return expected.renorm != "none" and not step.samples


def one(low: float | None, high: float | None, allowed_rel: float) -> bool:
    """Whether a range is 1 within rounding; NaN isn't."""
    return low is not None and high is not None and abs(low - 1) <= allowed_rel and abs(high - 1) <= allowed_rel


def at(steps: list[int]) -> str:
    """Name steps in a sentence: `steps 0-2, 5`."""
    return step_list(format_steps(steps))


def _scaled(steps: Steps, gain_rel: float) -> list[int]:
    return [i for i, s in steps if s.gain_min is not None and not one(s.gain_min, s.gain_max, gain_rel)]


def _rows(steps: Steps, gain_rel: float, ratio_rel: float) -> Faults:
    scaled = _scaled(steps, gain_rel)
    seen = [(i, s, s.norm_ratio_min, s.norm_ratio_max) for i, s in steps]
    lost = [
        (i, low, high)
        for i, _, low, high in seen
        if low is not None and high is not None and not one(low, high, ratio_rel)
    ]
    if lost:
        # rows that are rescaled by something else than the ratio of norms are not the same fault
        missing = not any(i in scaled for i, _, _ in lost)
        code = "guidance.renorm_missing" if missing else "guidance.renorm_wrong"
        words = "not renormed" if missing else "rescaled, but not to the conditional norm"
        span = f"{min(low for _, low, _ in lost):.4g} to {max(high for _, _, high in lost):.4g}"
        yield code, f"{at([i for i, _, _ in lost])} {words}: norm ratio {span}, asked for 1"


def _none(steps: Steps, expected: Expected, gain_rel: float, ratio_rel: float) -> Faults:
    seen = [i for i, s in steps if s.norm_ratio_min is not None and s.norm_ratio_max is not None]
    kept = [i for i, s in steps if one(s.norm_ratio_min, s.norm_ratio_max, ratio_rel)]
    scaled = _scaled(steps, gain_rel)
    unasked = [i for i in kept if i in scaled]
    # without gains a kept norm in every row of every step is no accident either, unless the scale is 1
    gains_seen = any(s.gain_min is not None for _, s in steps)
    if not gains_seen and seen and len(kept) == len(seen) and abs(expected.scale - 1) > ratio_rel:
        unasked = kept
    if unasked:
        yield "guidance.renorm_unasked", f"{at(unasked)} renormed, though renorm is off"
    if others := [i for i in scaled if i not in unasked]:
        gains = [g for i, s in steps if i in others for g in (s.gain_min, s.gain_max) if g is not None]
        text = f"{at(others)} scaled by {min(gains):.4g} to {max(gains):.4g}, though renorm is off"
        yield "guidance.gain", text


def _samples(steps: Steps, expected: Expected, gain_rel: float, ratio_rel: float) -> Faults:
    """Renormalisation of whole samples: one gain in each, and the one that was asked for."""
    factor, tolerance = expected.renorm_factor, max(gain_rel, ratio_rel)
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
            (missing if one(min(gains), max(gains), gain_rel) else wrong).append(i)
    what = f"a norm of at most {factor:g} times" if expected.renorm == "clamp" else f"{factor:g} of the way to"
    asked = f"asked for {what} that of the conditional one" if expected.renorm == "clamp" else ""
    asked = asked or f"asked for {what} the standard deviation of the conditional one"
    if missing:
        yield "guidance.renorm_missing", f"{at(missing)} not rescaled: {_ratios(steps, missing, expected)}, {asked}"
    if wrong:
        yield "guidance.renorm_wrong", f"{at(wrong)} rescaled otherwise: {_ratios(steps, wrong, expected)}, {asked}"
    if uneven:
        spans = [gain for i, s in steps if i in uneven for gain in (s.gain_min, s.gain_max) if gain is not None]
        span = f"{min(spans):.4g} to {max(spans):.4g}"
        yield "guidance.renorm_wrong", f"{at(uneven)} rescaled row by row, by {span}, in place of whole samples"


def _even(step: GuidanceStep, gains: list[float], allowed_rel: float) -> bool:
    """Whether the rows' gains are within those of their samples."""
    if step.gain_min is None or step.gain_max is None:
        return True
    return min(gains) - step.gain_min <= allowed_rel * min(gains) and step.gain_max - max(gains) <= allowed_rel * max(
        gains
    )


def _right(sample: tuple[float, float, float], expected: Expected, allowed_rel: float) -> bool:
    """Whether the gain of a sample is the one that was asked for.

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


def _ratios(steps: Steps, chosen: list[int], expected: Expected) -> str:
    found = [
        deviation if expected.renorm == "std" else norm
        for i, step in steps
        if i in chosen
        for _, norm, deviation in step.samples
    ]
    return f"ratio {min(found):.4g} to {max(found):.4g}"
