"""What the calls of a measurement returned, as a record: the first timed call's, and how far the others are off."""

from __future__ import annotations

import math
import types
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure.agreement import alike
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.outputs.pixels import image_digest, psnr_db
from pytest_diffbench.records import ImageFacts, Output, PartNoise, RerunNoise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.survey import Survey
    from pytest_diffbench.outputs.kinds import Kept


def output_of(
    survey: Survey | None,
    timed: Sequence[Returned],
    untimed: Sequence[Returned],
    *,
    drew_from: tuple[str, ...] = (),
    weights: Mapping[str, str] = types.MappingProxyType({}),
) -> Output | None:
    """Facts of what was returned; None where no call came to its end.

    Args:
        survey: saw the latents.
        timed: what the timed rounds returned.
        untimed: what the calls before them returned.
        drew_from: global generators that a call drew from although it was handed one.
        weights: digests of the components' weights.
    """
    calls = timed or untimed
    if not calls or survey is None:
        return None
    first = calls[0]
    where = survey.not_finite_where or (None if first.pixels.finite else "images")
    for tensor in first.tensors:
        where = where or (None if tensor.finite else f"tensor {tensor.facts.name} of what was returned")
    for part in first.parts:
        where = where or (f"{part.facts.name} of what was returned" if "not_finite" in part.facts.defects else None)
    return Output(
        images=tuple(
            ImageFacts(
                width_px=array.shape[1],
                height_px=array.shape[0],
                mode=mode,
                constant=bool((array == array.reshape(-1)[0]).all()),
                digest=image_digest(array),
            )
            for array, mode in zip(first.pixels.arrays, first.pixels.modes, strict=True)
        ),
        tensors=tuple(tensor.facts for tensor in first.tensors),
        parts=tuple(part.facts for part in first.parts),
        no_images=first.no_images,
        unrecognised=first.unrecognised,
        finite=where is None,
        not_finite_where=where,
        latents_shape=survey.latents_shape,
        latents_dtype=survey.latents_dtype,
        weights=dict(weights),
        rerun=_rerun_noise(first, [*untimed, *timed], drew_from),
    )


def _rerun_noise(first: Returned, calls: Sequence[Returned], drew_from: tuple[str, ...]) -> RerunNoise:
    worst_db: float | None = None
    worst_rel: float | None = None
    for other in calls:
        for a, b in zip(first.pixels.arrays, other.pixels.arrays, strict=False):
            if a.shape == b.shape and (a != b).any():
                worst_db = min(psnr_db(a, b), worst_db if worst_db is not None else float("inf"))
        gaps_rel = [
            _distance_rel(a.sketch, b.sketch)
            for a, b in zip(first.tensors, other.tensors, strict=False)
            if a.facts.shape == b.facts.shape
        ]
        if first.latents is not None and other.latents is not None and first.latents.shape == other.latents.shape:
            gaps_rel.append(_distance_rel(first.latents, other.latents))
        if max(gaps_rel, default=0.0) > 0:
            worst_rel = max(*gaps_rel, worst_rel or 0.0)
    same_bits = all(other.digest == first.digest for other in calls) and worst_rel is None
    groups = alike(calls)
    return RerunNoise(
        rounds=len(calls),
        identical=same_bits,
        psnr_db=worst_db,
        latents_rel=worst_rel,
        parts=part_noise([[part.kept for part in call.parts] for call in (first, *calls)]),
        alike=groups if len(groups) > 1 else (),
        drew_from=drew_from,
    )


def part_noise(calls: Sequence[Sequence[Kept]]) -> tuple[PartNoise, ...]:
    """Of each part and metric the worst value between the first call and another that returned something else.

    Args:
        calls: the parts that each call returned, the first call's first.
    """
    worst: dict[tuple[int, str], float] = {}
    for other in calls[1:]:
        for number, (before, after) in enumerate(zip(calls[0], other, strict=False)):
            if after.digest == before.digest or not _is_comparable(before, after):
                continue
            for figure in KINDS[before.kind].compare(after, before).figures:
                metric, key = PART_METRICS[figure.metric], (number, figure.metric)
                if metric.error(figure.value) > metric.error(worst.get(key, metric.best)):
                    worst[key] = figure.value
    return tuple(
        PartNoise(part=number, metric=name, value=value if math.isfinite(value) else None)
        for (number, name), value in worst.items()
    )


def _is_comparable(left: Kept, right: Kept) -> bool:
    return left.kind == right.kind and left.shape == right.shape and bool(left.arrays)


def _distance_rel(a: Any, b: Any) -> float:
    import numpy as np

    reference = float(np.linalg.norm(a.astype(np.float64)))
    distance = float(np.linalg.norm(a.astype(np.float64) - b))
    # NaN where the latents aren't finite: the output gate says so in its own words.
    return distance / reference if reference > 0 and np.isfinite(distance) else 0.0
