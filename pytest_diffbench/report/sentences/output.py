"""Sentences of the output gate, and of calls of one session that returned different results."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.report.sentences.parts import (
    findings_text,
    metric_of,
    part_name,
    part_text,
    place_words,
    rate_text,
    returned_part,
    size_text,
)
from pytest_diffbench.report.sentences.trace import divergence, place_text
from pytest_diffbench.report.units import MOST_LISTED, format_count, format_decibels, format_distance, format_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import PartNoise, RerunNoise, ToleranceChange
    from pytest_diffbench.records.details import (
        ImageLine,
        ImageTile,
        MetricLimit,
        OutputDetails,
        Returned,
        ReturnedPart,
        TraceExcess,
    )


def message(reason: str, details: OutputDetails) -> str:
    """What differs, by how much, where, and the limit."""
    if reason == "output.weights":
        weights = format_list(details.weights)
        return (
            f"Weights differ from the baseline's: {weights}. {message(details.reason_besides_weights or '', details)}"
        )
    if details.worst is not None:
        return _compared(reason, details, details.worst)
    match reason:
        case "output.not_finite":
            place = place_text(details.place) if details.place is not None else details.where or "place unknown"
            return f"The result holds NaN or infinity, first at: {place}."
        case "output.no_images":
            why = f": {details.returned.no_images}" if details.returned and details.returned.no_images else ""
            return f"The call returned no images{why}."
        case "output.unrecognised":
            kinds = details.returned.unrecognised if details.returned else None
            return f"No output was recognised in what the call returned ({kinds}): nothing of it is judged or saved."
        case "output.silent":
            return f"No sound in {_unsound(details)}."
        case "output.constant":
            if details.unsound_parts:
                return f"All values of {_unsound(details)} are equal."
            if details.constant_images:
                return f"All pixels of image {', '.join(map(str, details.constant_images))} are equal."
            return f"All values of the returned {', '.join(details.constant_tensors)} are equal."
        case "output.global_generator" if details.rerun is not None:
            return f"The generator passed to the call does not determine its result: {_disagreement(details)}"
        case "output.same_bits" if details.returned is not None:
            drift = (
                "Identical calls of this case differ, though"
                if details.rerun
                else "Any change would have been detected"
            )
            return f"{returned_text(details.returned)}, bit-identical to the baseline. {drift}."
        case "output.nondeterministic":
            return f"The first timed call agrees with the baseline, but {_disagreement(details)}"
    return _unlike(reason, details)


def _unlike(reason: str, details: OutputDetails) -> str:
    """What was returned differs without any metric, or wasn't kept."""
    match reason:
        case "output.lost" | "output.count" if details.returned and details.baseline_returned:
            nothing = reason == "output.lost" and not details.returned.parts
            why = f": {details.returned.no_images}" if nothing else ""
            returned = "nothing to compare" if nothing else returned_text(details.returned)
            return f"The baseline has {returned_text(details.baseline_returned)}, this run {returned}{why}."
        case "output.mode" if details.modes is not None:
            return f"Image {details.image} has mode {details.modes[1]}; the baseline has {details.modes[0]}."
        case "output.size" | "output.length" | "output.rate" | "output.kind":
            return _size(details)
        case "output.not_in_baseline" if details.returned and details.baseline_returned:
            return (
                f"The call returned {returned_text(details.returned)}; the baseline has "
                f"{returned_text(details.baseline_returned)}, so that the rest can't be compared."
            )
        case "output.not_kept":
            return _not_kept(details)
    return ""


_WITH_DIVERGENCE = ("output.differs", "output.trace", "output.other_machine")
"""Reasons whose message says where the traces diverge."""


def changes(reason: str, details: OutputDetails) -> list[str]:
    """Where the traces diverge, unless the message says so, what else is beyond its limit, and changed thresholds."""
    worded = details.reason_besides_weights or reason if reason == "output.weights" else reason
    lines = [divergence(details.trace)] if details.trace is not None and worded not in _WITH_DIVERGENCE else []
    lines += [f"{_subject(figure, details)}: {_text(figure, details)}" for figure in details.further]
    if details.latents_dtypes is not None:
        lines.append(f"dtype of the latents: {details.latents_dtypes[0]} -> {details.latents_dtypes[1]}")
    lines += [tolerance_change(change) for change in details.tolerances]
    lines += [
        f"{tolerance_change(change)} (not in the baseline's history yet; the next save adds it)"
        for change in details.tolerances_pending
    ]
    if details.weights and details.reason_besides_weights is None:
        lines.append(f"weights differ from the baseline's: {', '.join(details.weights)}")
    return lines


def returned_text(returned: Returned) -> str:
    """What was returned, in a few words."""
    if returned.parts:
        parts = [format_count(returned.images, "image")] if returned.images else []
        parts += [part_text(part) for part in returned.parts[:MOST_LISTED]]
        further = len(returned.parts) - MOST_LISTED
        return format_list([*parts, *([f"{further} more"] if further > 0 else [])])
    if returned.images or not returned.tensors:
        return format_count(returned.images, "image")
    tensors = ", ".join(
        f"{tensor.name} {' x '.join(map(str, tensor.shape)) or 'number'}" for tensor in returned.tensors[:2]
    )
    return (
        f"{format_count(len(returned.tensors), 'tensor')} ({tensors}{', ...' if len(returned.tensors) > 2 else ''})"
    )


def sound_text(returned: Returned) -> str:
    """That a result is sound by itself."""
    if not returned.images and not returned.tensors and not returned.parts:
        return "The latents are finite."
    unseen = returned.no_images and not returned.images and not returned.parts
    why = f"; no images: {returned.no_images}" if unseen else ""
    return f"{returned_text(returned)}: finite, not constant{why}."


def tolerance_change(change: ToleranceChange) -> str:
    """A change of a threshold: `tolerance psnr_db 40 -> 35 since 2026-01-31: attention in int8`."""
    since = f" since {change.changed[:10]}" if change.changed else ""
    return f"tolerance {change.limit} {change.before:g} -> {change.after:g}{since}: {change.reason}"


def metric_text(figure: MetricLimit, part: ReturnedPart | None = None) -> str:
    """A metric with its place and limit: `colour shift 9.6/255 (limit 1)`."""
    part_metric = metric_of(figure)
    if part_metric is not None:
        limit = f" (limit {part_metric.limit_text(figure.limit)})" if abs(figure.limit) < sys.float_info.max else ""
        where = place_words(figure.place, part)
        inside = f"{f' {where}' if where else ''}{_place(figure.tile, figure.line)}"
        return f"{part_metric.label} {part_metric.text(figure.value)}{inside}{limit}"
    if figure.metric not in METRICS:
        value = math.inf if figure.value is None else figure.value
        return f"{format_distance(value)} apart (limit {format_distance(figure.limit)})"
    metric = METRICS[figure.metric]
    limit = f" (limit {metric.limit_text(figure.limit)})" if abs(figure.limit) < sys.float_info.max else ""
    return f"{metric.label} {metric.text(figure.value)}{_place(figure.tile, figure.line)}{limit}"


def _compared(reason: str, details: OutputDetails, worst: MetricLimit) -> str:
    """Of a comparison by metrics."""
    where = f" {divergence(details.trace)}." if details.trace is not None else ""
    became = findings_text(
        tuple(finding for finding in details.findings if finding.part == worst.part),
        returned_part(details.returned, worst.part),
    )
    differs = f"{_differing(worst, details)} {_text(worst, details)}.{f' {became}' if became else ''}"
    figure = f"{_subject(worst, details)}, {_text(worst, details)}."
    closest = f"Closest to its limit: {figure}"
    largest = _largest(details, worst)
    limits = f" {_limits(details)}"
    match reason:
        case "output.nondeterministic":
            return f"Identical calls used to agree; now {_disagreement(details)} Against the baseline: {figure}"
        case "output.rerun_noise":
            noise = format_decibels(details.rerun_db)
            return f"{differs} Identical calls of this case drift as much (PSNR {noise})."
        case "output.differs":
            across = limits if details.machines else ""
            return f"{differs}{where}{largest}{across}"
        case "output.trace" if details.trace_excess is not None:
            beyond = _trace_excess(details.trace_excess)
            return f"The result is within its limits, but the trace is not: {beyond}.{where} {closest}"
    latents = _latents(details)
    match reason:
        case "output.decoder":
            return f"{latents}The decoder or a later stage differs: {_text(worst, details)}.{largest}{limits}"
        case "output.other_machine":
            compared = differs if _is_beyond(worst) else closest
            return f"{latents}{compared} The other machine may be the cause.{where}{largest}{limits}"
    before = latents if details.machines and (details.images or details.parts) else ""
    return f"{before}Not bit-identical, but within all limits. {closest}{limits}"


def _trace_excess(excess: TraceExcess) -> str:
    rel = math.inf if excess.distance_rel is None else excess.distance_rel
    figures = f"{format_distance(rel)} apart (limit {format_distance(excess.limit_rel)})"
    return f"{place_text(excess.place)}, {figures}"


def _disagreement(details: OutputDetails) -> str:
    if details.rerun is None:
        return ""
    return f"{disagreement(details.rerun)}.{cause(details.rerun)}"


def _text(figure: MetricLimit, details: OutputDetails) -> str:
    return metric_text(figure, returned_part(details.returned, figure.part))


def _unsound(details: OutputDetails) -> str:
    parts = [returned_part(details.returned, number) for number in details.unsound_parts]
    return format_list([part_name(part) for part in parts if part is not None])


def _differing(figure: MetricLimit, details: OutputDetails) -> str:
    single = figure.image is not None or figure.tensor is not None or figure.part is not None
    verb = "differs" if single else "differ"
    subject = _subject(figure, details)
    return f"{subject[0].upper()}{subject[1:]} {verb} from the baseline:"


def _is_beyond(figure: MetricLimit) -> bool:
    value = math.nan if figure.value is None else figure.value
    metric = METRICS.get(figure.metric) or metric_of(figure)
    if metric is not None:
        return metric.excess(value, figure.limit) > 1
    return not value <= figure.limit


def _subject(figure: MetricLimit, details: OutputDetails) -> str:
    """What a metric is of."""
    part = returned_part(details.returned, figure.part)
    if part is not None:
        return part_name(part)
    if figure.image is not None:
        return f"image {figure.image}"
    return "final latents" if figure.tensor is None else f"returned tensor {figure.tensor}"


def _place(tile: ImageTile | None, line: ImageLine | None) -> str:
    if tile is not None:
        return f" in {_tile(tile)}"
    if line is None:
        return ""
    axis = "y" if line.orientation == "horizontal" else "x"
    again = "" if line.period_px is None else f", repeated every {line.period_px} px"
    return f", {line.orientation} at {axis} = {line.position_px}{again}"


def _tile(tile: ImageTile) -> str:
    return f"{tile.width_px} x {tile.height_px} px at ({tile.left_px}, {tile.top_px})"


def _largest(details: OutputDetails, worst: MetricLimit) -> str:
    """Where the images differ most; empty for latents, and where the metric that is named says it."""
    tiles = [
        (figure.value, number, figure.tile)
        for number, figures in enumerate(details.images)
        if (figure := figures.get("tile_ssim")) is not None and figure.value is not None and figure.tile is not None
    ]
    if not tiles or worst.tile is not None or worst.line is not None:
        return ""
    _, image, tile = min(tiles, key=lambda entry: entry[0])
    return f" Largest difference: image {image}, {_tile(tile)}."


def _latents(details: OutputDetails) -> str:
    """How far the final latents are apart, across machines."""
    if details.machines is None or "latents_rel" not in details.allowed:
        return ""
    rels = [rel for name, rel in (details.trace.series if details.trace else ()) if name.startswith("latents/")]
    if not rels:
        return ""
    rel = math.inf if details.latents_rel is None else details.latents_rel
    return f"Final latents {format_distance(rel)} apart (limit {format_distance(details.allowed['latents_rel'])}). "


def _limits(details: OutputDetails) -> str:
    """Limits of the comparison, and between which machines it is."""
    limits = [
        f"{metric.label} {metric.limit_text(details.allowed[name])}"
        for name, metric in (*METRICS.items(), *PART_METRICS.items())
        if name in details.allowed
    ]
    if "latents_rel" in details.allowed:
        limits.append(f"latents {format_distance(details.allowed['latents_rel'])}")
    noise = "" if details.rerun_db is None else f" (identical calls: PSNR {format_decibels(details.rerun_db)})"
    across = "" if details.machines is None else f" across machines ({details.machines[0]} -> {details.machines[1]})"
    return f"Limits{across}{noise}: {', '.join(limits)}."


def _size(details: OutputDetails) -> str:
    if details.sizes_px is not None:
        before, after = (f"{width} x {height} px" for width, height in details.sizes_px)
        return f"Image {details.image} is {after}; the baseline's is {before}."
    part, stored = (returned_part(side, details.part) for side in (details.returned, details.baseline_returned))
    if part is not None and stored is not None:
        return _part_size(part, stored, details)
    if details.tensor is not None and details.returned and details.baseline_returned:
        before, after = (
            f"{tensor.name} of shape {list(tensor.shape)} and dtype {tensor.dtype}"
            for tensor in (
                returned.tensors[details.tensor] for returned in (details.baseline_returned, details.returned)
            )
        )
        return f"The call returned {after}; the baseline has {before}."
    before_shape, after_shape = (list(shape) if shape else None for shape in details.shapes or (None, None))
    what = "The latents have" if details.image is None else f"The pixels of image {details.image} have"
    return f"{what} shape {after_shape}; the baseline has {before_shape}."


def _part_size(part: ReturnedPart, stored: ReturnedPart, details: OutputDetails) -> str:
    """A part of another kind, size, rate or dtype."""
    if (part.kind, part.name) != (stored.kind, stored.name):
        return f"The call returned {part_text(part)}; the baseline has {part_text(stored)}."
    if details.rates_hz is not None:
        before, after = (rate_text(rate_hz) for rate_hz in details.rates_hz)
    elif part.shape != stored.shape:
        before, after = size_text(stored), size_text(part)
    else:
        before, after = f"dtype {stored.dtype}", f"dtype {part.dtype}"
    name = part_name(part)
    became = findings_text(details.findings, part)
    return f"{name[0].upper()}{name[1:]} has {after}; the baseline's has {before}.{f' {became}' if became else ''}"


def _not_kept(details: OutputDetails) -> str:
    if details.not_kept == "trace":
        return "The result differs, but no trace of it was kept on both sides."
    where = "from this run" if details.not_kept in ("images_here", "parts_here") else f"in {details.baseline_path}"
    if details.not_kept in ("parts_here", "parts_in_baseline"):
        return f"What was returned differs, but its values were not kept {where}."
    return f"The images differ, but their pixels were not kept {where}."


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
