"""A case as properties of its test in a JUnit file, so that a CI server can chart it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.figures import figure_of, image_figures, status_of
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Comparison, Speedup, Verdict


def is_own(test_property: tuple[str, object]) -> bool:
    """Whether a property of a test is one of these, by its name."""
    return test_property[0].startswith("diffbench.")


def properties(report: CaseReport) -> list[tuple[str, str]]:
    """Names and values; a figure that wasn't measured is left out. Units stand in the names."""
    observation = report.observation
    entries: list[tuple[str, str]] = [
        ("diffbench.case", observation.case.id),
        ("diffbench.status", status_of(report)),
        ("diffbench.machine", observation.run.environment.machine),
    ]
    if observation.run.rounds:
        entries.append(("diffbench.total_median_s", _figure(observation.run.median_s)))
        entries += [
            (f"diffbench.{stage}_median_s", _figure(time_s))
            for stage, time_s in observation.run.stage_medians_s.items()
        ]
    if observation.layers is not None and observation.layers.attention_rel is not None:
        entries.append(("diffbench.attention_rel", _figure(observation.layers.attention_rel)))
    if observation.work is not None:
        entries.append(("diffbench.denoiser_calls", str(observation.work.denoiser_calls)))
        entries.append(("diffbench.flops", str(observation.work.total_flops)))
    if observation.guidance is not None:
        entries.append(("diffbench.guided_steps", str(observation.guidance.guided_steps)))
    if observation.memory is not None:
        entries.append(("diffbench.peak_bytes", str(observation.memory.peak_bytes)))
        entries.append(("diffbench.memory_source", observation.memory.source))
    entries += [(f"diffbench.{name}", _figure(value)) for name, value in (image_figures(report) or {}).items()]
    for verdict in report.verdicts:
        entries += _answer(verdict)
    if report.baseline_path is not None:
        entries.append(("diffbench.baseline", report.baseline_path))
    if report.saved is not None:
        entries.append(("diffbench.saved", saved_text(report.saved)))
    if report.error is not None:
        entries.append(("diffbench.error", report.error))
    return entries


def comparison_properties(comparison: Comparison) -> list[tuple[str, str]]:
    """Names and values of a comparison: a set for each variant, its name in brackets."""
    entries: list[tuple[str, str]] = [
        ("diffbench.comparison", comparison.id),
        ("diffbench.comparison.reference", comparison.reference),
        ("diffbench.comparison.confidence", _figure(comparison.confidence)),
        ("diffbench.comparison.blocks", str(comparison.blocks)),
    ]
    for variant in comparison.variants:
        figures: list[tuple[str, float | None]] = [("total_median_s", variant.median_s)]
        if variant.speedup_rel is not None:
            figures += [(f"speedup_rel{end}", value) for end, value in _ends(variant.speedup_rel)]
        for stage, speedup in variant.stage_speedups_rel.items() if variant.name != comparison.reference else ():
            figures += [(f"{stage}_speedup_rel{end}", value) for end, value in _ends(speedup)]
        figures += [
            (name, getattr(variant, name))
            for name in ("predicted_speedup_rel", "work_saved_rel", "flops_saved_rel", "denoiser_calls")
        ]
        if variant.image_difference is not None:
            figures += [
                (name, getattr(variant.image_difference, name)) for name in ("psnr_db", "ssim", "latents_rel")
            ]
            figures += variant.image_difference.parts.items()
        head = f"diffbench.variant[{variant.name}]"
        entries += [(f"{head}.{name}", _figure(value)) for name, value in figures if value is not None]
        if variant.agrees_with_prediction is not None:
            entries.append((f"{head}.agrees_with_prediction", str(variant.agrees_with_prediction).lower()))
        if variant.inert:
            entries.append((f"{head}.inert", "true"))
        if variant.dominated_by:
            entries.append((f"{head}.dominated_by", ", ".join(variant.dominated_by)))
        if variant.error is not None:
            entries.append((f"{head}.error", variant.error))
    return entries


def _answer(verdict: Verdict) -> list[tuple[str, str]]:
    """A gate's answer; of time also how small a change it sees, and how many fresh processes confirmed this one."""
    entries: list[tuple[str, str]] = [("decision", verdict.decision), ("reason", verdict.reason)]
    if verdict.gate == "time":
        figures = {name: figure_of(verdict, name) for name in ("detectable_rel", "confirmed", "fresh_runs")}
        entries += [(name, _figure(value)) for name, value in figures.items() if value is not None]
    return [(f"diffbench.{verdict.gate}.{name}", value) for name, value in entries]


def _ends(speedup: Speedup) -> list[tuple[str, float]]:
    return [("", speedup.value), ("_low", speedup.low), ("_high", speedup.high)]


def _figure(value: float) -> str:
    return f"{value:.6g}"
