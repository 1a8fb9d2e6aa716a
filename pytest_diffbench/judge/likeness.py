"""How alike what a variant and its reference returned is: images by their metrics, other parts by their kinds'."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.limits import Limits, metric_named
from pytest_diffbench.judge.output.parts import compared_parts, not_kept, part_checks
from pytest_diffbench.judge.output.tolerance import checks, tolerance, worst_of
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS, distance
from pytest_diffbench.records import ImageDifference, Output, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.records.details import MetricLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.judge.output.tolerance import LimitCheck
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import PartFacts

_SAME = RerunNoise(rounds=2, identical=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """What a call returned: its images, parts and trace, facts of the parts, and how its repeats differ."""

    artifacts: Artifacts = dataclasses.field(default_factory=Artifacts)
    parts: tuple[PartFacts, ...] = ()
    rerun: RerunNoise = _SAME

    @property
    def output(self) -> Output:
        """As the output gate takes it: of the parts alone."""
        return Output(images=(), parts=self.parts, finite=True, rerun=self.rerun)


def image_difference(
    now: Shown, base: Shown, metrics: Sequence[ImageMetric] = (), limits: Limits | None = None
) -> ImageDifference | None:
    """How far a variant's output is from its reference's (`base`); None where neither side has any."""
    latents_rel = _latents_rel(now.artifacts, base.artifacts)
    sides = (now, base)
    if not any(side.artifacts.images or side.parts for side in sides):
        return None if latents_rel is None else ImageDifference(same_bits=latents_rel == 0, latents_rel=latents_rel)
    problem = _unlike_images(now.artifacts, base.artifacts) or _unlike_parts(now, base)
    if problem is not None:
        return ImageDifference(same_bits=False, latents_rel=latents_rel, problem=problem)
    pairs = list(zip(now.artifacts.images, base.artifacts.images, strict=True))
    equal_images = all(bool((a == b).all()) for a, b in pairs)
    if equal_images and all(a.digest == b.digest for a, b in zip(now.parts, base.parts, strict=True)):
        return ImageDifference(same_bits=True, ssim=1.0 if pairs else None, latents_rel=latents_rel)
    limits = limits or Limits()
    allowed = tolerance("machine", now.rerun, base.rerun, limits)
    distances = [] if equal_images else [distance(a, b, limits.tile_size_px, metrics) for a, b in pairs]
    own = [{name: found for name, found in far.items() if METRICS[name].package is None} for far in distances]
    of_parts = list(part_checks(compared_parts(now.output, base.output, now.artifacts, base.artifacts), allowed))
    judged = [*checks(own, allowed), *of_parts]
    return ImageDifference(
        same_bits=False,
        psnr_db=min((metrics["psnr_db"].value for metrics in distances), default=None),
        ssim=min((metrics["ssim"].value for metrics in distances), default=1.0 if pairs else None),
        worst=worst_of(judged).figure if judged else None,
        latents_rel=latents_rel,
        further={
            metric.name: METRICS[metric.name].worst([found[metric.name].value for found in distances])
            for metric in metrics
            if distances
        },
        parts=dict(_worst_parts(of_parts)),
    )


def same_picture(difference: ImageDifference) -> bool:
    """Whether outputs count as the same, as the output gate does on one machine."""
    if difference.problem is not None:
        return False
    if difference.same_bits:
        return True
    worst = difference.worst
    if not isinstance(worst, MetricLimit):
        return difference.latents_rel is not None and difference.latents_rel <= Limits().latents_machine_rel
    if worst.value is None:
        return False
    return metric_named(worst.metric).excess(worst.value, worst.limit) <= 1


def is_more_alike(left: ImageDifference | None, right: ImageDifference | None) -> bool:
    """Whether the left output is more like the reference's than the right one.

    Of the metrics that a kind names for likeness one has to say so, and no other one the opposite: one alone is no
    likeness. The rest look for faults; by a metric such as flicker rounding alone may put the nearer output behind.
    """
    if left is None or right is None or left.problem is not None or right.problem is not None:
        return False
    present = left.parts.keys() | right.parts.keys()
    names = ["psnr_db", "ssim", *(name for kind in KINDS.values() for name in kind.likeness if name in present)]
    errors = [(_error(left, name), _error(right, name)) for name in names]
    return all(a <= b for a, b in errors) and any(a < b for a, b in errors)


def _error(difference: ImageDifference, name: str) -> float:
    """How far a figure is from that of equal outputs; 0 where there is none, since then nothing differs by it."""
    if difference.same_bits:
        return 0.0
    metric = metric_named(name)
    value = difference.parts.get(name, metric.best) if name in PART_METRICS else getattr(difference, name)
    if value is None:
        return 0.0 if metric.decibels or name in METRICS else math.inf
    return metric.error(value)


def _worst_parts(judged: Sequence[LimitCheck]) -> Iterator[tuple[str, float | None]]:
    """Of each metric the worst part's value; None for what is infinite or no number."""
    for name, metric in PART_METRICS.items():
        values = [check.figure.value for check in judged if check.figure.metric == name]
        finite = [value for value in values if value is not None]
        if values:
            # infinite decibels are no difference, and anything else that isn't finite is the worst
            known = bool(finite) and (metric.decibels or len(finite) == len(values))
            yield name, metric.worst(finite) if known else None


def _unlike_images(now: Artifacts, base: Artifacts) -> str | None:
    images, base_images = now.images, base.images
    if len(images) != len(base_images):
        return f"different number of images: {len(base_images)}, {len(images)}"
    for a, b in zip(images, base_images, strict=True):
        if a.shape[:2] != b.shape[:2]:
            sizes = ", ".join(f"{shape[1]} x {shape[0]} px" for shape in (b.shape, a.shape))
            return f"different size: {sizes}"
        if a.shape != b.shape:
            return f"different mode: {_channels(b.shape)} and {_channels(a.shape)} channels"
    return None


def _channels(shape: tuple[int, ...]) -> int:
    return shape[2] if len(shape) == 3 else 1


def _unlike_parts(now: Shown, base: Shown) -> str | None:
    if len(now.parts) != len(base.parts):
        return f"different number of parts: {len(base.parts)}, {len(now.parts)}"
    for new, old in zip(now.parts, base.parts, strict=True):
        if (new.kind, new.name) != (old.kind, old.name):
            return f"different kind: {old.kind} {old.name}, {new.kind} {new.name}"
        if new.shape != old.shape:
            return f"different shape of {old.name}: {_shape(old)}, {_shape(new)}"
    if not_kept(now.output, base.output, now.artifacts, base.artifacts) is not None:
        return "values of a part that differs aren't kept"
    return None


def _shape(part: PartFacts) -> str:
    return " x ".join(map(str, part.shape))


def _latents_rel(now: Artifacts, base: Artifacts) -> float | None:
    from pytest_diffbench.judge.trace.entries import relative_distance

    a, b = now.trace.get("latents/final"), base.trace.get("latents/final")
    if a is None or b is None:
        return None
    rel = relative_distance(a, b)
    return rel if math.isfinite(rel) else None
