"""Puts variants beside their reference: speed-up, work saved, what counts predict of it, and how alike images are."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.judge.gains import is_inert, suspicions, tier_of, wrong_guidance
from pytest_diffbench.judge.likeness import Shown, image_difference, is_more_alike, same_picture
from pytest_diffbench.judge.output.tolerance import tolerance
from pytest_diffbench.judge.part_sketches import parts_beyond, unlike
from pytest_diffbench.judge.time.speedups import LogRatio, estimate, log_ratios
from pytest_diffbench.outputs.excerpts import decoded
from pytest_diffbench.records import (
    STAGES,
    Comparison,
    PromptFigures,
    Ratio,
    RatioRun,
    VariantReport,
)
from pytest_diffbench.records.artifacts import Artifacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Baseline, Fact, Observation, Stage, Suspicion, Work
    from pytest_diffbench.records.artifacts import Reference


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A variant that was measured, or as much of it as there is.

    Attributes:
        name: of the variant.
        observation: what was measured.
        artifacts: its images and trace.
        value: of the argument that a sweep changes.
        error: why it broke off, None where it completed.
        float64_rel: see `VariantReport`.
        by_prompt: its images by prompt, of those that were asked for.
        hidden: what it returned for a prompt that was drawn; None where nobody asked.
    """

    name: str
    observation: Observation
    artifacts: Artifacts
    value: Fact = None
    error: str | None = None
    float64_rel: float | None = None
    by_prompt: Mapping[str, Sequence[NDArray[np.uint8]]] = dataclasses.field(default_factory=dict)
    hidden: Shown | None = None

    @property
    def shown(self) -> Shown:
        """What it returned."""
        output = self.observation.output
        return Shown(self.artifacts) if output is None else Shown(self.artifacts, output.parts, output.rerun)


def compare(
    variants: Sequence[Measured],
    reference: str,
    *,
    comparison_id: str,
    confidence: float,
    look: int,
    argument: str | None = None,
    metrics: Sequence[ImageMetric] = (),
) -> Comparison:
    """Compare every variant with the reference. What broke off has a row with its error and no figures.

    Args:
        variants: in the test's order, with as many rounds each, block by block.
        reference: name of one of them.
        comparison_id: the test's, with a label.
        confidence: of each interval.
        look: how often it was measured on, see `speedups.estimate`.
        argument: that a sweep changes.
        metrics: of other packages, by which images are compared too.
    """
    base = next(variant for variant in variants if variant.name == reference)
    rows = tuple(_row(variant, base, confidence, look, metrics) for variant in variants)
    return Comparison(
        id=comparison_id,
        reference=reference,
        argument=argument,
        confidence=confidence,
        blocks=max((len(variant.observation.run.rounds) for variant in variants if variant.error is None), default=0),
        variants=_with_dominated(rows, reference, confidence, look),
    )


def estimate_of(variant: Observation, reference: Observation, confidence: float, look: int) -> LogRatio:
    """The speed-up of a variant's total over the reference's."""
    return estimate(log_ratios(reference.run.totals_s, variant.run.totals_s), confidence, look)


def ratio_of(variant: Observation, reference: Observation, confidence: float, look: int) -> Ratio:
    """What is kept of a speed-up with the variant's baseline."""
    total = estimate_of(variant, reference, confidence, look)
    denoise = _stage_estimate(variant, reference, "denoise", confidence, look)
    run = RatioRun(
        run=variant.run.id,
        log_ratio=total.centre_log,
        standard_error_log=total.standard_error_log,
        blocks=total.blocks,
        denoise_log_ratio=denoise.centre_log if denoise is not None else None,
    )
    return Ratio(reference=reference.case, runs=(run,))


def predicted_speedup(reference: Observation, saved_rel: float) -> float | None:
    """The speed-up that a share of denoiser work saved should bring: T / (T - D s).

    T is the median total of the reference and D its median denoise stage; s is the share. It takes the denoiser's
    time as proportional to its work, and everything else as unchanged.

    Returns:
        None where the reference's denoise stage wasn't seen, or nothing would be left of the total.
    """
    denoise_s = reference.run.stage_medians_s.get("denoise")
    if denoise_s is None:
        return None
    left_s = reference.run.median_s - denoise_s * saved_rel
    return reference.run.median_s / left_s if left_s > 0 else None


def _row(
    measured: Measured, base: Measured, confidence: float, look: int, metrics: Sequence[ImageMetric] = ()
) -> VariantReport:
    observation, reference = measured.observation, base.observation
    report = VariantReport(
        name=measured.name,
        case_id=observation.case.id,
        value=measured.value,
        median_s=observation.run.median_s if observation.run.rounds else None,
        denoiser_calls=observation.work.denoiser_calls
        if observation.work is not None and observation.work.denoiser
        else None,
        flops=observation.work.total_flops or None if observation.work is not None else None,
        peak_bytes=observation.memory.peak_bytes if observation.memory is not None else None,
        error=measured.error,
    )
    if measured.error is not None or base.error is not None:
        return report
    if not (observation.run.rounds and reference.run.rounds):  # the others broke off before there was one
        return report
    total = estimate_of(observation, reference, confidence, look)
    stages = {
        stage: estimated.speedup()
        for stage in STAGES
        if stage != "unattributed"
        and (estimated := _stage_estimate(observation, reference, stage, confidence, look)) is not None
    }
    calls_rel, flops_rel = _saved_rel(observation.work, reference.work)
    saved_rel = flops_rel if flops_rel is not None else calls_rel
    predicted_rel = predicted_speedup(reference, saved_rel) if saved_rel is not None else None
    speedup_rel = total.speedup()
    source: Literal["flops", "calls"] = "flops" if flops_rel is not None else "calls"
    difference = image_difference(measured.shown, base.shown, metrics)
    hidden = None
    if measured.hidden is not None and base.hidden is not None and measured is not base:
        hidden = image_difference(measured.hidden, base.hidden)
    latents_rel = difference.latents_rel if difference is not None else None
    same_latents = None if latents_rel is None else latents_rel == 0
    return _replaced(
        report,
        speedup_rel=speedup_rel,
        stage_speedups_rel=stages,
        work_saved_rel=calls_rel,
        flops_saved_rel=flops_rel,
        predicted_speedup_rel=predicted_rel,
        predicted_from=source if predicted_rel is not None else None,
        agrees_with_prediction=predicted_rel in speedup_rel if predicted_rel is not None else None,
        image_difference=difference,
        over_prompts=None if measured is base or not base.by_prompt else over_prompts(measured, base),
        inert=None if measured is base else is_inert(observation, reference, speedup_rel, same_latents=same_latents),
        float64_rel=measured.float64_rel,
        tier=None
        if measured is base
        else tier_of(observation.output, reference.output, difference, measured.float64_rel, base.float64_rel),
        wrong_guidance=wrong_guidance(observation, measured.artifacts),
        probed=observation.probe is not None,
        hidden_difference=hidden,
        suspicions=()
        if measured is base
        else suspicions(observation, reference, hidden_differs=hidden is not None and not same_picture(hidden)),
        log_ratios=log_ratios(reference.run.totals_s, observation.run.totals_s),
    )


def over_prompts(measured: Measured, base: Measured) -> PromptFigures:
    """How far images are from the reference's over all prompts."""
    found = {
        prompt: image_difference(
            Shown(Artifacts(images=tuple(measured.by_prompt[prompt]))), Shown(Artifacts(images=tuple(images)))
        )
        for prompt, images in base.by_prompt.items()
    }
    compared = {prompt: far for prompt, far in found.items() if far is not None and far.ssim is not None}
    unlike = [prompt for prompt in found if prompt not in compared]
    decibels = [far.psnr_db for far in compared.values() if far.psnr_db is not None]
    likeness = {prompt: far.ssim for prompt, far in compared.items() if far.ssim is not None}
    return PromptFigures(
        prompts=len(found),
        equal=sum(far.same_bits for far in compared.values()),
        unlike=len(unlike),
        psnr_db=min(decibels, default=None),
        mean_psnr_db=statistics.fmean(decibels) if decibels else None,
        ssim=min(likeness.values(), default=None),
        mean_ssim=statistics.fmean(likeness.values()) if likeness else None,
        worst_prompt=unlike[0] if unlike else min(likeness, key=lambda prompt: likeness[prompt]),
    )


def case_suspicions(
    observation: Observation, reference: Reference | None, limits: Limits
) -> tuple[Suspicion, ...] | None:
    """What speaks against the figures of a case; None where it, or its baseline on this machine, wasn't probed."""
    probe, baseline = observation.probe, reference.baseline if reference is not None else None
    if reference is None or reference.distance != "machine" or baseline is None or None in (probe, baseline.probe):
        return None
    assert probe is not None  # as was just seen
    assert baseline.probe is not None
    shown = (
        Shown(Artifacts(images=decoded(pictures)), rerun=side.output.rerun)
        for pictures, side in ((probe.repeated, observation), (baseline.probe.pictures, baseline))
        if side.output is not None
    )
    sides = tuple(shown)
    pictures = image_difference(*sides, limits=limits) if len(sides) == 2 else None
    differs = pictures is not None and not same_picture(pictures)
    return suspicions(observation, baseline, hidden_differs=differs or _other_parts(observation, baseline, limits))


def _other_parts(observation: Observation, baseline: Baseline, limits: Limits) -> bool:
    """Whether other parts than images came of what the baseline's probe was called with; a sketch understates it."""
    assert observation.probe is not None
    assert baseline.probe is not None
    now, base = observation.probe.repeated_parts, baseline.probe.parts
    reruns = [side.output.rerun for side in (observation, baseline) if side.output is not None]
    if not base or not reruns:
        return False
    return unlike(now, base) or any(parts_beyond(now, base, tolerance("machine", reruns[0], reruns[-1], limits)))


def _stage_estimate(
    variant: Observation, reference: Observation, stage: Stage, confidence: float, look: int
) -> LogRatio | None:
    """The speed-up of a stage; None where a round on either side has none, or took no time."""
    sides_s = [[timed.stages_s.get(stage, 0.0) for timed in side.run.rounds] for side in (reference, variant)]
    if not all(value_s > 0 for side_s in sides_s for value_s in side_s):
        return None
    return estimate(log_ratios(*sides_s), confidence, look)


def _saved_rel(now: Work | None, base: Work | None) -> tuple[float | None, float | None]:
    """Shares of the reference's denoiser calls and of the denoiser's FLOPs that a variant does without."""
    if now is None or base is None or not base.denoiser_calls:
        return None, None
    before, after = _denoiser_flops(base), _denoiser_flops(now)
    flops_rel = 1 - after / before if before and after else None
    return 1 - now.denoiser_calls / base.denoiser_calls, flops_rel


def _denoiser_flops(work: Work) -> int:
    return sum(work.flops.get(component, 0) for component in {group.component for group in work.denoiser})


def _with_dominated(
    rows: Sequence[VariantReport], reference: str, confidence: float, look: int
) -> tuple[VariantReport, ...]:
    """Mark rows that another one beats in both: faster beyond chance, block by block, and more alike."""
    marked = []
    for row in rows:
        better = tuple(
            other.name
            for other in rows
            if row.name != reference
            and _is_faster(other, row, confidence, look)
            and is_more_alike(other.image_difference, row.image_difference)
        )
        marked.append(_replaced(row, dominated_by=better) if better else row)
    return tuple(marked)


def _is_faster(right: VariantReport, left: VariantReport, confidence: float, look: int) -> bool:
    logs = [a - b for a, b in zip(right.log_ratios, left.log_ratios, strict=False)]
    if len(logs) < 2:
        return False
    ratio = estimate(logs, confidence, look)
    return ratio.low_log > 0


def _replaced(report: VariantReport, **changed: object) -> VariantReport:
    import msgspec

    return msgspec.structs.replace(report, **changed)
