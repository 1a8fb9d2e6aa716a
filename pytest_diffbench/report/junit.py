"""A case as properties of its test in a JUnit file, so that a CI server can chart it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.figures import image_figures, status_of

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport


def properties(report: CaseReport) -> list[tuple[str, str]]:
    """Names and values; a figure that wasn't measured is left out. Units stand in the names."""
    seen = report.observation
    found: list[tuple[str, str]] = [
        ("diffbench.case", seen.case.id),
        ("diffbench.status", status_of(report)),
        ("diffbench.machine", seen.run.environment.machine),
    ]
    if seen.run.rounds:
        found.append(("diffbench.total_median_s", _figure(seen.run.median_s)))
        found += [(f"diffbench.{stage}_median_s", _figure(one)) for stage, one in seen.run.stage_medians_s.items()]
    if seen.layers is not None and seen.layers.attention_rel is not None:
        found.append(("diffbench.attention_rel", _figure(seen.layers.attention_rel)))
    if seen.work is not None:
        found.append(("diffbench.denoiser_calls", str(seen.work.denoiser_calls)))
        found.append(("diffbench.flops", str(seen.work.total_flops)))
    if seen.guidance is not None:
        found.append(("diffbench.guided_steps", str(seen.guidance.guided_steps)))
    if seen.memory is not None:
        found.append(("diffbench.peak_bytes", str(seen.memory.peak_bytes)))
        found.append(("diffbench.memory_source", seen.memory.source))
    images = image_figures(report)
    if images is not None and not images.same_bits:
        for name in ("psnr_db", "ssim", "worst_tile_ssim"):
            if (value := getattr(images, name)) is not None:
                found.append((f"diffbench.{name}", _figure(value)))
    for verdict in report.verdicts:
        found.append((f"diffbench.{verdict.gate}.decision", verdict.decision))
        found.append((f"diffbench.{verdict.gate}.reason", verdict.reason))
    if report.baseline_path is not None:
        found.append(("diffbench.baseline", report.baseline_path))
    if report.saved is not None:
        found.append(("diffbench.saved", report.saved))
    if report.error is not None:
        found.append(("diffbench.error", report.error))
    return found


def _figure(value: float) -> str:
    return f"{value:.6g}"
