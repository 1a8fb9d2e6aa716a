"""What the calls of a measurement returned, as a record: the first timed call's, and how far the others are off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.pixels import image_digest, psnr_db
from pytest_diffbench.records import ImageFacts, Output, RerunNoise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.measure.rounds import Returned
    from pytest_diffbench.measure.survey import Survey


def output_of(survey: Survey | None, timed: Sequence[Returned], untimed: Sequence[Returned]) -> Output | None:
    """Facts of what was returned; None where there was no survey, or neither images nor latents.

    Args:
        survey: saw the latents.
        timed: what the timed rounds returned.
        untimed: what the calls before them returned.
    """
    calls = timed or untimed
    if not calls or survey is None:
        return None
    first = calls[0]
    if not first.pixels.arrays and survey.latents_shape is None:
        return None
    where = survey.not_finite_where or (None if first.pixels.finite else "images")
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
        finite=where is None,
        not_finite_where=where,
        latents_shape=survey.latents_shape,
        latents_dtype=survey.latents_dtype,
        rerun=_rerun_noise(first, [*untimed, *timed]),
    )


def _rerun_noise(first: Returned, calls: Sequence[Returned]) -> RerunNoise:
    worst_db: float | None = None
    worst_rel: float | None = None
    for other in calls:
        for a, b in zip(first.pixels.arrays, other.pixels.arrays, strict=False):
            if a.shape == b.shape and (a != b).any():
                worst_db = min(psnr_db(a, b), worst_db if worst_db is not None else float("inf"))
        if first.latents is not None and other.latents is not None and first.latents.shape == other.latents.shape:
            distance = _distance_rel(first.latents, other.latents)
            if distance > 0:
                worst_rel = max(distance, worst_rel or 0.0)
    same_bits = all(other.digest == first.digest for other in calls) and worst_rel is None
    return RerunNoise(rounds=len(calls), identical=same_bits, psnr_db=worst_db, latents_rel=worst_rel)


def _distance_rel(a: Any, b: Any) -> float:
    import numpy as np

    reference = float(np.linalg.norm(a.astype(np.float64)))
    distance = float(np.linalg.norm(a.astype(np.float64) - b))
    # NaN where the latents aren't finite: the output gate says so in its own words.
    return distance / reference if reference > 0 and np.isfinite(distance) else 0.0
