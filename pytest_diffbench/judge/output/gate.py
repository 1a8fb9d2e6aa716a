"""The output gate: is it the same picture? Hard gates first, then a small vector of metrics, judged by its worst."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.judge.definition import definition_changes
from pytest_diffbench.judge.output.comparison import checks, figures, latents_check, worst_of
from pytest_diffbench.judge.output.loosening import pending_changes
from pytest_diffbench.judge.output.tolerance import Tolerance, tolerance
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.trace.divergence import divergence_threshold_rel, find_divergence
from pytest_diffbench.judge.trace.limits import first_not_finite, trace_excess
from pytest_diffbench.records.details import OutputDetails, Returned, ReturnedTensor, Unjudged

if TYPE_CHECKING:
    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.output.comparison import ImageDistance, LimitCheck
    from pytest_diffbench.judge.trace.divergence import Divergence
    from pytest_diffbench.records import Output, Verdict
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
    if not _digests(now) and now.latents_shape is None and (base is None or not _digests(base)):
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
    unlike = _unlike(now, base)
    if unlike is not None:
        return unlike
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
    if noise.psnr_db is None and not now.images:
        return (noise.latents_rel or 0.0) > allowed.latents_rel
    if noise.psnr_db is None:  # other numbers or sizes of images, which have no PSNR; or the latents alone differ
        return len(noise.alike) > 1
    return noise.psnr_db < allowed.images["psnr_db"]


def _digests(output: Output) -> list[str]:
    return [*(image.digest for image in output.images), *(tensor.digest for tensor in output.tensors)]


def _returned(output: Output) -> Returned:
    return Returned(
        images=len(output.images),
        tensors=tuple(
            ReturnedTensor(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype) for tensor in output.tensors
        ),
        no_images=output.no_images,
    )


def _hard_gates(gate_input: GateInput, now: Output) -> Verdict | None:
    if not now.finite:
        # a trace knows the place better than the checks at the boundaries
        place = first_not_finite(gate_input.artifacts.trace)
        details = OutputDetails(where=now.not_finite_where, place=place.name if place is not None else None)
        return verdict("output.not_finite", details=details)
    asked_latents = gate_input.observation.case.definition.arguments.get("output_type") == "latent"
    if not now.images and not now.tensors and now.latents_shape is not None and not asked_latents:
        return verdict("output.no_images", details=OutputDetails(returned=_returned(now)))
    constant = tuple(number for number, image in enumerate(now.images) if image.constant)
    if constant:
        return verdict("output.constant", details=OutputDetails(constant_images=constant))
    if now.tensors and all(tensor.constant for tensor in now.tensors):  # one of several may be a mask
        names = tuple(tensor.name for tensor in now.tensors)
        return verdict("output.constant", details=OutputDetails(constant_tensors=names))
    if now.rerun.drew_from and not now.rerun.identical:
        return verdict("output.global_generator", details=OutputDetails(rerun=now.rerun))
    return None


def _unlike(now: Output, base: Output) -> Verdict | None:
    """Differences for which no metric is needed."""
    returned = OutputDetails(returned=_returned(now), baseline_returned=_returned(base))
    if (base.images and not now.images) or (base.tensors and not now.images and not now.tensors):
        return verdict("output.lost", details=returned)
    if len(now.images) != len(base.images):
        return verdict("output.count", details=returned)
    for number, (new, old) in enumerate(zip(now.images, base.images, strict=True)):
        before, after = (old.width_px, old.height_px), (new.width_px, new.height_px)
        if before != after:
            return verdict("output.size", details=OutputDetails(image=number, sizes_px=(before, after)))
        if new.mode != old.mode:
            return verdict("output.mode", details=OutputDetails(image=number, modes=(old.mode, new.mode)))
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
    dtype = gate_input.observation.case.definition.dtype
    threshold_rel = divergence_threshold_rel(dtype, now.rerun, base.rerun, gate_input.limits)
    divergence = find_divergence(current.trace, stored.trace, threshold_rel)
    returned = len(_returned_rels(divergence))
    if (base.tensors and returned < len(base.tensors)) or (
        not now.images and not base.tensors and divergence.latents_rel is None
    ):
        return verdict("output.not_kept", details=OutputDetails(not_kept="trace"))
    for number, (new, old) in enumerate(zip(current.images, stored.images, strict=True)):
        if new.shape != old.shape:
            details = OutputDetails(image=number, shapes=(old.shape, new.shape), baseline_path=reference.path)
            return verdict("output.size", details=details)
    return _decide(gate_input, now, base, _distances(gate_input, stored), divergence, allowed)


def _decide(
    gate_input: GateInput,
    now: Output,
    base: Output,
    distances: list[ImageDistance],
    divergence: Divergence,
    allowed: Tolerance,
) -> Verdict:
    """Hold the metrics against the tolerance of this machine, and what is beyond it against its excuses."""
    limits, distance = gate_input.limits, gate_input.baseline.distance
    judged = _checks(distances, divergence, allowed)
    worst = worst_of(judged)
    further = tuple(check.figure for check in judged if check.excess > 1 and check is not worst)
    details = _details(gate_input, distances, divergence, allowed)
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
        gone = worst_of(_checks(distances, divergence, allowed.broken(limits)))
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


def _checks(distances: list[ImageDistance], divergence: Divergence, allowed: Tolerance) -> list[LimitCheck]:
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
    gate_input: GateInput, distances: list[ImageDistance], divergence: Divergence, allowed: Tolerance
) -> OutputDetails:
    reference, latents_rel = gate_input.baseline, divergence.latents_rel
    machines = (reference.baseline.runs[-1].environment.machine, gate_input.observation.run.environment.machine)
    history = reference.baseline.tolerances
    return OutputDetails(
        distance=reference.distance,
        machines=machines if reference.distance != "machine" else None,
        images=tuple(figures(distance) for distance in distances),
        latents_rel=latents_rel if latents_rel is not None and math.isfinite(latents_rel) else None,
        trace=divergence.details(),
        allowed=allowed.figures(),
        rerun_db=allowed.rerun_db,
        tolerances=history,
        tolerances_pending=pending_changes(gate_input.limits, history),
    )
