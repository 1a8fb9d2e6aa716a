"""The output gate: is it the same picture? Hard gates first, then a small vector of metrics, judged by its worst."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.image_members import Member, decibels, figures, members, over, tile_text
from pytest_diffbench.judge.loosening import told
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import listed, plural
from pytest_diffbench.judge.tolerance import Tolerance, tolerance
from pytest_diffbench.judge.trace_limits import first_not_finite, strayed
from pytest_diffbench.judge.trace_words import share
from pytest_diffbench.judge.traces import part, parting_threshold_rel

if TYPE_CHECKING:
    from pytest_diffbench.artifacts import Artifacts
    from pytest_diffbench.judge.images import ImageDistance
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.judge.traces import Parting
    from pytest_diffbench.records import Output, Verdict


def judge_output(question: Question) -> Verdict:
    """Judge the result of the call on its own, then against the baseline's."""
    now = question.observation.output
    assert now is not None  # the table asks this gate only when the part was seen
    broken = _hard_gates(question, now)
    if broken is not None:
        return broken
    reference = question.reference
    if reference is None or reference.baseline.output is None:
        message = (
            f"{_healthy(now)} {question.no_baseline()}"
            if reference is None
            else f"{_healthy(now)} {reference.path} holds no output to compare with."
        )
        return verdict("output.no_baseline", message)
    if changed := definition_changes(reference.baseline.case.definition, question.observation.case.definition):
        message = f"{_healthy(now)} The case is defined differently from its baseline: {listed(changed)}."
        return verdict("output.definition_changed", message, changes=changed)
    base = reference.baseline.output
    unlike = _unlike(now, base)
    if unlike is not None:
        return unlike
    if now.images and [one.digest for one in now.images] == [one.digest for one in base.images]:
        return verdict(
            "output.same_bits",
            f"{plural(len(now.images), 'image')}, equal to the last bit; any change would have been seen.",
            details={"distance": reference.distance},
            changes=told(question.limits, reference.baseline.tolerances),
        )
    return _compare(question, now, base)


def _hard_gates(question: Question, now: Output) -> Verdict | None:
    if not now.finite:
        return _not_finite(question, now)
    if not now.images and question.observation.case.definition.arguments.get("output_type") != "latent":
        return verdict("output.no_images", "The call returned no images.")
    constant = [number for number, image in enumerate(now.images) if image.constant]
    if constant:
        which = ", ".join(map(str, constant))
        message = f"All pixels of image {which} are equal, as in a black image."
        return verdict("output.constant", message, details={"images": constant})
    return None


def _not_finite(question: Question, now: Output) -> Verdict:
    """Name the first place; a trace knows it better than the checks at the boundaries."""
    place = first_not_finite(question.artifacts.trace)
    where = place.words if place is not None else now.not_finite_where or "place unknown"
    details = {"where": now.not_finite_where, "place": place.name if place is not None else None}
    return verdict("output.not_finite", f"The result holds NaN or infinity, first at: {where}.", details=details)


def _healthy(now: Output) -> str:
    if not now.images:
        return "The latents are finite."
    return f"{plural(len(now.images), 'image')}: finite, not constant."


def _unlike(now: Output, base: Output) -> Verdict | None:
    """Differences for which no metric is needed."""
    if len(now.images) != len(base.images):
        message = f"{plural(len(now.images), 'image')} returned, {len(base.images)} in the baseline."
        return verdict("output.count", message, details={"images": [len(base.images), len(now.images)]})
    for number, (new, old) in enumerate(zip(now.images, base.images, strict=True)):
        sizes = [[old.width_px, old.height_px], [new.width_px, new.height_px]]
        if sizes[0] != sizes[1]:
            was, has = (f"{width} x {height} px" for width, height in sizes)
            message = f"Image {number} is {has}, {was} in the baseline."
            return verdict("output.size", message, details={"image": number, "sizes_px": sizes})
        if new.mode != old.mode:
            message = f"Image {number} has mode {new.mode}, {old.mode} in the baseline."
            return verdict("output.mode", message, details={"image": number, "modes": [old.mode, new.mode]})
    if not now.images and now.latents_shape != base.latents_shape:
        shapes = [list(shape) if shape else None for shape in (base.latents_shape, now.latents_shape)]
        message = f"The latents have shape {now.latents_shape}, {base.latents_shape} in the baseline."
        return verdict("output.size", message, details={"shapes": shapes})
    return None


def _compare(question: Question, now: Output, base: Output) -> Verdict:
    reference = question.baseline
    stored = reference.artifacts()
    mine = question.artifacts
    # the stored digests say that something differs, so that missing arrays leave the question open
    if len(mine.images) != len(now.images) or len(stored.images) != len(base.images):
        side = "here" if len(mine.images) != len(now.images) else f"in {reference.path}"
        return verdict("output.not_seen", f"The images differ, but their pixels weren't kept {side}.")
    limits = question.limits
    dtype = question.observation.case.definition.dtype
    parting = part(mine.trace, stored.trace, parting_threshold_rel(dtype, now.rerun, base.rerun, limits))
    if not now.images and parting.latents_rel is None:
        return verdict("output.not_seen", "The result is latents, and no trace of them was kept on both sides.")
    for number, (new, old) in enumerate(zip(mine.images, stored.images, strict=True)):
        if new.shape != old.shape:
            text = f"Image {number}: pixels of shape {new.shape} here, {old.shape} in {reference.path}."
            return verdict("output.size", text, details={"image": number})
    return _decide(question, now, base, _distances(question, stored), parting)


def _decide(
    question: Question, now: Output, base: Output, distances: list[ImageDistance], parting: Parting
) -> Verdict:
    """Hold the metrics against the tolerance of this machine, and what is beyond it against its excuses."""
    limits, distance = question.limits, question.baseline.distance
    allowed = tolerance(distance, now.rerun, base.rerun, limits, [one.name for one in question.metrics])
    found = _members(distances, parting, allowed)
    worst = max(found, key=lambda member: member.excess)
    changes = [parting.text, *(m.text for m in found if m.excess > 1 and m is not worst)]
    if now.latents_dtype != base.latents_dtype:
        changes.append(f"dtype of the latents: {base.latents_dtype} -> {now.latents_dtype}")
    if _newly_random(now, base, allowed):
        reason = "output.nondeterministic"
        message = (
            f"Rounds with one seed no longer agree (PSNR {decibels(now.rerun.psnr_db)}), in the baseline they did."
            f" Against the baseline: {worst.text}."
        )
    elif worst.excess > 1 and allowed.hopeless:
        reason = "output.rerun_noise"
        message = (
            f"The picture differs ({worst.text}), but identical calls of this case drift as much"
            f" (PSNR {decibels(allowed.rerun_db)}): it can't be judged."
        )
    elif distance == "machine":
        reason, message = _on_this_machine(limits, distances, parting, worst, allowed)
    else:
        gone = max(_members(distances, parting, allowed.broken(limits)), key=lambda member: member.excess)
        reason, message = _across_machines(question, distances, parting, worst, gone, allowed)
    changes += told(limits, question.baseline.baseline.tolerances)
    return verdict(reason, message, details=_details(distances, parting, allowed, distance), changes=changes)


def _on_this_machine(
    limits: Limits, distances: list[ImageDistance], parting: Parting, worst: Member, allowed: Tolerance
) -> tuple[str, str]:
    """Reason and message of a comparison on one class of machine."""
    if worst.excess > 1:
        return "output.differs", f"Another picture: {worst.text}. It {parting.text}.{_patch(distances, worst)}"
    told = f"within tolerance; nearest to its limit: {worst.text}. Allowed: {allowed.text()}."
    # what identical calls drift by, no trace can be held against
    astray = None if allowed.hopeless else strayed(parting, limits)
    if astray is None:
        return "output.within_tolerance", f"Not the same bits, but {told}"
    message = f"The picture came about in another way: {astray.text}. It {parting.text}. The picture itself is {told}"
    return "output.trace", message


def _across_machines(
    question: Question,
    distances: list[ImageDistance],
    parting: Parting,
    worst: Member,
    gone: Member,
    allowed: Tolerance,
) -> tuple[str, str]:
    """Reason and message where the baseline is another machine's: latents first, which are steadier than pixels."""
    there = question.baseline.baseline.runs[-1].environment.machine
    here = question.observation.run.environment.machine
    rel = parting.latents_rel
    latents = (
        "" if rel is None else f"The final latents are {share(rel)} apart (at most {share(allowed.latents_rel)})"
    )
    machines = f" Across machines ({there} -> {here}), allowed: {allowed.text()}."
    if gone.excess > 1:
        message = f"Another picture, beyond what another machine explains: {gone.text}. It {parting.text}."
        return "output.differs", f"{message}{_patch(distances, gone)}{machines}"
    if rel is not None and rel > allowed.latents_rel:
        message = f"{latents}, which may be this machine. It {parting.text}. Furthest off: {worst.text}."
        return "output.other_machine", f"{message}{machines}"
    if worst.excess <= 1:
        seen = f"{latents}. " if distances and latents else ""
        message = f"{seen}Not the same bits, but within tolerance; nearest to its limit: {worst.text}."
        return "output.within_tolerance", f"{message}{machines}"
    if rel is not None and rel <= question.limits.latents_machine_rel:
        message = f"{latents}, so the decoder or what comes after it drew another picture: {worst.text}."
        return "output.decoder", f"{message}{_patch(distances, worst)}{machines}"
    before = f"{latents}. " if latents else ""
    message = f"{before}The picture differs ({worst.text}), which may be this machine.{_patch(distances, worst)}"
    return "output.other_machine", f"{message}{machines}"


def _newly_random(now: Output, base: Output, allowed: Tolerance) -> bool:
    """Whether calls that used to agree no longer do, by more than the tolerance: new code must not excuse itself."""
    return (
        allowed.distance == "machine"
        and base.rerun.rounds > 1
        and base.rerun.identical
        and not now.rerun.identical
        and now.rerun.psnr_db is not None
        and now.rerun.psnr_db < allowed.psnr_db
    )


def _distances(question: Question, stored: Artifacts) -> list[ImageDistance]:
    from pytest_diffbench.judge.images import distance

    pairs = zip(question.artifacts.images, stored.images, strict=True)
    return [distance(new, old, question.limits.tile_size_px, question.metrics) for new, old in pairs]


def _members(distances: list[ImageDistance], parting: Parting, allowed: Tolerance) -> list[Member]:
    if distances or parting.latents_rel is None:
        return members(distances, allowed)
    text = f"final latents {100 * parting.latents_rel:.3g} % apart (at most {100 * allowed.latents_rel:.3g} %)"
    return [Member(over(parting.latents_rel, allowed.latents_rel), text)]


def _patch(distances: list[ImageDistance], named: Member) -> str:
    """Where the images differ most, in words; empty for latents, and where the member that is named says it."""
    if not distances or named.placed:
        return ""
    image, tile = min(enumerate(one.worst_tile for one in distances), key=lambda pair: pair[1].ssim)
    return f" Most of it is in image {image}, {tile_text(tile)}."


def _details(distances: list[ImageDistance], parting: Parting, allowed: Tolerance, distance: str) -> dict[str, Any]:
    finite = parting.latents_rel is not None and math.isfinite(parting.latents_rel)
    return {
        "distance": distance,
        "images": [figures(one) for one in distances],
        "latents_rel": parting.latents_rel if finite else None,
        "trace": parting.details(),
        "allowed": allowed.figures(),
    }
