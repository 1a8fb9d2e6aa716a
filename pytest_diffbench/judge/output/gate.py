"""The output gate: is it the same picture? Hard gates first, then a small vector of metrics, judged by its worst."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.output.calls import cause, disagree, disagreement
from pytest_diffbench.judge.output.image_members import Member, decibels, figures, members, over, tile_text
from pytest_diffbench.judge.output.loosening import told
from pytest_diffbench.judge.output.tolerance import Tolerance, tolerance
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.text import plural
from pytest_diffbench.judge.trace.divergence import part, parting_threshold_rel
from pytest_diffbench.judge.trace.limits import first_not_finite, strayed
from pytest_diffbench.judge.trace.words import share
from pytest_diffbench.records.details import Unjudged

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.judge.trace.divergence import Parting
    from pytest_diffbench.outputs.images import ImageDistance
    from pytest_diffbench.records import Output, Verdict
    from pytest_diffbench.records.artifacts import Artifacts


def judge_output(question: Question) -> Verdict:
    """Judge the result of the call on its own, then against the baseline's."""
    now = question.observation.output
    assert now is not None  # the table asks this gate only when the part was seen
    broken = _hard_gates(question, now)
    if broken is not None:
        return broken
    reference = question.reference
    base = reference.baseline.output if reference is not None else None
    if not _digests(now) and now.latents_shape is None and (base is None or not _digests(base)):
        return verdict("output.not_seen", f"The call returned nothing to compare: {now.no_images}.")
    if reference is None or base is None:
        path = reference.path if reference is not None else None
        said = [] if now.rerun.identical else [f"{disagreement(now.rerun)}.{cause(now.rerun)}"]
        details = Unjudged(saving=question.saving, baseline_path=path, output=_healthy(now))
        return verdict("output.no_baseline", details=details, changes=said)
    if changed := definition_changes(reference.baseline.case.definition, question.observation.case.definition):
        return verdict("output.definition_changed", details=Unjudged(definition=changed, output=_healthy(now)))
    unlike = _unlike(now, base)
    if unlike is not None:
        return unlike
    allowed = tolerance(
        reference.distance, now.rerun, base.rerun, question.limits, [metric.name for metric in question.metrics]
    )
    if _digests(now) == _digests(base) and _digests(now):
        if base.rerun.identical and disagree(now, allowed):
            message = (
                f"The first timed call agrees with the baseline, yet {disagreement(now.rerun)}.{cause(now.rerun)}"
            )
            return verdict("output.nondeterministic", message, details={"distance": reference.distance})
        seen = "any change would have been seen" if now.rerun.identical else "identical calls of this case drift"
        return verdict(
            "output.same_bits",
            f"{_counted(now)}, equal to the last bit; {seen}.",
            details={"distance": reference.distance},
            changes=told(question.limits, reference.baseline.tolerances),
        )
    return _compare(question, now, base, allowed)


def _digests(output: Output) -> list[str]:
    return [*(image.digest for image in output.images), *(tensor.digest for tensor in output.tensors)]


def _hard_gates(question: Question, now: Output) -> Verdict | None:
    if not now.finite:
        return _not_finite(question, now)
    asked_latents = question.observation.case.definition.arguments.get("output_type") == "latent"
    if not now.images and not now.tensors and now.latents_shape is not None and not asked_latents:
        why = f" ({now.no_images})" if now.no_images else ""
        return verdict("output.no_images", f"The call returned no images{why}.")
    constant = [number for number, image in enumerate(now.images) if image.constant]
    if constant:
        which = ", ".join(map(str, constant))
        message = f"All pixels of image {which} are equal, as in a black image."
        return verdict("output.constant", message, details={"images": constant})
    if now.tensors and all(tensor.constant for tensor in now.tensors):  # one of several may be a mask
        names = [tensor.name for tensor in now.tensors]
        message = f"All values of {', '.join(names)} are equal, in what was returned."
        return verdict("output.constant", message, details={"tensors": names})
    if now.rerun.drew_from and not now.rerun.identical:
        message = (
            f"The generator that the call is handed doesn't decide what it returns: {disagreement(now.rerun)}."
            f"{cause(now.rerun)} Hand the call's generator on to what draws, or pass generator=None to have the "
            "global ones seeded before each call."
        )
        return verdict("output.global_generator", message, details={"drew_from": list(now.rerun.drew_from)})
    return None


def _not_finite(question: Question, now: Output) -> Verdict:
    """Name the first place; a trace knows it better than the checks at the boundaries."""
    place = first_not_finite(question.artifacts.trace)
    where = place.words if place is not None else now.not_finite_where or "place unknown"
    details = {"where": now.not_finite_where, "place": place.name if place is not None else None}
    return verdict("output.not_finite", f"The result holds NaN or infinity, first at: {where}.", details=details)


def _counted(output: Output) -> str:
    """What was returned, in a few words."""
    if output.images or not output.tensors:
        return plural(len(output.images), "image")
    tensors = ", ".join(
        f"{tensor.name} {' x '.join(map(str, tensor.shape)) or 'number'}" for tensor in output.tensors[:2]
    )
    return f"{plural(len(output.tensors), 'tensor')} ({tensors}{', ...' if len(output.tensors) > 2 else ''})"


def _healthy(now: Output) -> str:
    if not now.images and not now.tensors:
        return "The latents are finite."
    why = f"; no images: {now.no_images}" if now.no_images and not now.images else ""
    return f"{_counted(now)}: finite, not constant{why}."


def _unlike(now: Output, base: Output) -> Verdict | None:
    """Differences for which no metric is needed."""
    if (base.images and not now.images) or (base.tensors and not now.images and not now.tensors):
        message = f"The call returned {_counted(base)} in the baseline, and none now: {now.no_images}."
        return verdict("output.lost", message, details={"images": [len(base.images), len(now.images)]})
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
    if (now.tensors or base.tensors) and (unlike := _unlike_tensors(now, base)) is not None:
        return unlike
    if not now.images and now.latents_shape != base.latents_shape:
        shapes = [list(shape) if shape else None for shape in (base.latents_shape, now.latents_shape)]
        message = f"The latents have shape {now.latents_shape}, {base.latents_shape} in the baseline."
        return verdict("output.size", message, details={"shapes": shapes})
    return None


def _unlike_tensors(now: Output, base: Output) -> Verdict | None:
    if not base.tensors and not base.images:
        return None  # accepted before tensors were recorded
    if len(now.tensors) != len(base.tensors):
        message = f"{_counted(now)} returned, {_counted(base)} in the baseline."
        return verdict("output.count", message, details={"tensors": [len(base.tensors), len(now.tensors)]})
    for new, old in zip(now.tensors, base.tensors, strict=True):
        if (new.name, new.shape, new.dtype) != (old.name, old.shape, old.dtype):
            was, has = (f"{one.name} of shape {list(one.shape)} and dtype {one.dtype}" for one in (old, new))
            return verdict("output.size", f"The call returned {has}, {was} in the baseline.")
    return None


def _compare(question: Question, now: Output, base: Output, allowed: Tolerance) -> Verdict:
    reference = question.baseline
    stored = reference.artifacts()
    mine = question.artifacts
    # the stored digests say that something differs, so that missing arrays leave the question open
    if len(mine.images) != len(now.images) or len(stored.images) != len(base.images):
        side = "here" if len(mine.images) != len(now.images) else f"in {reference.path}"
        return verdict("output.not_kept", f"The images differ, but their pixels weren't kept {side}.")
    limits = question.limits
    dtype = question.observation.case.definition.dtype
    parting = part(mine.trace, stored.trace, parting_threshold_rel(dtype, now.rerun, base.rerun, limits))
    returned = sum(name.startswith("returned/") for name, _ in parting.series)
    if (base.tensors and returned < len(base.tensors)) or (
        not now.images and not base.tensors and parting.latents_rel is None
    ):
        return verdict("output.not_kept", "No trace of what was returned was kept on both sides.")
    for number, (new, old) in enumerate(zip(mine.images, stored.images, strict=True)):
        if new.shape != old.shape:
            text = f"Image {number}: pixels of shape {new.shape} here, {old.shape} in {reference.path}."
            return verdict("output.size", text, details={"image": number})
    return _decide(question, now, base, _distances(question, stored), parting, allowed)


def _decide(
    question: Question,
    now: Output,
    base: Output,
    distances: list[ImageDistance],
    parting: Parting,
    allowed: Tolerance,
) -> Verdict:
    """Hold the metrics against the tolerance of this machine, and what is beyond it against its excuses."""
    limits, distance = question.limits, question.baseline.distance
    found = _members(distances, parting, allowed)
    worst = max(found, key=lambda member: member.excess)
    changes = [parting.text, *(m.text for m in found if m.excess > 1 and m is not worst)]
    if now.latents_dtype != base.latents_dtype:
        changes.append(f"dtype of the latents: {base.latents_dtype} -> {now.latents_dtype}")
    # where the baseline's call wasn't repeated, this run's noise is all there is
    if distance == "machine" and base.rerun.identical and base.rerun.rounds > 1 and disagree(now, allowed):
        reason = "output.nondeterministic"
        message = (
            f"Now {disagreement(now.rerun)}; in the baseline they agreed.{cause(now.rerun)}"
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
    if other := _other_weights(now, base):
        # Drawn weights differ by rounding on another kind of processor, though their seed is the same.
        if distance != "machine" or reason in ("output.within_tolerance", "output.trace"):
            changes.append(f"the weights differ from the baseline's: {other}")
        else:
            reason, message = "output.weights", f"The weights differ from the baseline's: {other}. {message}"
    return verdict(reason, message, details=_details(distances, parting, allowed, distance), changes=changes)


def _on_this_machine(
    limits: Limits, distances: list[ImageDistance], parting: Parting, worst: Member, allowed: Tolerance
) -> tuple[str, str]:
    """Reason and message of a comparison on one class of machine."""
    if worst.excess > 1:
        return "output.differs", f"{_another(distances)}: {worst.text}. It {parting.text}.{_patch(distances, worst)}"
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
        message = f"{_another(distances)}, beyond what another machine explains: {gone.text}. It {parting.text}."
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


def _distances(question: Question, stored: Artifacts) -> list[ImageDistance]:
    from pytest_diffbench.outputs.images import distance

    pairs = zip(question.artifacts.images, stored.images, strict=True)
    return [distance(new, old, question.limits.tile_size_px, question.metrics) for new, old in pairs]


def _members(distances: list[ImageDistance], parting: Parting, allowed: Tolerance) -> list[Member]:
    returned = [(name, gap_rel) for name, gap_rel in parting.series if name.startswith("returned/")]
    if not distances and returned:
        number, gap_rel = max(enumerate(gap_rel for _, gap_rel in returned), key=lambda pair: pair[1])
        text = (
            f"tensor {number} of what was returned is {share(gap_rel)} apart (at most {share(allowed.latents_rel)})"
        )
        return [Member(over(gap_rel, allowed.latents_rel), text)]
    if distances or parting.latents_rel is None:
        return members(distances, allowed)
    text = f"final latents {100 * parting.latents_rel:.3g} % apart (at most {100 * allowed.latents_rel:.3g} %)"
    return [Member(over(parting.latents_rel, allowed.latents_rel), text)]


def _other_weights(now: Output, base: Output) -> str:
    """Components that both sides have, with other weights."""
    return ", ".join(name for name in now.weights if now.weights[name] != base.weights.get(name, now.weights[name]))


def _another(distances: list[ImageDistance]) -> str:
    return "Another picture" if distances else "Another result"


def _patch(distances: list[ImageDistance], named: Member) -> str:
    """Where the images differ most, in words; empty for latents, and where the member that is named says it."""
    if not distances or named.placed:
        return ""
    image, tile = min(enumerate(distance.worst_tile for distance in distances), key=lambda pair: pair[1].ssim)
    return f" Most of it is in image {image}, {tile_text(tile)}."


def _details(distances: list[ImageDistance], parting: Parting, allowed: Tolerance, distance: str) -> dict[str, Any]:
    finite = parting.latents_rel is not None and math.isfinite(parting.latents_rel)
    return {
        "distance": distance,
        "images": [figures(distance) for distance in distances],
        "latents_rel": parting.latents_rel if finite else None,
        "trace": parting.details(),
        "allowed": allowed.figures(),
    }
