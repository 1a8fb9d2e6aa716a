"""The output gate: is it the same result? Hard gates first, then a small vector of metrics, judged by its worst."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.output.loosening import pending_changes
from pytest_diffbench.judge.output.parts import (
    ComparedPart,
    compared_parts,
    not_kept,
    part_checks,
    part_findings,
    read_as_images,
    unlike,
    unsound,
)
from pytest_diffbench.judge.output.tolerance import Tolerance, checks, figures, latents_check, tolerance, worst_of
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.trace.divergence import (
    divergence_threshold_rel,
    find_divergence,
    first_not_finite,
    trace_excess,
)
from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.records.details import OutputDetails, Returned, ReturnedPart, ReturnedTensor, Unjudged

if TYPE_CHECKING:
    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.output.tolerance import ImageDistance, LimitCheck
    from pytest_diffbench.judge.trace.divergence import Divergence
    from pytest_diffbench.records import Output, PartNoise, RerunNoise, Verdict
    from pytest_diffbench.records.artifacts import Artifacts


def judge_output(gate_input: GateInput) -> Verdict:
    """Judge the result of the call on its own, then against the baseline's."""
    now = gate_input.observation.output
    assert now is not None  # the table asks this gate only when the part was seen
    broken = _hard_gates(gate_input, now)
    if broken is not None:
        return broken
    reference = gate_input.reference
    base = reference.baseline.output if reference is not None else None
    if not _digests(now) and (base is None or not _digests(base)):
        if now.unrecognised is not None:
            return verdict("output.unrecognised", details=OutputDetails(returned=_returned(now)))
        if now.latents_shape is None:
            return verdict("output.not_seen", details=Unjudged(notes=(now.no_images,) if now.no_images else ()))
    rerun = None if now.rerun.identical else now.rerun
    if reference is None or base is None:
        unjudged = Unjudged(
            saving=gate_input.saving,
            baseline_path=reference.path if reference is not None else None,
            returned=_returned(now),
            rerun=rerun,
        )
        return verdict("output.no_baseline", details=unjudged)
    if changed := definition_changes(reference.baseline.case.definition, gate_input.observation.case.definition):
        return verdict("output.definition_changed", details=Unjudged(definition=changed, returned=_returned(now)))
    if now.parts and not base.parts:
        return _without_parts(gate_input, now, base)
    return _against(gate_input, now, base, rerun)


def _without_parts(gate_input: GateInput, now: Output, base: Output) -> Verdict:
    """Against a baseline that holds none of the parts: what it holds is judged, and the rest is never the same."""
    missing = OutputDetails(
        returned=_returned(now), baseline_returned=_returned(base), baseline_path=gate_input.baseline.path
    )
    rest = msgspec.structs.replace(now, parts=())
    if base.images and not now.images:
        as_images = read_as_images(now, gate_input.artifacts, base)
        return verdict("output.not_in_baseline" if as_images else "output.lost", details=missing)
    if not _digests(rest) or not _digests(base) or bool(now.images) != bool(base.images):
        return verdict("output.not_in_baseline", details=missing)
    judged = _against(gate_input, rest, base, None if now.rerun.identical else now.rerun)
    # tensors were compared by their sketches before there were parts, and still are
    return (
        judged if judged.decision != "same" or not now.images else verdict("output.not_in_baseline", details=missing)
    )


def _against(gate_input: GateInput, now: Output, base: Output, rerun: RerunNoise | None) -> Verdict:
    """Judge a result that the baseline holds, too."""
    reference = gate_input.baseline
    different = _unlike(now, base)
    if different is not None:
        return different
    allowed = tolerance(
        reference.distance, now.rerun, base.rerun, gate_input.limits, [metric.name for metric in gate_input.metrics]
    )
    if _digests(now) == _digests(base) and _digests(now):
        history = reference.baseline.tolerances
        details = OutputDetails(
            distance=reference.distance,
            returned=_returned(now),
            rerun=rerun,
            tolerances=history,
            tolerances_pending=pending_changes(gate_input.limits, history),
        )
        newly_random = base.rerun.identical and disagree(now, allowed)
        return verdict("output.nondeterministic" if newly_random else "output.same_bits", details=details)
    return _compare(gate_input, now, base, allowed)


def disagree(now: Output, allowed: Tolerance) -> bool:
    """Whether calls with the same arguments returned further from each other than the baseline may be away."""
    noise = now.rerun
    if noise.identical or allowed.hopeless:
        return False
    if now.parts and any(_is_beyond(drift, allowed) for drift in noise.parts):
        return True
    if now.parts and noise.psnr_db is None:
        # other numbers, sizes or lengths have no figures
        return len(noise.alike) > 1 and not noise.parts
    if noise.psnr_db is None and not now.images:
        return (noise.latents_rel or 0.0) > allowed.latents_rel
    if noise.psnr_db is None:  # other numbers or sizes of images, which have no PSNR; or the latents alone differ
        return len(noise.alike) > 1
    return noise.psnr_db < allowed.images["psnr_db"]


def _is_beyond(drift: PartNoise, allowed: Tolerance) -> bool:
    if drift.metric not in allowed.parts:
        return True  # of a kind that isn't registered any more
    value = math.nan if drift.value is None else drift.value
    return PART_METRICS[drift.metric].excess(value, allowed.part_limit(drift.part, drift.metric)) > 1


def _digests(output: Output) -> list[str]:
    """Of images and parts; of tensors where the record is from before there were parts."""
    others = output.parts or output.tensors
    return [*(image.digest for image in output.images), *(other.digest for other in others)]


def _returned(output: Output) -> Returned:
    return Returned(
        images=len(output.images),
        tensors=tuple(
            ReturnedTensor(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype) for tensor in output.tensors
        ),
        parts=tuple(
            ReturnedPart(
                kind=part.kind,
                name=part.name,
                shape=part.shape,
                dtype=part.dtype,
                rate_hz=part.rate_hz,
                kept=len(part.kept_pieces),
            )
            for part in output.parts
        ),
        no_images=output.no_images,
        unrecognised=output.unrecognised,
    )


def _hard_gates(gate_input: GateInput, now: Output) -> Verdict | None:
    if not now.finite:
        # a trace knows the place better than the checks at the boundaries
        place = first_not_finite(gate_input.artifacts.trace)
        details = OutputDetails(where=now.not_finite_where, place=place.name if place is not None else None)
        return verdict("output.not_finite", details=details)
    asked_latents = gate_input.observation.case.definition.arguments.get("output_type") == "latent"
    if not _digests(now) and now.latents_shape is not None and not asked_latents and now.unrecognised is None:
        return verdict("output.no_images", details=OutputDetails(returned=_returned(now)))
    constant = tuple(number for number, image in enumerate(now.images) if image.constant)
    if constant:
        return verdict("output.constant", details=OutputDetails(constant_images=constant))
    if now.parts:
        broken = unsound(now, OutputDetails(returned=_returned(now)))
        if broken is not None:
            return broken
    elif now.tensors and all(tensor.constant for tensor in now.tensors):  # one of several may be a mask
        names = tuple(tensor.name for tensor in now.tensors)
        return verdict("output.constant", details=OutputDetails(constant_tensors=names))
    if now.rerun.drew_from and not now.rerun.identical:
        return verdict("output.global_generator", details=OutputDetails(rerun=now.rerun))
    return None


def _unlike(now: Output, base: Output) -> Verdict | None:
    """Differences for which no metric is needed."""
    returned = OutputDetails(returned=_returned(now), baseline_returned=_returned(base))
    if (base.images and not now.images) or (_digests(base) and not _digests(now)):
        return verdict("output.lost", details=returned)
    if len(now.images) != len(base.images):
        return verdict("output.count", details=returned)
    for number, (new, old) in enumerate(zip(now.images, base.images, strict=True)):
        before, after = (old.width_px, old.height_px), (new.width_px, new.height_px)
        if before != after:
            return verdict("output.size", details=OutputDetails(image=number, sizes_px=(before, after)))
        if new.mode != old.mode:
            return verdict("output.mode", details=OutputDetails(image=number, modes=(old.mode, new.mode)))
    if base.parts:
        return unlike(now, base, returned)
    if base.tensors or (now.tensors and base.images):  # without either it was accepted before tensors were recorded
        if len(now.tensors) != len(base.tensors):
            return verdict("output.count", details=returned)
        for number, (tensor, stored) in enumerate(zip(now.tensors, base.tensors, strict=True)):
            if (tensor.name, tensor.shape, tensor.dtype) != (stored.name, stored.shape, stored.dtype):
                return verdict("output.size", details=msgspec.structs.replace(returned, tensor=number))
    if not now.images and now.latents_shape != base.latents_shape:
        return verdict("output.size", details=OutputDetails(shapes=(base.latents_shape, now.latents_shape)))
    return None


def _compare(gate_input: GateInput, now: Output, base: Output, allowed: Tolerance) -> Verdict:
    reference = gate_input.baseline
    stored = reference.artifacts()
    current = gate_input.artifacts
    # the stored digests say that something differs, so that missing arrays leave the question open
    if len(current.images) != len(now.images):
        return verdict("output.not_kept", details=OutputDetails(not_kept="images_here"))
    if len(stored.images) != len(base.images):
        details = OutputDetails(not_kept="images_in_baseline", baseline_path=reference.path)
        return verdict("output.not_kept", details=details)
    missing = not_kept(now, base, current, stored)
    if missing is not None:
        side: Literal["parts_here", "parts_in_baseline"] = "parts_in_baseline" if missing else "parts_here"
        details = OutputDetails(not_kept=side, baseline_path=reference.path)
        return verdict("output.not_kept", details=details)
    dtype = gate_input.observation.case.definition.dtype
    threshold_rel = divergence_threshold_rel(dtype, now.rerun, base.rerun, gate_input.limits)
    divergence = find_divergence(current.trace, stored.trace, threshold_rel)
    returned = len(_returned_rels(divergence))
    if not base.parts and (
        (base.tensors and returned < len(base.tensors))
        or (not now.images and not base.tensors and divergence.latents_rel is None)
    ):
        return verdict("output.not_kept", details=OutputDetails(not_kept="trace"))
    for number, (new, old) in enumerate(zip(current.images, stored.images, strict=True)):
        if new.shape != old.shape:
            details = OutputDetails(image=number, shapes=(old.shape, new.shape), baseline_path=reference.path)
            return verdict("output.size", details=details)
    compared = _Compared(
        images=_distances(gate_input, stored),
        parts=compared_parts(now, base, current, stored),
        divergence=divergence,
    )
    return _decide(gate_input, now, base, compared, allowed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """How far a result is from the baseline's: its images, its other parts, and the places of the call."""

    images: list[ImageDistance]
    parts: list[ComparedPart]
    divergence: Divergence


def _decide(gate_input: GateInput, now: Output, base: Output, compared: _Compared, allowed: Tolerance) -> Verdict:
    """Hold the metrics against the tolerance of this machine, and what is beyond it against its excuses."""
    limits, distance = gate_input.limits, gate_input.baseline.distance
    divergence = compared.divergence
    judged = _checks(compared, allowed)
    worst = worst_of(judged)
    further = tuple(check.figure for check in judged if check.excess > 1 and check is not worst)
    details = _details(gate_input, compared, judged, allowed)
    named = worst
    # where the baseline's call wasn't repeated, this run's noise is all there is
    if distance == "machine" and base.rerun.identical and base.rerun.rounds > 1 and disagree(now, allowed):
        reason = "output.nondeterministic"
        details = msgspec.structs.replace(details, rerun=now.rerun)
    elif worst.excess > 1 and allowed.hopeless:
        reason = "output.rerun_noise"
    elif distance == "machine":
        # what identical calls drift by, no trace can be held against
        astray = None if allowed.hopeless or worst.excess > 1 else trace_excess(divergence, limits)
        reason = "differs" if worst.excess > 1 else "trace" if astray is not None else "within_tolerance"
        reason = f"output.{reason}"
        details = msgspec.structs.replace(details, trace_excess=astray)
    else:
        gone = worst_of(_checks(compared, allowed.broken(limits)))
        named = gone if gone.excess > 1 else worst
        reason = _across_machines(gate_input, divergence, worst, gone, allowed)
    changed: dict[str, Any] = {"worst": named.figure, "further": further}
    if now.latents_dtype != base.latents_dtype:
        changed["latents_dtypes"] = (base.latents_dtype, now.latents_dtype)
    if weights := _other_weights(now, base):
        changed["weights"] = weights
        # Drawn weights differ by rounding on another kind of processor, though their seed is the same.
        if distance == "machine" and reason not in ("output.within_tolerance", "output.trace"):
            changed["reason_besides_weights"], reason = reason, "output.weights"
    return verdict(reason, details=msgspec.structs.replace(details, **changed))


def _across_machines(
    gate_input: GateInput, divergence: Divergence, worst: LimitCheck, gone: LimitCheck, allowed: Tolerance
) -> str:
    """The reason where the baseline is another machine's: latents first, which are steadier than pixels."""
    latents_rel = divergence.latents_rel
    if gone.excess > 1:
        return "output.differs"
    if latents_rel is not None and latents_rel > allowed.latents_rel:
        return "output.other_machine"
    if worst.excess <= 1:
        return "output.within_tolerance"
    agree = latents_rel is not None and latents_rel <= gate_input.limits.latents_machine_rel
    return "output.decoder" if agree else "output.other_machine"


def _distances(gate_input: GateInput, stored: Artifacts) -> list[ImageDistance]:
    from pytest_diffbench.outputs.metrics import distance

    pairs = zip(gate_input.artifacts.images, stored.images, strict=True)
    return [distance(new, old, gate_input.limits.tile_size_px, gate_input.metrics) for new, old in pairs]


def _checks(compared: _Compared, allowed: Tolerance) -> list[LimitCheck]:
    distances, divergence = compared.images, compared.divergence
    if compared.parts:
        return [*checks(distances, allowed), *part_checks(compared.parts, allowed)]
    returned_rels = _returned_rels(divergence)
    if not distances and returned_rels:
        number, gap_rel = max(enumerate(returned_rels), key=lambda pair: pair[1])
        return [latents_check(gap_rel, allowed, number)]
    if distances or divergence.latents_rel is None:
        return checks(distances, allowed)
    return [latents_check(divergence.latents_rel, allowed)]


def _returned_rels(divergence: Divergence) -> list[float]:
    """Distances of the tensors that the call returned."""
    return [gap_rel for name, gap_rel in divergence.series if name.startswith("returned/")]


def _other_weights(now: Output, base: Output) -> tuple[str, ...]:
    """Components that both sides have, with other weights."""
    return tuple(name for name in now.weights if now.weights[name] != base.weights.get(name, now.weights[name]))


def _details(
    gate_input: GateInput, compared: _Compared, judged: list[LimitCheck], allowed: Tolerance
) -> OutputDetails:
    reference, latents_rel = gate_input.baseline, compared.divergence.latents_rel
    limits = allowed.figures() if compared.images or not compared.parts else {"latents_rel": allowed.latents_rel}
    # of several parts the limit that allows most, as one of them may be loosened by its noise
    for check in judged:
        name, limit = check.figure.metric, check.figure.limit
        if check.figure.part is not None:
            limits[name] = PART_METRICS[name].looser(limits.get(name, limit), limit)
    now = gate_input.observation.output
    machines = (reference.baseline.runs[-1].environment.machine, gate_input.observation.run.environment.machine)
    history = reference.baseline.tolerances
    return OutputDetails(
        distance=reference.distance,
        machines=machines if reference.distance != "machine" else None,
        returned=_returned(now) if compared.parts and now is not None else None,
        images=tuple(figures(distance) for distance in compared.images),
        parts=tuple(check.figure for check in judged if check.figure.part is not None),
        findings=part_findings(compared.parts, judged),
        latents_rel=latents_rel if latents_rel is not None and math.isfinite(latents_rel) else None,
        trace=compared.divergence.details(),
        allowed=limits,
        rerun_db=allowed.rerun_db,
        tolerances=history,
        tolerances_pending=pending_changes(gate_input.limits, history),
    )
