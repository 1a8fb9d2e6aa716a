"""Sessions that compared variants: a test with names of its own, and a sweep on a busy machine."""

from __future__ import annotations

from typing import Any

import msgspec
import report_factories as make
import report_records

from pytest_diffbench.records import (
    Comparison,
    ImageDifference,
    SessionReport,
    Speedup,
    VariantReport,
)

SAME = ImageDifference(same_bits=True, ssim=1.0, latents_rel=0.0)
EQUAL_SPEED = Speedup(value=1.0, low=1.0, high=1.0)


def likeness(psnr_db: float, ssim: float, latents_rel: float) -> ImageDifference:
    worst = f"PSNR {psnr_db:.1f} dB of image 0 (at least 40 dB)"
    return ImageDifference(same_bits=False, psnr_db=psnr_db, ssim=ssim, worst=worst, latents_rel=latents_rel)


def variant(name: str, speedup: float, spread: float, **fields: Any) -> VariantReport:
    """A variant that is `speedup` times as fast as one of 1.06 s, give or take `spread`."""
    around: dict[str, Any] = {
        "speedup_rel": Speedup(value=speedup, low=speedup - spread, high=speedup + spread),
        "stage_speedups_rel": {
            "denoise": Speedup(value=1.1 * speedup, low=1.1 * speedup - spread, high=1.1 * speedup + spread)
        },
        "case_id": f"{report_records.FILE}::test_case#{name}",
        "median_s": 1.06 / speedup,
        "log_ratios": (0.1, 0.12),
    }
    return VariantReport(name=name, **(around | fields))


def full(name: str, **fields: Any) -> VariantReport:
    """The reference."""
    figures: dict[str, Any] = {
        "speedup_rel": EQUAL_SPEED,
        "stage_speedups_rel": {"denoise": EQUAL_SPEED},
        "denoiser_calls": 60,
    }
    figures |= {
        "work_saved_rel": 0.0,
        "flops_saved_rel": 0.0,
        "predicted_speedup_rel": 1.0,
        "predicted_from": "flops",
    }
    figures |= {"agrees_with_prediction": True, "image_difference": SAME}
    return variant(name, 1.0, 0.0, **(figures | fields))


def named() -> Comparison:
    """Names of a test's own; one variant that broke off and one of another size."""
    saved: dict[str, Any] = {
        "work_saved_rel": 0.25,
        "flops_saved_rel": 0.25,
        "predicted_from": "flops",
        "denoiser_calls": 45,
    }
    return Comparison(
        id=f"{report_records.FILE}::test_truncation_pays",
        reference="full",
        confidence=0.99,
        blocks=12,
        variants=(
            full("full"),
            variant(
                "half",
                1.281,
                0.022,
                **saved,
                predicted_speedup_rel=1.281,
                agrees_with_prediction=True,
                image_difference=likeness(21.3, 0.8231, 0.31),
            ),
            variant(
                "small",
                2.9,
                0.1,
                denoiser_calls=60,
                work_saved_rel=0.0,
                image_difference=ImageDifference(same_bits=False, problem="different size: 128 x 128 px, 64 x 64 px"),
            ),
            VariantReport(
                name="huge",
                case_id=f"{report_records.FILE}::test_truncation_pays#huge",
                error="MeasureError: the device ran out of memory (tried to allocate 96.00 GiB).",
            ),
        ),
    )


def swept() -> Comparison:
    """A sweep in which one value pays less than counts predict, and one is dominated."""
    rows = [full("1.0", value=1.0)]
    for ratio, speedup, predicted, psnr_db, calls in (
        (0.7, 1.151, 1.152, 31.2, 51),
        (0.5, 1.102, 1.281, 24.0, 45),
        (0.25, 1.507, 1.507, 19.4, 37),
    ):
        rows.append(
            variant(
                str(ratio),
                speedup,
                0.012,
                value=ratio,
                denoiser_calls=calls,
                work_saved_rel=1 - calls / 60,
                flops_saved_rel=1 - calls / 60,
                predicted_speedup_rel=predicted,
                predicted_from="flops",
                agrees_with_prediction=abs(speedup - predicted) < 0.012,
                image_difference=likeness(psnr_db, psnr_db / 40, 6 / psnr_db),
                dominated_by=("0.7",) if ratio == 0.5 else (),
            )
        )
    return Comparison(
        id=f"{report_records.FILE}::test_frontier",
        reference="1.0",
        argument="cfg_trunc_ratio",
        confidence=0.999,
        blocks=6,
        variants=tuple(rows),
    )


def session(*comparisons: Comparison) -> SessionReport:
    """A session with these comparisons, and two of their cases."""
    cases = [
        make.report(report_records.lumina("test_truncation_pays#full")),
        make.report(report_records.lumina("test_truncation_pays#half", ratio=0.5)),
    ]
    return msgspec.structs.replace(make.session(*cases), comparisons=comparisons)


def long_names() -> Comparison:
    """Names for which a narrow terminal has no room beside the figures."""
    renamed = [
        msgspec.structs.replace(variant, name=name)
        for variant, name in zip(
            named().variants,
            ("as the authors recommend", "truncated after half of the steps", "a quarter of the pixels", "full HD"),
            strict=True,
        )
    ]
    return msgspec.structs.replace(named(), reference=renamed[0].name, variants=tuple(renamed))


def of_functions() -> Comparison:
    """Plain functions: no calls, no stages, nothing predicted."""
    bare = variant("b", 1.2, 0.02, stage_speedups_rel={}, image_difference=SAME)
    return Comparison(
        id="t.py::test",
        reference="a",
        confidence=0.99,
        blocks=6,
        variants=(VariantReport(name="a", case_id="t.py::test#a", median_s=0.1, speedup_rel=EQUAL_SPEED), bare),
    )
