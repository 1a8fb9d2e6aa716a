"""Parts of a result that aren't images: whether they are sound, alike enough to be compared, and how far apart."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.judge.output.tolerance import LimitCheck, line_of, tile_of
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS, recorded
from pytest_diffbench.outputs.pixels import image_digest, to_uint8_arrays
from pytest_diffbench.records.details import MetricLimit, OutputDetails, PartFinding, PartPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.outputs.kinds import Figure, PartComparison, Place
    from pytest_diffbench.records import Output, PartFacts, Verdict
    from pytest_diffbench.records.artifacts import Artifacts


def unsound(now: Output, details: OutputDetails) -> Verdict | None:
    """The verdict on a part that is silent or constant whatever the baseline; None where all are sound."""
    silent = _with_defect(now.parts, "silent")
    if silent:
        return verdict("output.silent", details=msgspec.structs.replace(details, unsound_parts=silent))
    constant = _with_defect(now.parts, "constant")
    alone = not now.images and len(constant) == len(now.parts)
    # one of several tensors may be a mask
    wrong = tuple(number for number in constant if alone or not _may_be_constant(now.parts[number]))
    if wrong:
        return verdict("output.constant", details=msgspec.structs.replace(details, unsound_parts=wrong))
    return None


def _with_defect(parts: Sequence[PartFacts], defect: str) -> tuple[int, ...]:
    return tuple(number for number, part in enumerate(parts) if defect in part.defects)


def _may_be_constant(part: PartFacts) -> bool:
    kind = KINDS.get(part.kind)
    return kind is not None and kind.may_be_constant


def unlike(now: Output, base: Output, details: OutputDetails) -> Verdict | None:
    """Differences of parts for which no metric is needed; None where there are none."""
    if base.parts and not now.parts:
        return verdict("output.lost", details=details)
    if len(now.parts) != len(base.parts):
        return verdict("output.count", details=details)
    for number, (new, old) in enumerate(zip(now.parts, base.parts, strict=True)):
        at = msgspec.structs.replace(details, part=number)
        if (new.kind, new.name) != (old.kind, old.name):
            return verdict("output.kind", details=at)
        if new.shape != old.shape:
            if not _differs_in_length_alone(new, old):
                return verdict("output.size", details=at)
            return verdict("output.length", details=msgspec.structs.replace(at, findings=_cut(number, new, old)))
        if _may_be_constant(new) and new.dtype != old.dtype:
            return verdict("output.size", details=at)
        # what nobody stated then may be stated now
        if old.rate_hz is not None and new.rate_hz != old.rate_hz:
            rates = msgspec.structs.replace(at, rates_hz=(old.rate_hz, new.rate_hz))
            return verdict("output.rate", details=rates)
    return None


def _differs_in_length_alone(new: PartFacts, old: PartFacts) -> bool:
    kind = KINDS.get(new.kind)
    if kind is None or kind.unit is None or len(new.shape) != len(old.shape):
        return False
    axis = kind.length_axis
    return new.shape[axis] != old.shape[axis] and all(
        new.shape[i] == old.shape[i] for i in range(len(new.shape)) if i != axis
    )


def _cut(number: int, new: PartFacts, old: PartFacts) -> tuple[PartFinding, ...]:
    """Frames that are missing, or that were put in, where all others are those of the baseline."""
    kind = KINDS.get(new.kind)
    if kind is None or kind.unit != "frames":
        return ()
    now, base = new.piece_digests, old.piece_digests
    shorter, longer = sorted((now, base), key=len)
    before = next(
        (i for i, pair in enumerate(zip(shorter, longer, strict=False)) if pair[0] != pair[1]), len(shorter)
    )
    gap = len(longer) - len(shorter)
    if shorter[before:] != longer[before + gap :]:
        return ()
    place = PartPlace(frame=before, last_frame=before + gap - 1 if gap > 1 else None)
    return (PartFinding(part=number, code="missing_frames" if len(now) < len(base) else "added_frames", place=place),)


@dataclasses.dataclass(frozen=True, slots=True)
class ComparedPart:
    """A part beside the baseline's, by its number in what was returned."""

    number: int
    comparison: PartComparison


def not_kept(now: Output, base: Output, current: Artifacts, stored: Artifacts) -> bool | None:
    """Whether values of a part that differs are missing in the baseline; False: in this run; None: they are there."""
    for number, (new, old) in enumerate(zip(now.parts, base.parts, strict=True)):
        if new.digest == old.digest:
            continue
        if len(current.parts) <= number or set(current.parts[number]) != set(new.arrays) or not new.arrays:
            return False
        if len(stored.parts) <= number or set(stored.parts[number]) != set(old.arrays) or not old.arrays:
            return True
        if new.kind not in KINDS or set(new.arrays) != set(old.arrays):
            return True
    return None


def read_as_images(now: Output, current: Artifacts, base: Output) -> bool:
    """Whether a part is what the baseline holds as images: it was taken for some before its kind was known."""
    stored = [image.digest for image in base.images]
    for part, arrays in zip(now.parts, current.parts, strict=False):
        if len(part.piece_digests) > 1 and list(part.piece_digests) == stored:
            return True
        values = arrays.get("values", arrays.get("samples"))
        if values is None or values.size != math.prod(part.shape):
            continue
        with contextlib.suppress(TypeError, ValueError):
            if [image_digest(array) for array in to_uint8_arrays(values.reshape(part.shape)).arrays] == stored:
                return True
    return False


def compared_parts(now: Output, base: Output, current: Artifacts, stored: Artifacts) -> list[ComparedPart]:
    """Every part that differs, compared; the parts of both sides are of equal kinds and shapes."""
    return [
        ComparedPart(
            number,
            KINDS[new.kind].compare(recorded(new, current.parts[number]), recorded(old, stored.parts[number])),
        )
        for number, (new, old) in enumerate(zip(now.parts, base.parts, strict=True))
        if new.digest != old.digest
    ]


def part_checks(parts: Sequence[ComparedPart], allowed: Tolerance) -> Iterator[LimitCheck]:
    """Every metric of every part, against its limit."""
    for part in parts:
        for figure in part.comparison.figures:
            metric = PART_METRICS[figure.metric]
            limit = allowed.part_limit(part.number, figure.metric)
            yield LimitCheck(metric.excess(figure.value, limit), _limit(part.number, figure, limit))


def _limit(number: int, figure: Figure, limit: float) -> MetricLimit:
    return MetricLimit(
        metric=figure.metric,
        value=float(figure.value) if math.isfinite(figure.value) else None,
        limit=limit,
        part=number,
        place=_place(figure.place),
        tile=tile_of(figure.tile),
        line=line_of(figure.line),
    )


def _place(place: Place | None) -> PartPlace | None:
    return None if place is None else PartPlace(**dataclasses.asdict(place))


def part_findings(parts: Sequence[ComparedPart], checks: Sequence[LimitCheck]) -> tuple[PartFinding, ...]:
    """What became of the parts that are beyond a limit."""
    beyond = {check.figure.part for check in checks if check.excess > 1}
    return tuple(
        PartFinding(
            part=part.number,
            code=finding.code,
            place=_place(finding.place),
            other=finding.other,
            factor=finding.factor,
            shift=finding.shift,
            shift_px=finding.shift_px,
        )
        for part in parts
        if part.number in beyond
        for finding in part.comparison.findings
    )
