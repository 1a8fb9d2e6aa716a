"""What the terminal shows of cases and of the whole session: what got worse first, then figures in columns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from pytest_diffbench.records import DECISIONS
from pytest_diffbench.report.failure import failure_text
from pytest_diffbench.report.figures import (
    PASSING,
    STATUSES,
    Saving,
    Status,
    by_gravity,
    further_changes,
    image_figures,
    is_rough,
    node_id,
    save_command,
    savings,
    status_of,
    truncation_text,
    was_refused,
    was_saved,
)
from pytest_diffbench.report.lines import (
    SEPARATOR,
    Line,
    Segment,
    flow,
    for_encoding,
    hang,
    segment,
    spread,
    visible,
    width_of,
)
from pytest_diffbench.report.units import (
    format_bytes,
    format_count,
    format_decibels,
    format_flops,
    format_percent,
    format_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records import CaseReport, SessionReport, Stage, Verdict

__all__ = ["Line", "Segment", "case_lines", "failure_text", "for_encoding", "summary_lines"]

_MARKUP: dict[Status, tuple[str, ...]] = {
    "error": ("red", "bold"),
    "worse": ("red", "bold"),
    "unsure": ("yellow",),
    "incomparable": ("cyan",),
    "unbaselined": ("cyan",),
    "better": ("green",),
    "same": ("green",),
    "saved": ("green",),
    "measured": (),
}
_SHOUTED: frozenset[Status] = frozenset({"error", "worse"})
"""Written in capitals, so that they're found without colour too."""

_STAGE_LABELS: dict[Stage, str] = {
    "text_encode": "text",
    "vae_encode": "encode",
    "denoise": "denoise",
    "vae_decode": "decode",
    "unattributed": "unattributed",
}

_STATUS_WIDTH = max(map(len, STATUSES))
_NAME_AT = 2 + _STATUS_WIDTH + 2
"""Where names begin: behind the status."""

_BODY_AT = 4
"""Where the lines under a name begin."""

_TEXT_AT = _BODY_AT + _STATUS_WIDTH + 2
"""Where the further lines of a message begin."""

_LABEL_WIDTH = 13
_MOST_LISTED = 10
"""Names listed under the table before the rest is only counted."""


def case_lines(report: CaseReport, width: int) -> list[Line]:
    """Draw one case: two to four lines where it passed, more where something has to be said.

    Args:
        report: the case.
        width: columns of the terminal.
    """
    return _Table([report], width, verbose=False).block(report)


def summary_lines(session: SessionReport, width: int, verbose: bool) -> list[Line]:
    """Draw a session: what it ran on, its cases by pipeline with the gravest first, counts, and what to do next.

    Args:
        session: all of it.
        width: columns of the terminal.
        verbose: also show the messages of gates that passed.
    """
    lines = _header(session, width)
    table = _Table(session.cases, width, verbose=verbose)
    for title, reports in _groups(session.cases):
        lines += [[], _title(title, reports, width)]
        for report in reports:
            lines += table.block(report)
    return [*lines, [], *_foot(session, width)]


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """The figures that stand in columns beside a name."""

    calls: str
    flops: str
    memory: str
    total: str

    @classmethod
    def of(cls, report: CaseReport) -> _Row:
        seen = report.observation
        work, memory = seen.work, seen.memory
        calls = ""
        if work is not None and work.denoiser:
            calls = format_count(work.denoiser_calls, "call")
            if seen.guidance is not None and seen.guidance.guided_steps:
                calls += f", {seen.guidance.guided_steps} guided"
        return cls(
            calls=calls,
            flops=format_flops(work.total_flops) if work is not None and work.total_flops else "",
            memory="" if memory is None else format_bytes(memory.peak_bytes) + (" rough" if is_rough(memory) else ""),
            total=format_seconds(seen.run.median_s) if seen.run.rounds else "no rounds",
        )

    def cells(self) -> tuple[str, ...]:
        return self.calls, self.flops, self.memory, self.total


class _Table:
    """Columns that are equal for all cases of a session. Where names leave no room, figures get a line of their own."""

    def __init__(self, reports: Sequence[CaseReport], width: int, *, verbose: bool) -> None:
        self._width = max(width, 40)
        self._verbose = verbose
        self._savings = savings(reports)
        rows = [_Row.of(one).cells() for one in reports]
        self._widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        taken = sum(one + 2 for one in self._widths if one)
        ids = [one.observation.case.id for one in reports]
        names = _fitting_names(ids, self._width - _NAME_AT - taken)
        self._stacked = names is None
        if names is None:
            total_width = self._widths[-1] + 2 if self._widths else 0
            names = _fitting_names(ids, self._width - _NAME_AT - total_width) or {one: one for one in ids}
        self._names = names

    def block(self, report: CaseReport) -> list[Line]:
        """All lines of a case."""
        lines = self._head(report)
        passing = [one for one in report.verdicts if one.decision in PASSING]
        if report.error is not None:
            lines += self._told("error", "", report.error, ())
        elif not report.observation.complete:
            lines += self._told("error", "", "the measurement was interrupted", ())
        if report.saved is not None:
            lines += self._told("unsure" if was_refused(report) else "saved", "", report.saved, ())
        lines += self._verdicts([one for one in by_gravity(report.verdicts) if one.decision not in PASSING])
        if self._verbose:
            lines += self._verdicts(passing, each=True)
        lines += self._figures(report)
        cells = [] if self._verbose else [_code(one) for one in passing]
        lines += flow([*cells, *self._remarks(report)], self._width, _BODY_AT)
        notes = report.observation.notes if self._verbose or report.error is not None else ()
        for note in notes:
            lines += hang([segment(" " * _BODY_AT), segment("note ", "light")], note, self._width, _BODY_AT + 5)
        return lines

    def _head(self, report: CaseReport) -> list[Line]:
        status = status_of(report)
        word = status.upper() if status in _SHOUTED else status
        name = visible(self._names[report.observation.case.id])
        head: Line = [segment("  "), segment(word, *_MARKUP[status]), segment(" " * (_STATUS_WIDTH - len(word) + 2))]
        cells = _Row.of(report).cells()
        shown = list(zip(cells, self._widths, strict=True))
        if self._stacked:
            shown = shown[-1:]
        right: Line = [segment("".join(f"  {cell:>{room}}" for cell, room in shown if room))]
        if width_of(head) + len(name) + width_of(right) <= self._width:
            return [spread([*head, segment(name, "bold")], right, self._width)]
        broken = hang(head, name, self._width, _NAME_AT)
        # The head isn't part of the name, so only the rest is bold.
        lines: list[Line] = [[*line[:-1], segment(line[-1][0], "bold")] for line in broken]
        return [*lines, spread([], right, self._width)]

    def _verdicts(self, verdicts: Sequence[Verdict], *, each: bool = False) -> list[Line]:
        """A message for each verdict; gates that have the same to say share one."""
        groups: dict[object, list[Verdict]] = {}
        for one in verdicts:
            alike = (one.decision, one.reason.partition(".")[2], one.message, one.changes)
            groups.setdefault(one.reason if each else alike, []).append(one)
        lines: list[Line] = []
        for group in groups.values():
            first = group[0]
            code = first.reason
            if len(group) > 1:
                code = f"{', '.join(one.gate for one in group)}: {code.partition('.')[2]}"
            lines += self._told(first.decision, code, first.message, further_changes(first))
        return lines

    def _told(self, status: Status, code: str, message: str, changes: Sequence[str]) -> list[Line]:
        head: Line = [
            segment(" " * _BODY_AT),
            segment(status, *_MARKUP[status]),
            segment(" " * (_STATUS_WIDTH - len(status) + 2)),
        ]
        if code:
            head += [segment(code, "bold"), segment("  ")]
        lines = hang(head, message, self._width, _TEXT_AT)
        for change in changes:
            bullet: Line = [segment(" " * _TEXT_AT), segment("· ", "light")]
            lines += hang(bullet, change, self._width, _TEXT_AT + 2)
        return lines

    def _figures(self, report: CaseReport) -> list[Line]:
        seen = report.observation
        cells: list[Line] = []
        if self._stacked:
            cells += [[segment(cell)] for cell in _Row.of(report).cells()[:-1] if cell]
        stages = seen.run.stage_medians_s
        cells += [_labelled(_STAGE_LABELS[stage], f"{format_seconds(value_s):>7}") for stage, value_s in stages.items()]
        share_rel = seen.layers.attention_rel if seen.layers is not None else None
        if share_rel is not None:
            # Shares of the denoiser's time, from the pass over the layers.
            cells.append(_labelled("attention", format_percent(share_rel)))
            cells.append(_labelled("other", format_percent(1 - share_rel)))
        return flow(cells, self._width, _BODY_AT, segment("  "))

    def _remarks(self, report: CaseReport) -> list[Line]:
        seen = report.observation
        cells: list[Line] = []
        images = image_figures(report)
        if images is not None and not images.same_bits:
            figures: list[Line] = []
            if images.psnr_db is not None:
                figures.append(_labelled("PSNR", format_decibels(images.psnr_db)))
            if images.ssim is not None:
                figures.append(_labelled("SSIM", f"{images.ssim:.4f}"))
            if images.worst_tile_ssim is not None:
                figures.append(_labelled("worst tile", f"{images.worst_tile_ssim:.4f}"))
            cells.append([piece for figure in figures for piece in (segment(", "), *figure)][1:])
        if (truncation := truncation_text(report, self._savings.get(seen.case.id))) is not None:
            cells.append([segment(truncation)])
        detectable_rel = _detectable_rel(report)
        if detectable_rel is not None:
            cells.append([segment(f"{format_percent(detectable_rel, signed=True)} time would have been seen")])
        if self._verbose:
            cells += _more(report)
        return cells


def _more(report: CaseReport) -> list[Line]:
    """Figures that only the verbose summary has."""
    seen = report.observation
    cells = [_labelled("rounds", str(len(seen.run.rounds)))]
    if seen.memory is not None:
        if seen.memory.reserved_bytes is not None:
            cells.append(_labelled("reserved", format_bytes(seen.memory.reserved_bytes)))
        for stage, part in seen.memory.stages.items():
            cells.append(_labelled(f"{_STAGE_LABELS[stage]} peak", format_bytes(part.peak_bytes)))
    if seen.output is not None:
        for image in seen.output.images:
            cells.append(_labelled("image", f"{image.width_px}×{image.height_px} {image.mode}"))
        if not seen.output.rerun.identical:
            cells.append(_labelled("rerun noise", format_decibels(seen.output.rerun.psnr_db)))
    return cells


def _detectable_rel(report: CaseReport) -> float | None:
    """The smallest slowdown that a passing time gate would have seen."""
    for one in report.verdicts:
        value = one.details.get("detectable_rel")
        if one.gate == "time" and one.decision in PASSING and isinstance(value, float):
            return value
    return None


def _labelled(label: str, value: str) -> Line:
    return [segment(f"{label} ", "light"), segment(value)]


def _code(verdict: Verdict) -> Line:
    return [segment(verdict.reason, *_MARKUP[verdict.decision])]


def _fitting_names(ids: Sequence[str], room: int) -> dict[str, str] | None:
    """Names of the cases by id: whole, without folders, or without the file; the longest that fit and stay distinct."""
    for shorten in (str, lambda one: one[one.partition("::")[0].rfind("/") + 1 :], lambda one: one.partition("::")[2]):
        names = {one: shorten(one) or one for one in ids}
        if len(set(names.values())) == len(names) and all(len(visible(one)) <= room for one in names.values()):
            return names
    return None


def _groups(reports: Sequence[CaseReport]) -> list[tuple[str, list[CaseReport]]]:
    """Cases by pipeline and weights, those with the gravest case first, and within them the gravest first."""

    def gravity(report: CaseReport) -> int:
        return STATUSES.index(status_of(report))

    groups: dict[str, list[CaseReport]] = {}
    for report in sorted(reports, key=gravity):
        definition = report.observation.case.definition
        model = f"{definition.model} {definition.weights}{SEPARATOR}" if definition.model is not None else ""
        offload = f"{SEPARATOR}offload {definition.offload}" if definition.offload != "none" else ""
        groups.setdefault(f"{model}{definition.pipeline}{SEPARATOR}{definition.dtype}{offload}", []).append(report)
    return list(groups.items())


def _title(title: str, reports: Sequence[CaseReport], width: int) -> Line:
    found = Counter(status_of(one) for one in reports)
    counts: Line = [segment(f"{format_count(len(reports), 'case')}: ", "light")]
    for number, status in enumerate(one for one in STATUSES if found[one]):
        counts += [segment(", ", "light")] * bool(number)
        counts.append(segment(f"{found[status]} {status}", *_MARKUP[status]))
    return spread([segment(visible(title), "bold")], counts, width)


def _header(session: SessionReport, width: int) -> list[Line]:
    runs = [one.observation.run.environment for one in session.cases]
    facts: list[tuple[str, list[object]]] = [
        ("machine", [one.machine for one in runs]),
        ("device", [one.hardware.get("device") or one.family for one in runs]),
        ("dtype", [one.observation.case.definition.dtype for one in session.cases]),
        ("torch", [one.software.get("torch") for one in runs]),
        ("diffusers", [one.software.get("diffusers") for one in runs]),
        ("diffbench", [session.diffbench]),
    ]
    cells = [
        _labelled(name, ", ".join(visible(str(value)) for value in known))
        for name, values in facts
        if (known := [value for value in dict.fromkeys(values) if value is not None])
    ]
    return flow(cells, width, 0)


def _foot(session: SessionReport, width: int) -> list[Line]:
    lines = flow(_counts(session), width, 0)
    lines[0] = [segment(f"{'verdicts':{_LABEL_WIDTH}}", "light"), *lines[0][1:]]
    if not session.cases:
        lines += _entry("cases", "none was measured", width)
    saved = Counter(one.saved for one in session.cases if was_saved(one) and one.saved is not None)
    if saved:
        lines += _entry("saved", ", ".join(f"{what} ({count})" for what, count in saved.items()), width)
    for one in session.cases:
        if was_refused(one):
            what = f"{one.observation.case.id}: {(one.saved or '').removeprefix('refused: ')}"
            lines += _entry("not saved", what, width, "yellow")
    changed = Counter(change for one in session.cases for change in one.changed_since)
    lines += _entries("changed since", [_counted(what, count, session) for what, count in changed.items()], width)
    lines += _missing(session, width)
    if session.interrupted:
        text = "the session ended early: what is shown was finished before, all else wasn't measured"
        lines += _entry("interrupted", text, width, "yellow", "bold")
    return lines


def _counts(session: SessionReport) -> list[Line]:
    # The first cell makes room for the label.
    cells: list[Line] = [
        [segment(f"{count:,} {decision}", *_MARKUP[decision])]
        for decision in DECISIONS
        if (count := session.counts.get(decision, 0))
    ] or [[segment("none")]]
    cells[0] = [segment(" " * _LABEL_WIDTH), *cells[0]]
    return cells


def _counted(change: str, count: int, session: SessionReport) -> str:
    return change if count == len(session.cases) else f"{change} ({format_count(count, 'case')})"


def _missing(session: SessionReport, width: int) -> list[Line]:
    missing = session.missing_baselines
    if not missing:
        return []
    lines = _entries("no baseline", missing, width, "cyan")
    everything = len(missing) > _MOST_LISTED and len(missing) == len(session.cases)
    nodes = [] if everything else [node_id(one) for one in missing]
    if len(missing) > _MOST_LISTED:
        nodes = [one.partition("::")[0] for one in nodes]
    # Never broken, so that it can be copied.
    lines.append([segment(f"{'to add':{_LABEL_WIDTH}}", "light"), segment(save_command(nodes))])
    return lines


def _entries(label: str, texts: Sequence[str], width: int, *markup: str) -> list[Line]:
    """A label before the first of several texts, of which only the first few are shown."""
    lines: list[Line] = []
    for number, text in enumerate(texts[:_MOST_LISTED]):
        lines += _entry("" if number else label, text, width, *markup)
    if len(texts) > _MOST_LISTED:
        lines += _entry("", f"and {len(texts) - _MOST_LISTED} more", width)
    return lines


def _entry(label: str, text: str, width: int, *markup: str) -> list[Line]:
    head: Line = [segment(f"{label:{_LABEL_WIDTH}} ", *(markup or ("light",)))]
    return hang(head, text, width, _LABEL_WIDTH + 1)
