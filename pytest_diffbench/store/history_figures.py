"""The figures of a case that a history keeps, by name."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.records.details import OutputDetails
from pytest_diffbench.records.history import NO_DIFFERENCE_DB

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Run

TOTAL = "time.total_s"
PACED = "time.total_by_pace"
"""The total over the machine's pace beside it: a figure without unit, of which only changes tell something."""


def figures_of(report: CaseReport) -> dict[str, float]:
    """The figures of a case by name; what wasn't measured is absent.

    Returns:
        `time.total_s`, `time.<stage>_s` (medians over rounds), `time.total_by_pace`, `pace.<work>_s`,
        `memory.peak_bytes`, `memory.<stage>_bytes`, `work.denoiser_calls`, `work.flops`, `output.<metric>` (distance
        of the worst image from the baseline), `output.latents_rel`, `origin.colour_levels`, `origin.psnr_db`. All are
        finite.
    """
    observation = report.observation
    figures: dict[str, float] = {}
    if not observation.complete or report.error is not None:
        return figures
    figures |= _times(observation.run)
    if observation.memory is not None:
        figures["memory.peak_bytes"] = observation.memory.peak_bytes
        for stage, memory in observation.memory.stages.items():
            figures[f"memory.{stage}_bytes"] = memory.peak_bytes
    if observation.work is not None:
        figures["work.denoiser_calls"] = observation.work.denoiser_calls
        figures["work.flops"] = observation.work.total_flops
    figures |= _distances(report)
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _times(run: Run) -> dict[str, float]:
    figures: dict[str, float] = {}
    if run.rounds:
        figures[TOTAL] = run.median_s
        figures |= {f"time.{stage}_s": time_s for stage, time_s in run.stage_medians_s.items()}
    paces = {name: statistics.median(times_s) for name, times_s in run.pace_s.items() if times_s}
    figures |= {f"pace.{name}_s": time_s for name, time_s in paces.items()}
    if run.rounds and paces:
        figures[PACED] = run.median_s / statistics.geometric_mean(paces.values())
    return figures


def _distances(report: CaseReport) -> dict[str, float]:
    """Distances of what was returned from the baseline, and from what was accepted first."""
    figures: dict[str, float] = {}
    for verdict in report.verdicts:
        if verdict.reason == "output.same_bits":
            figures["output.psnr_db"] = NO_DIFFERENCE_DB
        details = verdict.details
        if isinstance(details, OutputDetails):
            for name in dict.fromkeys(name for image in details.images for name in image):
                values = [image[name].value for image in details.images if name in image]
                if name == "psnr_db":
                    figures[f"output.{name}"] = min(NO_DIFFERENCE_DB if value is None else value for value in values)
                elif None not in values:
                    known = [value for value in values if value is not None]
                    figures[f"output.{name}"] = min(known) if name.endswith("ssim") else max(known)
            if details.latents_rel is not None:
                figures["output.latents_rel"] = details.latents_rel
    origin = report.origin_distance
    if origin is not None:
        figures["origin.colour_levels"] = origin.colour_levels
        figures["origin.psnr_db"] = NO_DIFFERENCE_DB if origin.psnr_db is None else origin.psnr_db
    return figures
