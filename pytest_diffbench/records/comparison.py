"""Variants measured against each other in one process, and the ratios of their times."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import (
    Count,
    Fact,
    NotNegative,
    PositiveBytes,
    PositiveCount,
    PositiveSeconds,
    Record,
    Stage,
)
from pytest_diffbench.records.case import Case
from pytest_diffbench.records.details.output import MetricLimit
from pytest_diffbench.records.probe import Suspicion

Tier: TypeAlias = Literal["bit-equal", "lossless", "lossy", "broken"]
"""What a variant does to the output: nothing at all, no more than rounding, something, or no sound one is left."""

PositiveRatio = Annotated[float, Meta(gt=0)]


class Speedup(Record, frozen=True, kw_only=True):
    """Time of the reference over time of the variant: above 1 the variant is faster, 1.33 saves a quarter.

    Attributes:
        value: estimated from the blocks, see `judge.time.speedups`.
        low: end of the interval, at the comparison's confidence; `high` is the other one.
    """

    value: PositiveRatio
    low: PositiveRatio
    high: PositiveRatio

    def __contains__(self, ratio: float) -> bool:
        return self.low <= ratio <= self.high


class RatioRun(Record, frozen=True, kw_only=True):
    """The ratio of two times in one process, as it is kept with a baseline. Logarithms are natural, of the speed-up.

    Attributes:
        run: id of the variant's run.
        log_ratio: estimated from the blocks.
        standard_error_log: of it, from the spread within this process alone.
        blocks: rounds of each variant.
        denoise_log_ratio: the same of the denoise stage; None where it wasn't seen on both sides.
    """

    run: str
    log_ratio: float
    standard_error_log: Annotated[float, Meta(ge=0)]
    blocks: PositiveCount
    denoise_log_ratio: float | None = None


class Ratio(Record, frozen=True, kw_only=True):
    """How much faster than its reference a variant is: one run where it was just measured, several where stored."""

    reference: Case
    """What it was measured against; a ratio to another reference is never compared."""

    runs: Annotated[tuple[RatioRun, ...], Meta(min_length=1)]
    """Oldest first."""


class ImageDifference(Record, frozen=True, kw_only=True):
    """How far what a variant returned is from the reference's; of each metric the worst image's, or part's.

    Attributes:
        same_bits: every pixel is equal, and every value of other parts.
        psnr_db: None without any difference, and where images can't be compared.
        ssim: mean structural similarity.
        worst: the metric that is furthest beyond what counts as the same output; words in
            files that were written before.
        latents_rel: relative L2 distance of the final latents.
        further: metrics of other packages that were asked for, by name.
        parts: of each metric of the other kinds of output, by name, the worst part's value; None for what is infinite
            or no number.
        problem: why outputs can't be compared: `different size: 128 x 128 px, 64 x 64 px`.
    """

    same_bits: bool
    psnr_db: float | None = None
    ssim: float | None = None
    worst: MetricLimit | str | None = None
    latents_rel: float | None = None
    further: dict[str, float] = {}
    parts: dict[str, float | None] = {}
    problem: str | None = None


class PromptFigures(Record, frozen=True, kw_only=True):
    """How far a variant's images are from the reference's over several prompts, by one call of each.

    Attributes:
        prompts: how many.
        equal: of those, how many give the very same images.
        unlike: how many give images that can't be compared, of another size or number. They have no figures.
        psnr_db: worst of the others; None where there are none.
        mean_psnr_db: mean of those that differ: equal images have none that could be averaged.
        ssim: worst of all that can be compared.
        mean_ssim: mean of those.
        worst_prompt: the one that has the worst SSIM, or can't be compared.
    """

    prompts: PositiveCount
    equal: Count
    unlike: Count = 0
    psnr_db: float | None = None
    mean_psnr_db: float | None = None
    ssim: float | None = None
    mean_ssim: float | None = None
    worst_prompt: str | None = None


class VariantReport(Record, frozen=True, kw_only=True):
    """One variant beside the reference. What wasn't measured is None; the reference's own row holds 1 and 0.

    Attributes:
        name: of the variant.
        case_id: of its case, whose work, guidance and output stand there.
        value: of the argument that a sweep changes.
        median_s: of all its rounds.
        speedup_rel: of the total.
        stage_speedups_rel: of each stage that both have.
        denoiser_calls: of one call.
        flops: of one call, all components together; None where they weren't counted.
        peak_bytes: of its survey.
        work_saved_rel: share of the reference's denoiser calls that it does without; below 0 it makes more.
        flops_saved_rel: the same of the denoiser's FLOPs.
        predicted_speedup_rel: T / (T - D s), with the reference's median total T and denoise stage D, and the share
            of denoiser work s that is saved.
        predicted_from: what s counts.
        agrees_with_prediction: the prediction lies in the interval of `speedup_rel`.
        image_difference: from the reference's images.
        over_prompts: the same over the prompts that were asked for; None of the reference, and where none were.
        inert: what it changes had no effect: the reference's output to the last bit for as much work, no operator
            less, no kernel less where both were profiled, no less memory, and no gain of time; None where not all of
            it was seen.
        float64_rel: distance of its output from that of the reference's call in float64; None where nobody asked.
        tier: what it does to the output; None of the reference, and where that isn't known.
        wrong_guidance: the reason by which the guidance gate calls its steps wrong, whatever the baseline.
        probed: it was called with a prompt and seeds that were drawn once it was fixed.
        hidden_difference: from the reference's images with that prompt.
        suspicions: why its gain isn't believed.
        dominated_by: names of variants that are faster and more alike to the reference.
        log_ratios: logarithm of the speed-up in each block.
        error: why it broke off.
    """

    name: str
    case_id: str
    value: Fact = None
    median_s: PositiveSeconds | None = None
    speedup_rel: Speedup | None = None
    stage_speedups_rel: dict[Stage, Speedup] = {}
    denoiser_calls: Count | None = None
    flops: Count | None = None
    peak_bytes: PositiveBytes | None = None
    work_saved_rel: float | None = None
    flops_saved_rel: float | None = None
    predicted_speedup_rel: PositiveRatio | None = None
    predicted_from: Literal["flops", "calls"] | None = None
    agrees_with_prediction: bool | None = None
    image_difference: ImageDifference | None = None
    over_prompts: PromptFigures | None = None
    inert: bool | None = None
    float64_rel: NotNegative | None = None
    tier: Tier | None = None
    wrong_guidance: str | None = None
    probed: bool = False
    hidden_difference: ImageDifference | None = None
    suspicions: tuple[Suspicion, ...] = ()
    dominated_by: tuple[str, ...] = ()
    log_ratios: tuple[float, ...] = ()
    error: str | None = None


class Comparison(Record, frozen=True, kw_only=True):
    """Variants of one call, their rounds interleaved in one process.

    Attributes:
        id: the test's, with the comparison's label.
        reference: name of the variant that the others are compared with.
        argument: that a sweep changes; None for variants with names of their own.
        confidence: of every interval.
        blocks: rounds of each variant; a block holds one of each.
        variants: in the test's order, the reference among them.
    """

    id: str
    reference: str
    argument: str | None = None
    confidence: Annotated[float, Meta(gt=0, lt=1)]
    blocks: Count
    variants: Annotated[tuple[VariantReport, ...], Meta(min_length=2)]
