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
from pytest_diffbench.judge.output.loosening import TOLERANCES, looser_than_default
from pytest_diffbench.judge.output.parts import compared_parts, not_kept
from pytest_diffbench.judge.trace.divergence import divergence_threshold_rel, find_divergence, largest_rel
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS, OPTIONAL
from pytest_diffbench.report.units import format_distance
from pytest_diffbench.session.extra_metrics import Asked, metrics_named
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Output
    from pytest_diffbench.records.artifacts import Artifacts, Reference

UNCHANGED = "as it is"
_MOST_OUTPUT = 15
"""Lines of a run that failed which are worth showing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """A way to run the tests: its name in the table, options of pytest, and variables that are set for it."""

    name: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How far one run of a case was from the first.

    Attributes:
        setting: its name.
        figures: the worst image's, the worst part's of other kinds, and the trace's, by the names of `TOLERANCES`;
            infinite decibels are None.
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


def metrics_asked(names: Sequence[str], lpips_backbone: Path | None) -> tuple[ImageMetric, ...]:
    """Metrics of other packages, by names of `OPTIONAL`; the backbone is torchvision's AlexNet.

    Raises:
        DiffbenchError: one can't be had.
    """
    return metrics_named(names, lpips_backbone, Asked("diffbench calibrate", "--metrics", "--lpips-backbone FILE"))


def calibrate(
    tests: Sequence[str],
    settings: Sequence[Setting],
    margin_db: float,
    progress: Callable[[str], None],
    metrics: Sequence[ImageMetric] = (),
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
    metrics: Sequence[ImageMetric],
) -> Proposal:
    evidence = tuple(
        _compared(setting.name, runs[case_id], first, metrics)
        if case_id in runs
        else Evidence(setting=setting.name, problem="the case wasn't measured")
        for setting, runs in others
    )
    return proposed(case_id, evidence, margin_db)


def _compared(name: str, run: Reference, first: Reference, metrics: Sequence[ImageMetric]) -> Evidence:
    from pytest_diffbench.outputs.metrics import distance

    now, base = run.baseline.output, first.baseline.output
    if now is None or base is None:
        return Evidence(setting=name, problem="there is no output to compare")
    current, stored = run.artifacts(), first.artifacts()
    if [image.shape for image in current.images] != [image.shape for image in stored.images]:
        return Evidence(setting=name, problem="number or size of the images differ")
    if [(part.kind, part.shape) for part in now.parts] != [(part.kind, part.shape) for part in base.parts]:
        return Evidence(setting=name, problem="number, kind or shape of the parts differ")
    if not_kept(now, base, current, stored) is not None:
        return Evidence(setting=name, problem="values of a part that differs aren't kept")
    dtype = first.baseline.case.definition.dtype
    threshold_rel = divergence_threshold_rel(dtype, now.rerun, base.rerun, Limits())
    divergence = find_divergence(current.trace, stored.trace, threshold_rel)
    first_rel, later_rel = largest_rel(divergence)
    figures: dict[str, float | None] = {"latents_rel": later_rel, "trace_first_rel": first_rel}
    pairs = zip(current.images, stored.images, strict=True)
    distances = [distance(new, old, Limits().tile_size_px, metrics) for new, old in pairs]
    for metric in distances[0] if distances else ():
        worst = METRICS[metric].worst(measured[metric].value for measured in distances)
        figures[metric] = None if METRICS[metric].decibels and math.isinf(worst) else worst
    figures |= _of_parts(now, base, current, stored)
    return Evidence(setting=name, figures=figures, parted=divergence.place)


def _of_parts(now: Output, base: Output, current: Artifacts, stored: Artifacts) -> dict[str, float | None]:
    """The worst part's value of each metric of the kinds that there are; that of equal parts where none differs."""
    found: dict[str, list[float]] = {}
    for part in compared_parts(now, base, current, stored):
        for figure in part.comparison.figures:
            found.setdefault(figure.metric, []).append(figure.value)
    present = {part.kind for part in now.parts}
    names = [metric.name for name, kind in KINDS.items() if name in present for metric in kind.metrics]
    figures: dict[str, float | None] = {}
    for name in dict.fromkeys(names):
        metric = PART_METRICS[name]
        worst = metric.worst(found.get(name, [metric.best]))
        figures[name] = None if metric.decibels and worst == math.inf else worst
    return figures


def proposed(case_id: str, evidence: Sequence[Evidence], margin_db: float) -> Proposal:
    """The thresholds that let all of the evidence pass, with a margin, where those by default don't."""
    tolerance: dict[str, float] = {}
    for name in TOLERANCES:
        seen = [value for one in evidence if (value := one.figures.get(name)) is not None and math.isfinite(value)]
        if seen:
            value = _with_margin(name, min(seen) if TOLERANCES[name].is_least else max(seen), margin_db)
            if looser_than_default([(name, value)]):
                tolerance[name] = value
    names = ", ".join(dict.fromkeys(one.setting for one in evidence if one.problem is None))
    marker = _marker(tolerance, f"calibrated over {len(evidence)} runs: {names}") if tolerance else ""
    return Proposal(case_id=case_id, evidence=tuple(evidence), tolerance=tolerance, marker=marker)


def _marker(tolerance: Mapping[str, float], reason: str) -> str:
    """The arguments of a marker that give these thresholds."""
    inner = ", ".join(f'"{name}": {value:g}' for name, value in tolerance.items())
    return f'tolerance={{{inner}}}, reason="{reason}"'


def _with_margin(name: str, worst: float, margin_db: float) -> float:
    """A threshold a little looser than the worst that was measured, with no more digits than a person would write."""
    ratio = 10 ** (margin_db / 20)
    metric = METRICS.get(name) or PART_METRICS.get(name)
    steps_per_unit = metric.steps_per_unit if metric is not None else None
    if metric is None or steps_per_unit is None:
        if worst <= 0:
            return 0.0
        step = 10.0 ** (math.floor(math.log10(ratio * worst)) - 1)
        return min(float(f"{math.ceil(ratio * worst / step) * step:.2g}"), TOLERANCES[name].largest)
    # what rounding left behind the ninth digit must not move a whole step
    steps = round(metric.value_of(ratio * metric.error(worst)) * steps_per_unit, 9)
    value = (math.floor(steps) if metric.higher_is_better else math.ceil(steps)) / steps_per_unit
    value = min(max(value, 0.0), metric.largest)
    return int(value) if metric.whole else value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table: the threshold that it is of, its head, and what writes a value."""

    name: str
    head: str
    write: Callable[[float | None], str]


COLUMNS = (
    *(
        Column(name=name, head=metric.label, write=metric.text)
        for name, metric in (*METRICS.items(), *PART_METRICS.items())
    ),
    Column(name="trace_first_rel", head="first step", write=lambda rel: format_distance(rel or 0.0)),
    Column(name="latents_rel", head="later steps", write=lambda rel: format_distance(rel or 0.0)),
)


def lines(proposal: Proposal) -> list[str]:
    """A case's evidence as a table, and what to paste."""
    measured = {name for evidence in proposal.evidence for name in evidence.figures}
    columns = [
        column
        for column in COLUMNS
        if column.name in measured or (column.name not in OPTIONAL and column.name not in PART_METRICS)
    ]
    if measured & PART_METRICS.keys():  # a film has no images, and twenty columns are enough
        columns = [column for column in columns if column.name in measured]
    rows = [["run", *(column.head for column in columns), "diverges at"]]
    for evidence in proposal.evidence:
        if evidence.problem is not None:
            rows.append([evidence.setting, evidence.problem])
            continue
        cells = [
            column.write(evidence.figures[column.name]) if column.name in evidence.figures else "-"
            for column in columns
        ]
        rows.append([evidence.setting, *cells, evidence.parted or "-"])
    widths = [
        max(len(row[column]) for row in rows if column < len(row) and len(row) > 2) for column in range(len(rows[0]))
    ]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    if proposal.marker:
        advice = [f"to paste into the marker: {proposal.marker}"]
    else:
        advice = ["all of these pass with the default thresholds: no tolerance is needed"]
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
