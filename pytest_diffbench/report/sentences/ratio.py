"""Sentences of the time gate about a variant and its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.sentences.common import field_change
from pytest_diffbench.report.sentences.time import pair
from pytest_diffbench.report.units import format_count, format_list, format_percent

if TYPE_CHECKING:
    from pytest_diffbench.records.details import RatioDetails


def message(reason: str, details: RatioDetails) -> str:
    """How much faster than its reference the variant was and is, the limit, and how sure that is."""
    _, _, what = reason.partition(".")
    figures = _figures(details)
    limit = f"limit ±{100 * details.allowed_rel:.2g} %"
    fresh = f"{details.confirmed} of {format_count(details.fresh_runs, 'fresh process')}"
    match what:
        case "ratio_reference":
            lines = format_list([field_change(change) for change in details.reference])
            return f"The stored speed-up is over a reference that was called differently: {lines}."
        case "ratio_few_runs":
            missing = format_count(details.runs_needed - details.runs, "more run")
            return f"Too few runs to judge: {figures}; {missing} needed."
        case "ratio_better":
            return f"Larger speed-up: {figures} ({limit})."
        case "ratio_worse":
            confirmed = f", confirmed by {fresh}" if details.fresh_runs else ""
            return f"Smaller speed-up: {figures} ({limit}){confirmed}."
        case "ratio_unconfirmed":
            confirmed = f" {fresh} agree." if details.fresh_runs else " No fresh process was run to confirm it."
            return f"Perhaps a smaller speed-up: {figures} ({limit}).{confirmed}"
        case "ratio_overtaken" if details.itself_s is not None:
            own = pair(*details.itself_s)
            return (
                f"Smaller speed-up: {figures}; but the variant itself got faster ({own}), and its reference more so."
            )
        case "ratio_blind":
            rel = format_percent(details.detectable_rel or 0.0, signed=True)
            return f"Can't tell: {figures}. Nothing under {rel} would have been detected."
    rel = format_percent(details.detectable_rel or 0.0, signed=True)
    return f"Same speed-up: {figures}. A loss of {rel} of time would have been detected."


def changes(reason: str, details: RatioDetails) -> list[str]:
    """The denoise stage's own speed-up, where the variant's changed."""
    if details.denoise_speedup_rel is None or reason in ("time.ratio_same", "time.ratio_blind"):
        return []
    before, after = details.denoise_speedup_rel
    return [f"denoise: {before:.3f}x -> {after:.3f}x as fast as the reference's"]


def _figures(details: RatioDetails) -> str:
    where = "" if details.distance == "machine" else " on another machine"
    change = format_percent(details.ratio_change_rel, signed=True)
    return (
        f"{details.baseline_speedup_rel:.3f}x -> {details.speedup_rel:.3f}x as fast as the reference ({change}),"
        f" {format_count(details.runs, 'run')} in the baseline{where}"
    )
