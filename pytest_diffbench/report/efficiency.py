"""How well a run used its device: achieved FLOP/s by stage, share of the peak, images and energy."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from pytest_diffbench.records import Efficiency
from pytest_diffbench.records.peaks import matmul_fact, peak_reported
from pytest_diffbench.report.units import format_flops, format_percent

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation, Stage, Work


def efficiency_of(observation: Observation) -> Efficiency | None:
    """Work out a case's figures from medians over its rounds; None for one that has none.

    Of a device in the table of peaks the published one counts, else that of a measured matrix product. A share over a
    published peak says that the table, the count or the clock is wrong.
    """
    if not observation.run.rounds:
        return None
    flops = {} if observation.work is None else _flops_by_stage(observation.work)
    times_s = observation.run.stage_medians_s
    rates = {stage: flops[stage] / times_s[stage] for stage in times_s if flops.get(stage) and times_s[stage] > 0}
    device = observation.run.environment.hardware.get("device")
    peak = peak_reported(device) if isinstance(device, str) else None
    dtype = observation.case.definition.dtype
    measured = observation.run.environment.state.get(matmul_fact(dtype))
    best = peak.flops_per_s(dtype) if peak is not None else measured if isinstance(measured, float) else None
    if peak is not None and (
        _multiplies_smaller(observation) or (dtype == "float32" and _rounds_products(observation))
    ):
        best = None  # tensor cores do what this dtype's published peak is no bound of
    images = 0 if observation.output is None else len(observation.output.images)
    energies_j = [timed.telemetry.energy_j for timed in observation.run.rounds if timed.telemetry is not None]
    known_j = [energy_j for energy_j in energies_j if energy_j is not None]
    return Efficiency(
        flops_per_s=rates,
        peak_rel={} if best is None else {stage: rate / best for stage, rate in rates.items()},
        images_per_s=images / observation.run.median_s if images else None,
        energy_per_image_j=statistics.median(known_j) / images if known_j and images else None,
        peak=None if best is None else "published" if peak is not None else "measured",
        peak_flops_per_s=best,
    )


def _rounds_products(observation: Observation) -> bool:
    """Whether products of float32 may run on tensor cores, as TF32 or bfloat16."""
    precision = str(observation.run.environment.settings.get("float32_matmul_precision") or "highest")
    return precision != "highest" and "ieee" not in precision


def _multiplies_smaller(observation: Observation) -> bool:
    """Whether some products are of 8-bit numbers, which run at up to twice the peak of 16 bits.

    Weights that are merely kept in fewer bits are multiplied in the case's dtype.
    """
    operators = {} if observation.work is None else observation.work.operators
    return any(name in _OF_8_BITS for counts in operators.values() for name in counts)


_OF_8_BITS = frozenset({"_scaled_mm", "_scaled_grouped_mm", "_int_mm"})


def rate_text(efficiency: Efficiency, stage: Stage) -> str:
    """A stage's rate in words: `412 TFLOP/s, 42 % of peak`, or `of a measured matmul` where no peak is published.

    A share above a published peak is marked as impossible.
    """
    text = f"{format_flops(round(efficiency.flops_per_s[stage]))}/s"
    share_rel = efficiency.peak_rel.get(stage)
    if share_rel is None:
        return text
    if efficiency.peak == "measured":
        return f"{text}, {format_percent(share_rel)} of a measured matmul"
    return f"{text}, {format_percent(share_rel)} of peak" + (" (impossible)" if share_rel > 1 else "")


def _flops_by_stage(work: Work) -> dict[Stage, int]:
    """FLOPs of the components that a stage is the time of.

    Helpers (an image encoder, a projection) belong to the stage around them, which isn't recorded: where there is
    one, text encoding has no figure rather than one that leaves something out.
    """
    denoisers = {group.component for group in work.denoiser}
    sums: dict[Stage, int] = {}
    helped = False
    for name, flops in work.flops.items():
        stage: Stage
        if name in denoisers:
            stage = "denoise"
        elif name.endswith((".decode", ".encode")):
            stage = "vae_decode" if name.endswith(".decode") else "vae_encode"
        else:
            stage = "text_encode"
            helped |= "text_encoder" not in name
        sums[stage] = sums.get(stage, 0) + flops
    if helped:
        del sums["text_encode"]
    return sums
