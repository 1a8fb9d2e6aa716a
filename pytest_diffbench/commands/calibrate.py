"""Measures which tolerance a case needs: runs it again, as it is and otherwise, and proposes what lets all pass."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench import __version__
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.judge.limits import Limits
from pytest_diffbench.judge.output.image_members import decibels
from pytest_diffbench.judge.output.loosening import TOLERANCES, described, looser_than_default
from pytest_diffbench.judge.trace.divergence import part, parting_threshold_rel
from pytest_diffbench.judge.trace.limits import largest_rel
from pytest_diffbench.judge.trace.words import share
from pytest_diffbench.outputs.image_extras import KINDS
from pytest_diffbench.session.extra_metrics import Asked, metrics_named
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.outputs.image_extras import ExtraMetric, Kind
    from pytest_diffbench.records.artifacts import Reference

UNCHANGED = "as it is"
_MOST_OUTPUT = 15
"""Lines of a run that failed which are worth showing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """A way to run the tests.

    Attributes:
        name: in the table.
        options: of pytest.
        environment: variables that are set for it.
    """

    name: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How far one run of a case was from the first.

    Attributes:
        setting: its name.
        figures: the worst image's, and the trace's, by the names of `TOLERANCES`; an infinite PSNR is None.
        parted: the first place where the traces part; None where they don't.
        problem: why the runs can't be compared; None where they can.
    """

    setting: str
    figures: dict[str, float | None] = dataclasses.field(default_factory=dict)
    parted: str | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a case needs.

    Attributes:
        case_id: the case.
        evidence: one entry a run, the first left out.
        tolerance: thresholds that must be looser than by default, with the margin; empty where none must.
        marker: the marker's arguments that say so; empty where the defaults are enough.
    """

    case_id: str
    evidence: tuple[Evidence, ...]
    tolerance: dict[str, float]
    marker: str


def settings_of(runs: int, dtypes: Sequence[str], threads: Sequence[str], attention: Sequence[str]) -> list[Setting]:
    """The ways to run: `runs` times as it is, and once in every other way."""
    return [
        *[Setting(UNCHANGED)] * runs,
        *(Setting(f"dtype {dtype}", (f"--diffbench-dtype={dtype}",)) for dtype in dtypes),
        *(Setting(f"{thread} threads", (f"--diffbench-threads={thread}",)) for thread in threads),
        *(Setting(f"attention {backend}", environment={"DIFFUSERS_ATTN_BACKEND": backend}) for backend in attention),
    ]


def metrics_asked(names: Sequence[str], lpips_backbone: Path | None) -> tuple[ExtraMetric, ...]:
    """Metrics of other packages, by name.

    Args:
        names: keys of `KINDS`.
        lpips_backbone: file with the weights of torchvision's AlexNet.

    Raises:
        DiffbenchError: there is no such metric, or it can't be had.
    """
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise DiffbenchError(f"--metrics: there is no metric {unknown[0]!r}. Use {', '.join(KINDS)}.")
    return metrics_named(names, lpips_backbone, Asked("diffbench calibrate", "--metrics", "--lpips-backbone FILE"))


def calibrate(
    tests: Sequence[str],
    settings: Sequence[Setting],
    margin_db: float,
    progress: Callable[[str], None],
    metrics: Sequence[ExtraMetric] = (),
) -> list[Proposal]:
    """Run tests in every setting, each in a process of its own, and compare all runs with the first.

    Args:
        tests: pytest's arguments.
        settings: the first of which is what the others are held against.
        margin_db: how much more than the worst is allowed, as a ratio of errors.
        progress: is told what is being run.
        metrics: of other packages, to compare by besides.

    Raises:
        DiffbenchError: a run failed, or measured nothing.
    """
    with tempfile.TemporaryDirectory(prefix="diffbench-calibrate-") as folder:
        runs = []
        for number, setting in enumerate(settings):
            progress(f"run {number + 1} of {len(settings)}: {setting.name}")
            runs.append((setting, _run(tests, setting, Path(folder) / str(number))))
        first = runs[0][1]
        return [_proposal(case_id, reference, runs[1:], margin_db, metrics) for case_id, reference in first.items()]


def _run(tests: Sequence[str], setting: Setting, baselines: Path) -> dict[str, Reference]:
    """Measure into a folder of its own; returns what it holds by case."""
    command = [sys.executable, "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider", "--diffbench-save"]
    command += [f"--diffbench-baselines={baselines}", "--diffbench-rounds=1", *setting.options]
    done = subprocess.run(command, env=os.environ | setting.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_MOST_OUTPUT:])
        raise DiffbenchError(
            f"pytest {' '.join(tests)} ({setting.name}) ended with status {done.returncode}: {said}. "
            "Calibrate tests that pass with --diffbench-save."
        )
    store = Store(baselines)
    references = [store.load(folder, "machine") for folder in store.entries()]
    if not references:
        raise DiffbenchError(
            f"pytest {' '.join(tests)}: measured no case. Name tests that use the fixture diffbench."
        )
    return {reference.baseline.case.id: reference for reference in references}


def _proposal(
    case_id: str,
    first: Reference,
    others: Sequence[tuple[Setting, dict[str, Reference]]],
    margin_db: float,
    metrics: Sequence[ExtraMetric],
) -> Proposal:
    evidence = tuple(
        _compared(setting.name, runs[case_id], first, metrics)
        if case_id in runs
        else Evidence(setting=setting.name, problem="the case wasn't measured")
        for setting, runs in others
    )
    return proposed(case_id, evidence, margin_db)


def _compared(name: str, run: Reference, first: Reference, metrics: Sequence[ExtraMetric]) -> Evidence:
    from pytest_diffbench.outputs.images import distance

    now, base = run.baseline.output, first.baseline.output
    if now is None or base is None:
        return Evidence(setting=name, problem="there is no output to compare")
    current, stored = run.artifacts(), first.artifacts()
    if [image.shape for image in current.images] != [image.shape for image in stored.images]:
        return Evidence(setting=name, problem="number or size of the images differ")
    dtype = first.baseline.case.definition.dtype
    divergence = part(current.trace, stored.trace, parting_threshold_rel(dtype, now.rerun, base.rerun, Limits()))
    first_rel, later_rel = largest_rel(divergence)
    figures: dict[str, float | None] = {"latents_rel": later_rel, "trace_first_rel": first_rel}
    distances = [distance(a, b, Limits().tile_size_px) for a, b in zip(current.images, stored.images, strict=True)]
    if distances:
        worst_db = min(result.psnr_db for result in distances)
        figures |= {
            "psnr_db": worst_db if math.isfinite(worst_db) else None,
            "p999_levels": max(result.p999_levels for result in distances),
            "ssim": min(result.ssim for result in distances),
            "tile_ssim": min(result.worst_tile.ssim for result in distances),
            "tile_p99_levels": max(result.tile_p99.levels for result in distances),
            "colour_levels": max(result.colour_levels for result in distances),
            "seam_levels": max(result.seam.levels for result in distances),
            "hash_bits": max(result.hash_bits for result in distances),
        }
        pairs = list(zip(stored.images, current.images, strict=True))
        for metric in metrics:
            values = [metric(before, after, Limits().tile_size_px).value for before, after in pairs]
            figures[metric.name] = KINDS[metric.name].worst(values)
    return Evidence(setting=name, figures=figures, parted=divergence.place)


def proposed(case_id: str, evidence: Sequence[Evidence], margin_db: float) -> Proposal:
    """The thresholds that let all of the evidence pass, with a margin, where those by default don't."""
    tolerance: dict[str, float] = {}
    for name in TOLERANCES:
        values = [
            value for entry in evidence if (value := entry.figures.get(name)) is not None and math.isfinite(value)
        ]
        if values:
            value = _with_margin(name, min(values) if TOLERANCES[name].least else max(values), margin_db)
            if looser_than_default([(name, value)]):
                tolerance[name] = value
    names = ", ".join(dict.fromkeys(entry.setting for entry in evidence if entry.problem is None))
    marker = described(tolerance, f"calibrated over {len(evidence)} runs: {names}") if tolerance else ""
    return Proposal(case_id=case_id, evidence=tuple(evidence), tolerance=tolerance, marker=marker)


def _with_margin(name: str, worst: float, margin_db: float) -> float:
    """A threshold a little looser than the worst that was seen, with no more digits than a person would write."""
    ratio = 10 ** (margin_db / 20)
    most = TOLERANCES[name].most_value
    if name == "psnr_db":
        return float(max(0, math.floor(worst - margin_db)))
    if name in ("ssim", "tile_ssim"):
        return max(0.0, math.floor(100 * (1 - ratio * (1 - worst))) / 100)
    if name == "ssimulacra2":
        return float(max(0, math.floor(100 - ratio * (100 - worst))))
    if name == "hash_bits":
        return min(math.ceil(ratio * worst), int(most))
    if name.endswith("_levels"):
        return min(math.ceil(10 * ratio * worst) / 10, most)
    if worst <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(ratio * worst)) - 1)
    return min(float(f"{math.ceil(ratio * worst / step) * step:.2g}"), most)


def _writing(kind: Kind) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else kind.text(value)


COLUMNS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("psnr_db", "PSNR", lambda value: "equal" if value is None else decibels(value)),
    ("p999_levels", "p99.9", lambda value: f"{value:g}"),
    ("tile_p99_levels", "tile p99", lambda value: f"{value:g}"),
    ("ssim", "SSIM", lambda value: f"{value:.4f}"),
    ("tile_ssim", "tile SSIM", lambda value: f"{value:.4f}"),
    ("colour_levels", "colour", lambda value: f"{value:.2f}"),
    ("seam_levels", "seam", lambda value: f"{value:.1f}"),
    ("hash_bits", "hash", lambda value: f"{value:g}"),
    *((name, kind.words, _writing(kind)) for name, kind in KINDS.items()),
    ("trace_first_rel", "first step", lambda value: share(value or 0.0)),
    ("latents_rel", "later steps", lambda value: share(value or 0.0)),
)
"""Name of the threshold, head of its column, and how its values are written."""


def lines(proposal: Proposal) -> list[str]:
    """A case's evidence as a table, and what to paste."""
    asked = {name for entry in proposal.evidence for name in entry.figures}
    columns = [column for column in COLUMNS if column[0] not in KINDS or column[0] in asked]
    rows = [["run", *(head for _, head, _ in columns), "parts at"]]
    for entry in proposal.evidence:
        if entry.problem is not None:
            rows.append([entry.setting, entry.problem])
            continue
        cells = [write(entry.figures[name]) if name in entry.figures else "-" for name, _, write in columns]
        rows.append([entry.setting, *cells, entry.parted or "-"])
    widths = [
        max(len(row[column]) for row in rows if column < len(row) and len(row) > 2) for column in range(len(rows[0]))
    ]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    if proposal.marker:
        advice = [f"to paste into the marker: {proposal.marker}"]
    else:
        advice = ["the default thresholds let all of these pass: no tolerance is needed"]
    return [proposal.case_id, *(f"  {row}" for row in table), f"  {advice[0]}"]


def written(proposals: Sequence[Proposal]) -> str:
    """The same as JSON."""
    plain: dict[str, Any] = {
        "schema": 1,
        "diffbench": __version__,
        "cases": [
            {
                "id": proposal.case_id,
                "evidence": [dataclasses.asdict(entry) for entry in proposal.evidence],
                "tolerance": proposal.tolerance,
                "marker": proposal.marker,
            }
            for proposal in proposals
        ],
    }
    return json.dumps(_finite(plain), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The value with null for what isn't finite."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
