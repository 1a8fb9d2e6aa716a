"""How far a case has gone since it was first accepted, by steps each of which was accepted on its own.

No gate can see that: each holds a run against what stands. So a sketch of the first generation is kept, and what is
saved is held against it by the limits of one step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Literal

import msgspec

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.memory import memory_allowance
from pytest_diffbench.judge.output.tolerance import tolerance
from pytest_diffbench.judge.part_sketches import parts_beyond, sketches_of, unlike
from pytest_diffbench.judge.time.runs import first_time
from pytest_diffbench.outputs.excerpts import films_in
from pytest_diffbench.outputs.image_metrics import area_means
from pytest_diffbench.records import MOST_FIRST_TIMES, ImageSketch, Origin, OriginDistance, PartSketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.records import (
        Baseline,
        Memory,
        Observation,
        Output,
        PartFacts,
        Run,
        Work,
    )
    from pytest_diffbench.records.artifacts import Artifacts, Reference


CELLS = 16
"""Along each side of a sketch. A distance of means over cells is never more than that of the pixels."""

MOST_IMAGES = 4
"""Of a call; a film has hundreds."""

_STEPS = 2
"""Generations from the first on before anything is said: what one step does is said by the gates."""


def origin_of(
    generation: int,
    run: Run,
    work: Work | None,
    memory: Memory | None,
    images: Sequence[NDArray[np.uint8]],
    parts: tuple[PartSketch, ...] = (),
) -> Origin:
    """Sketch what was measured.

    Images are uint8 of shape (height, width) or (height, width, channels), frames of videos among them.
    """
    count = min(len(images), MOST_IMAGES)
    picked = sorted({round(i * (len(images) - 1) / max(count - 1, 1)) for i in range(count)})
    torch = run.environment.software.get("torch")
    return Origin(
        generation=generation,
        started=run.started,
        images=tuple(_sketch(i, images[i]) for i in picked),
        parts=parts,
        flops=work.total_flops if work is not None else None,
        denoiser_calls=work.denoiser_calls if work is not None else None,
        torch=str(torch) if torch is not None else None,
        memory=msgspec.structs.replace(memory, stages={}) if memory is not None else None,
    )


def pictures_of(artifacts: Artifacts) -> tuple[NDArray[np.uint8], ...]:
    """What is sketched as images: those, and the frames of videos as they are kept, reduced where they are."""
    return (*artifacts.images, *(frame for film in films_in(artifacts.parts) for frame in film))


def _sketch(number: int, image: NDArray[np.uint8]) -> ImageSketch:
    means = area_means(image.reshape(*image.shape[:2], -1), CELLS, CELLS)
    return ImageSketch(
        image=number,
        width_px=image.shape[1],
        height_px=image.shape[0],
        rows=means.shape[0],
        columns=means.shape[1],
        levels=tuple(round(float(level), 2) for level in means.ravel()),
    )


def origin_with(
    observation: Observation, artifacts: Artifacts, departs: bool, standing: Reference | None, generation: int
) -> Origin:
    """The origin to keep with what is saved.

    It is carried over. It begins anew where the definition changed, for results of unequal definitions are never
    compared, and with the generation that stands where that was saved without one. A change that was red doesn't
    begin it anew: every step of a slide that began a generation was red, too.

    Args:
        observation: what is saved.
        artifacts: its images.
        departs: its times are accepted as others than those that stand.
        standing: this machine's baseline, None where there is none.
        generation: that the save makes or adds to.
    """
    first = _of_observation(generation, observation, artifacts)
    if standing is None or _redefined(standing.baseline, observation):
        return _with_times(first, [observation.run])
    base = standing.baseline
    if base.origin is not None:
        first = base.origin
    else:
        # what can't be read any more is no origin, and no reason not to save
        with contextlib.suppress(BaselineError):
            stored = standing.artifacts()
            sketches = sketches_of(_parts_of(base.output), stored.parts)
            first = origin_of(base.generation, base.runs[0], base.work, base.memory, pictures_of(stored), sketches)
    runs = base.timed_runs if departs or base.times_from is not None else (*base.timed_runs, observation.run)
    return _with_times(first, runs)


def _of_observation(generation: int, observation: Observation, artifacts: Artifacts) -> Origin:
    return origin_of(
        generation,
        observation.run,
        observation.work,
        observation.memory,
        pictures_of(artifacts),
        sketches_of(_parts_of(observation.output), artifacts.parts),
    )


def _parts_of(output: Output | None) -> tuple[PartFacts, ...]:
    return output.parts if output is not None else ()


def _with_times(origin: Origin, runs: Sequence[Run]) -> Origin:
    """The origin with the times of the first runs, until it has enough of them."""
    if len(origin.times) >= MOST_FIRST_TIMES:
        return origin
    times = [time for run in runs[:MOST_FIRST_TIMES] if (time := first_time(run)) is not None]
    return msgspec.structs.replace(origin, times=max((origin.times, tuple(times)), key=len))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SlideItem:
    """A figure that went further since the first generation than one step may.

    Attributes:
        kind: what it is of; `images` stands for another number or size of images, `parts` for other parts.
        before: of the first generation. Of a distance: the limit of one step.
        after: now. Of a distance: the distance, which a reduction can only understate.
        allowed: by how much a step may change it: FLOPs as a share, memory in bytes.
        image: number of the image.
        sizes_px: width and height of the images, in the first generation and now.
        part: that is further off.
        metric: of the part.
        shapes: kind and shape of each part, in the first generation and now.
    """

    kind: Literal["colour_levels", "psnr_db", "images", "part", "parts", "denoiser_calls", "flops", "peak_bytes"]
    before: float = 0.0
    after: float = 0.0
    allowed: float = 0.0
    image: int = 0
    sizes_px: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = ((), ())
    part: PartSketch | None = None
    metric: str = ""
    shapes: tuple[tuple[PartSketch, ...], tuple[PartSketch, ...]] = ((), ())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """How far a case has gone since its first generation, by steps each of which was accepted.

    `started` is when that was measured: UTC, ISO 8601.
    """

    generation: int
    started: str
    items: tuple[SlideItem, ...]


def slide(
    observation: Observation, artifacts: Artifacts, standing: Reference, limits: Limits, generation: int
) -> Slide | None:
    """How far a case that was saved has gone; None where it isn't further than one step may go.

    `standing` is this machine's baseline as it stood before, and `generation` the one that stands now.
    """
    base, origin = standing.baseline, standing.baseline.origin
    if origin is None or generation - origin.generation < _STEPS or _redefined(base, observation):
        return None
    now = _of_observation(generation, observation, artifacts)
    reruns = [side.output.rerun for side in (observation, base) if side.output is not None]
    allowed = tolerance("machine", reruns[0], reruns[-1], limits) if reruns else None
    items = (
        *_images(origin, now, allowed),
        *_parts(origin, now, allowed),
        *_work(origin, now, limits),
        *_memory(origin.memory, now.memory, limits),
    )
    return Slide(generation=origin.generation, started=origin.started, items=items) if items else None


def origin_distance(
    observation: Observation, artifacts: Artifacts, standing: Reference | None
) -> OriginDistance | None:
    """How far the images of a run are from those that were accepted first on the machine that `standing` is of.

    Returns:
        None without an origin of this machine, without images, and where they are of another size or number.
    """
    pictures = pictures_of(artifacts)
    if standing is None or standing.distance != "machine" or standing.baseline.origin is None or not pictures:
        return None
    origin = standing.baseline.origin
    now = origin_of(origin.generation, observation.run, None, None, pictures)
    if _redefined(standing.baseline, observation) or not origin.images:
        return None
    if [_size(image) for image in origin.images] != [_size(image) for image in now.images]:
        return None
    pairs = list(zip(origin.images, now.images, strict=True))
    least_db = min(_psnr_db(old, new) for old, new in pairs)
    return OriginDistance(
        generation=origin.generation,
        colour_levels=max(_colour_levels(old, new) for old, new in pairs),
        psnr_db=least_db if math.isfinite(least_db) else None,
    )


def _redefined(base: Baseline, observation: Observation) -> bool:
    return bool(definition_changes(base.case.definition, observation.case.definition))


def _images(origin: Origin, now: Origin, allowed: Tolerance | None) -> list[SlideItem]:
    if allowed is None or allowed.hopeless:
        return []
    if [_size(image) for image in origin.images] != [_size(image) for image in now.images]:
        before, after = (tuple((image.width_px, image.height_px) for image in side.images) for side in (origin, now))
        return [SlideItem(kind="images", sizes_px=(before, after))]
    # A reduction only ever hides, so what is seen in it is a least distance.
    pairs = list(zip(origin.images, now.images, strict=True))
    colours = [(_colour_levels(old, new), old.image) for old, new in pairs]
    noises = [(_psnr_db(old, new), old.image) for old, new in pairs]
    items = []
    levels, image = max(colours, default=(0.0, 0))
    if levels > (limit := allowed.images["colour_levels"]):
        items.append(SlideItem(kind="colour_levels", before=limit, after=levels, image=image))
    least_db, image = min(noises, default=(math.inf, 0))
    if least_db < (limit := allowed.images["psnr_db"]):
        items.append(SlideItem(kind="psnr_db", before=limit, after=least_db, image=image))
    return items


def _parts(origin: Origin, now: Origin, allowed: Tolerance | None) -> list[SlideItem]:
    if allowed is None or allowed.hopeless or not origin.parts:
        return []
    if unlike(now.parts, origin.parts):
        return [SlideItem(kind="parts", shapes=(origin.parts, now.parts))]
    return [
        SlideItem(kind="part", part=part, metric=metric, before=limit, after=distance)
        for part, metric, limit, distance in parts_beyond(now.parts, origin.parts, allowed)
    ]


def _size(image_sketch: ImageSketch) -> tuple[int, ...]:
    return image_sketch.image, image_sketch.width_px, image_sketch.height_px, len(image_sketch.levels)


def _gaps(left: ImageSketch, right: ImageSketch) -> NDArray[np.float64]:
    """Differences of shape (cells, channels)."""
    import numpy as np

    gap = np.subtract(right.levels, left.levels).reshape(left.rows * left.columns, -1)
    return np.asarray(gap, dtype=np.float64)


def _colour_levels(left: ImageSketch, right: ImageSketch) -> float:
    import numpy as np

    return float(np.sqrt(np.square(_gaps(left, right)).mean(axis=0).max()))


def _psnr_db(left: ImageSketch, right: ImageSketch) -> float:
    import numpy as np

    mean_square = float(np.square(_gaps(left, right)).mean())
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def _work(origin: Origin, now: Origin, limits: Limits) -> list[SlideItem]:
    items = []
    if origin.denoiser_calls is not None and now.denoiser_calls not in (None, origin.denoiser_calls):
        items.append(SlideItem(kind="denoiser_calls", before=origin.denoiser_calls, after=now.denoiser_calls or 0))
    if origin.flops and now.flops is not None:
        allowed_rel = 0.0 if origin.torch == now.torch else limits.flops_other_torch_rel
        if abs(now.flops / origin.flops - 1) > allowed_rel:
            items.append(SlideItem(kind="flops", before=origin.flops, after=now.flops, allowed=allowed_rel))
    return items


def _memory(origin: Memory | None, now: Memory | None, limits: Limits) -> list[SlideItem]:
    if origin is None or now is None or origin.source != now.source or now.source == "process_lifetime":
        return []
    allowed_bytes = memory_allowance(now, limits).bytes_of(origin.peak_bytes)
    if now.peak_bytes - origin.peak_bytes <= allowed_bytes:
        return []
    return [SlideItem(kind="peak_bytes", before=origin.peak_bytes, after=now.peak_bytes, allowed=allowed_bytes)]
