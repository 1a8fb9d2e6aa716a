"""What changed in a baseline: which figures, from what to what; and how that is drawn on a terminal."""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.report.figures import image_figures, verdict_of
from pytest_diffbench.report.lines import Line, hang, segment
from pytest_diffbench.report.sentences import baseline_diff as sentences
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.records import Baseline, CaseReport, Run

What: TypeAlias = Literal["added", "removed", "redefined", "new_generation", "changed"]
"""What became of a baseline: another definition of the call, another accepted result, or anything else."""

_MARKUP: dict[What, str] = {
    "added": "green",
    "removed": "red",
    "redefined": "yellow",
    "new_generation": "yellow",
    "changed": "cyan",
}
_LABEL_WIDTH = 12


@dataclasses.dataclass(frozen=True, slots=True)
class CaseDiff:
    """What changed in the baseline of a folder, `<machine>/<case>`: in a word, and in rows of label and text."""

    name: str
    case_id: str
    what: What
    rows: tuple[tuple[str, str], ...]


def case_diff(name: str, before: Baseline | None, after: Baseline | None, report: CaseReport | None) -> CaseDiff:
    """Describe what changed in a baseline; one side may be missing, and `report` is the newer judged by the older."""
    if after is None or report is None:
        assert before is not None
        return CaseDiff(name, before.case.id, "removed", tuple(_standing(before)))
    if before is None:
        return CaseDiff(name, after.case.id, "added", (*_standing(after), *_history(None, after)))
    definition = sentences.definition(before.case.definition, after.case.definition)
    redefined = [("definition", text) for text in definition]
    anew = before.generation != after.generation or before.output != after.output or before.work != after.work
    what: What = "redefined" if redefined else "new_generation" if anew else "changed"
    rows = (*redefined, *_changes(before, after, report), *_history(before, after))
    return CaseDiff(name, after.case.id, what, rows)


def _standing(baseline: Baseline) -> Iterator[tuple[str, str]]:
    """What a baseline that stands alone holds."""
    yield "generation", str(baseline.generation)
    if baseline.work is not None:
        work = baseline.work
        yield "work", f"{format_count(work.denoiser_calls, 'denoiser call')}, {format_flops(work.total_flops)}"
    if baseline.output is not None:
        yield "output", sentences.returned(baseline.output)
    if baseline.memory is not None:
        yield "memory", format_bytes(baseline.memory.peak_bytes)
    if baseline.times:
        yield "time", f"{format_seconds(_median_s(baseline.times))} ({format_count(len(baseline.times), 'run')})"


def _changes(before: Baseline, after: Baseline, report: CaseReport) -> Iterator[tuple[str, str]]:
    if before.generation != after.generation:
        yield "generation", f"{before.generation} -> {after.generation}"
    if before.work != after.work:
        yield from _gate("work", report)
        works = [side.work for side in (before, after)]
        if works[0] is not None and works[1] is not None:
            yield from sentences.counts(works[0], works[1])
    if before.guidance != after.guidance:
        yield "guidance", f"{sentences.guidance(before.guidance)} -> {sentences.guidance(after.guidance)}"
    if before.output != after.output:
        yield from _gate("output", report)
        figures = image_figures(report)
        if figures:
            yield "images", sentences.metrics(figures)
    if before.memory is not None and after.memory is not None and before.memory != after.memory:
        peaks = before.memory.peak_bytes, after.memory.peak_bytes
        yield "memory", sentences.change(*peaks, format_bytes(peaks[0]), format_bytes(peaks[1]))
    yield from _times(before, after)


def _gate(gate: Literal["work", "output"], report: CaseReport) -> Iterator[tuple[str, str]]:
    if report.error is not None:
        yield gate, report.error
        return
    verdict = verdict_of(report, gate)
    if verdict is None:
        return
    yield gate, f"{verdict.decision} {verdict.reason}: {verdict.message}"
    for change in verdict.changes:
        yield "", change


def _times(before: Baseline, after: Baseline) -> Iterator[tuple[str, str]]:
    """Times of the runs that are new, beside those that counted before."""
    known = {run.id for run in before.runs}
    new = [run for run in after.timed_runs if run.id not in known]
    gone = len([run for run in before.runs if run.id not in {run.id for run in after.runs}])
    if new or gone:
        yield "runs", sentences.runs(len(new), gone, len(after.timed_runs))
    if new and before.times:
        old_s, new_s = _median_s(before.times), _median_s(new)
        yield "time", sentences.change(old_s, new_s, format_seconds(old_s), format_seconds(new_s))
    elif new:
        yield "time", format_seconds(_median_s(new))
    if before.times_from != after.times_from and after.times_from is not None:
        yield "time", sentences.times_anew(after.times_from in {run.id for run in new})


def _median_s(runs: Sequence[Run]) -> float:
    return statistics.geometric_mean(run.median_s for run in runs)


def _history(before: Baseline | None, after: Baseline) -> Iterator[tuple[str, str]]:
    """Entries of the history that are new."""
    known = before.tolerances if before is not None else ()
    for change in after.tolerances:
        if change not in known:
            yield "tolerance", sentences.tolerance(change)
    accepted = before.acceptances if before is not None else ()
    for acceptance in after.acceptances:
        if acceptance not in accepted:
            yield "accepted", sentences.acceptance(acceptance)


def diff_lines(changes: Sequence[CaseDiff], width: int) -> list[Line]:
    """Draw what changed in baselines, a block for each, and a count."""
    lines: list[Line] = []
    for change in changes:
        label = sentences.WHAT[change.what]
        lines.append([segment(f"{label:16}", _MARKUP[change.what], "bold"), segment(change.case_id, "bold")])
        lines.append([segment(f"  {change.name}", "light")])
        for name, text in change.rows:
            lines += hang([segment(f"  {name:{_LABEL_WIDTH}}", "light")], text, width, _LABEL_WIDTH + 2)
    return [*lines, [segment(sentences.total([change.what for change in changes]), "bold")]]
