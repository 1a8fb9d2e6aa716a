"""Draws single cases for the terminal: a row of figures, what has to be said, the stages, and the verdicts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.report.curve import curve
from pytest_diffbench.report.efficiency import efficiency_of, rate_text
from pytest_diffbench.report.figures import (
    PASSING,
    STATUSES,
    Status,
    detectable_text,
    grouped,
    headline_verdicts,
    image_figures,
    is_rough,
    status_of,
    to_tell,
    truncation_text,
)
from pytest_diffbench.report.lines import Line, flow, hang, labelled, segment, spread, visible, width_of
from pytest_diffbench.report.machine import is_about_machine
from pytest_diffbench.report.sentences.parts import size_text
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.report.sentences.work import active
from pytest_diffbench.report.units import (
    format_bytes,
    format_count,
    format_decibels,
    format_flops,
    format_percent,
    format_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_diffbench.records import CaseReport, Stage, Verdict

MARKUP: dict[Status, tuple[str, ...]] = {
    "error": ("red", "bold"),
    "worse": ("red", "bold"),
    "refused": ("red", "bold"),
    "unsure": ("yellow",),
    "incomparable": ("cyan",),
    "unbaselined": ("cyan",),
    "partial": ("cyan",),
    "better": ("green",),
    "same": ("green",),
    "saved": ("green",),
    "measured": (),
}
"""Colour is for decisions only; figures are plain, and their labels light."""

_SHOUTED: frozenset[Status] = frozenset({"error", "worse", "refused"})
"""Written in capitals, so that they're found without colour too."""

_STAGE_LABELS: dict[Stage, str] = {
    "text_encode": "text",
    "vae_encode": "encode",
    "denoise": "denoise",
    "vae_decode": "decode",
    "unattributed": "unattributed",
}

_LEAST_WIDTH = 40
_STATUS_WIDTH = max(map(len, STATUSES))

_NAME_AT = 2 + _STATUS_WIDTH + 2
"""Where names begin: behind the status."""

_BODY_AT = 4
"""Where the lines under a name begin."""

_TEXT_AT = _BODY_AT + _STATUS_WIDTH + 2
"""Where the further lines of a message begin."""

_GAP = segment("  ")


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """The figures that stand in columns beside a name."""

    calls: str
    flops: str
    memory: str
    total: str

    @classmethod
    def of(cls, report: CaseReport) -> _Row:
        observation = report.observation
        work, memory = observation.work, observation.memory
        calls = ""
        if work is not None and work.denoiser:
            calls = format_count(work.denoiser_calls, "call")
            if observation.guidance is not None and observation.guidance.guided_steps:
                calls += f", {observation.guidance.guided_steps:>{len(str(work.steps))}} guided"
        return cls(
            calls=calls,
            flops=format_flops(work.total_flops) if work is not None and work.total_flops else "",
            memory="" if memory is None else format_bytes(memory.peak_bytes) + (" rough" if is_rough(memory) else ""),
            total=format_seconds(observation.run.median_s) if observation.run.rounds else "no rounds",
        )

    def cells(self) -> tuple[str, ...]:
        return self.calls, self.flops, self.memory, self.total


class Table:
    """Columns that are equal for all cases of a session. Long names push the figures to a line below."""

    def __init__(
        self, reports: Sequence[CaseReport], width: int, *, verbose: bool, explained: Collection[str] = ()
    ) -> None:
        self._width = max(width, _LEAST_WIDTH)
        self._verbose = verbose
        self._explained = () if verbose else explained
        rows = [_Row.of(report).cells() for report in reports]
        self._widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        taken = sum(width + 2 for width in self._widths if width)
        ids = [report.observation.case.id for report in reports]
        names = _fitting_names(ids, self._width - _NAME_AT - taken)
        self._stacked = names is None
        if names is None:
            total_width = self._widths[-1] + 2 if self._widths else 0
            names = _fitting_names(ids, self._width - _NAME_AT - total_width) or {case_id: case_id for case_id in ids}
        self._names = names

    def block(self, report: CaseReport) -> list[Line]:
        """All lines of a case."""
        lines = [*self._head(report), *self._outcome(report)]
        verdicts = to_tell(report)
        # what is true of the machine is said once, at the end
        machine = [] if self._verbose else [verdict for verdict in verdicts if is_about_machine(verdict)]
        explained: list[Verdict] = []
        if report.observation.case.id in self._explained:
            explained = headline_verdicts(report)
            lines += self._named(explained)
        lines += self._verdicts([verdict for verdict in verdicts if verdict not in (*machine, *explained)])
        passing = [verdict for verdict in report.verdicts if verdict.decision in PASSING]
        if self._verbose:
            lines += self._verdicts(passing)
        lines += self._stages(report)
        codes = [] if self._verbose else [_code(verdict) for verdict in (*machine, *passing)]
        lines += flow([*codes, *self._remarks(report)], self._width, _BODY_AT, _GAP)
        for remark in report.observation.remarks:
            lines += hang([segment(" " * _BODY_AT), segment("remark ", "yellow")], remark, self._width, _BODY_AT + 7)
        if left := report.observation.left_behind:
            lines += hang(
                [segment(" " * _BODY_AT), segment("left behind ", "yellow")],
                "; ".join(left),
                self._width,
                _BODY_AT + 12,
            )
        for note in report.observation.notes if self._verbose or report.error is not None else ():
            lines += hang([segment(" " * _BODY_AT), segment("note ", "light")], note, self._width, _BODY_AT + 5)
        return lines

    def _outcome(self, report: CaseReport) -> list[Line]:
        """What became of a case that broke off or was to be saved."""
        if report.error is not None:
            return self._message_lines("error", "", report.error, ())
        if not report.observation.complete:
            return self._message_lines("error", "", "the measurement was interrupted", ())
        if report.saved is None:
            return []
        if report.saved.refused:
            return self._message_lines("refused", "", report.saved.why, ())
        return self._message_lines("saved", "", saved_text(report.saved), ())

    def _head(self, report: CaseReport) -> list[Line]:
        status = status_of(report)
        word = status.upper() if status in _SHOUTED else status
        name = visible(self._names[report.observation.case.id])
        head: Line = [segment("  "), segment(word, *MARKUP[status]), segment(" " * (_STATUS_WIDTH - len(word) + 2))]
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

    def _verdicts(self, verdicts: Sequence[Verdict]) -> list[Line]:
        """A message for each verdict; gates that say the same share one."""
        lines: list[Line] = []
        for heading, verdict in grouped(verdicts):
            lines += self._message_lines(
                verdict.decision, heading, verdict.message, self._changes(verdict), detectable_text(verdict)
            )
        return lines

    def _named(self, verdicts: Sequence[Verdict]) -> list[Line]:
        """Verdicts whose messages stand above by their reasons alone, in a line for each decision."""
        lines: list[Line] = []
        for decision in dict.fromkeys(verdict.decision for verdict in verdicts):
            codes = [[segment(verdict.reason, "bold")] for verdict in verdicts if verdict.decision == decision]
            (first, *others) = flow([*codes, [segment("(explained above)", "light")]], self._width, _TEXT_AT, _GAP)
            lines += [[*_decision(decision), *first[1:]], *others]
        return lines

    def _changes(self, verdict: Verdict) -> Sequence[str]:
        """All that changed where it got worse; elsewhere the first thing is enough, and too few runs say nothing."""
        changes: Sequence[str] = verdict.changes
        drawn = curve(verdict)
        if verdict.decision != "worse" and not self._verbose:
            changes = [] if verdict.reason in ("time.few_runs", "time.few_days") else changes[:1]
        return changes if drawn is None else [*changes, drawn]

    def _message_lines(
        self, status: Status, code: str, message: str, changes: Sequence[str], detectable: str | None = None
    ) -> list[Line]:
        head = _decision(status)
        if code:
            head += [segment(code, "bold"), segment("  " if detectable is None else f" ({detectable})  ")]
        lines = hang(head, message, self._width, _TEXT_AT)
        for change in changes:
            bullet: Line = [segment(" " * _TEXT_AT), segment("· ", "light")]
            lines += hang(bullet, change, self._width, _TEXT_AT + 2)
        return lines

    def _stages(self, report: CaseReport) -> list[Line]:
        observation = report.observation
        stages = observation.run.stage_medians_s.items()
        cells = [labelled(_STAGE_LABELS[stage], f"{format_seconds(value_s):>7}") for stage, value_s in stages]
        layers: list[Line] = []
        share_rel = observation.layers.attention_rel if observation.layers is not None else None
        if share_rel is not None:
            # Shares of the denoiser's time, from the pass over the layers.
            layers = [
                labelled("attention", format_percent(share_rel)),
                labelled("other", format_percent(1 - share_rel)),
            ]
        if not self._stacked:
            return flow([*cells, *layers], self._width, _BODY_AT, _GAP)
        row = [[segment(cell)] for cell in _Row.of(report).cells()[:-1] if cell]
        return flow([*row, *layers], self._width, _BODY_AT, _GAP) + flow(cells, self._width, _BODY_AT, _GAP)

    def _remarks(self, report: CaseReport) -> list[Line]:
        cells: list[Line] = []
        images = image_figures(report)
        if images:
            figures = [labelled(METRICS[name].label, METRICS[name].text(value)) for name, value in images.items()]
            cells.append([piece for figure in figures for piece in (segment(", "), *figure)][1:])
        if (truncation := truncation_text(report)) is not None:
            cells.append([segment(truncation)])
        work = report.observation.work
        if work is not None:
            cells += [[segment(active(engagement))] for engagement in work.engagements if not engagement.inert]
        if self._verbose:
            cells += _more(report)
        return cells


def _decision(status: Status) -> Line:
    """The beginning of a line about a verdict."""
    padding = segment(" " * (_STATUS_WIDTH - len(status) + 2))
    return [segment(" " * _BODY_AT), segment(status, *MARKUP[status]), padding]


def _more(report: CaseReport) -> list[Line]:
    """Figures that only the verbose summary has."""
    observation = report.observation
    cells = [labelled("rounds", str(len(observation.run.rounds)))]
    if observation.run.warmup is not None and observation.run.warmup.compile_s is not None:
        cells.append(labelled("compiled for", format_seconds(observation.run.warmup.compile_s)))
    efficiency = efficiency_of(observation)
    if efficiency is not None:
        cells += [labelled(_STAGE_LABELS[stage], rate_text(efficiency, stage)) for stage in efficiency.flops_per_s]
        if efficiency.images_per_s is not None:
            cells.append(labelled("images/s", f"{efficiency.images_per_s:.3g}"))
        if efficiency.energy_per_image_j is not None:
            cells.append(labelled("J/image", f"{efficiency.energy_per_image_j:.3g}"))
    if observation.memory is not None:
        if observation.memory.reserved_bytes is not None:
            cells.append(labelled("reserved", format_bytes(observation.memory.reserved_bytes)))
        for stage, part in observation.memory.stages.items():
            cells.append(labelled(f"{_STAGE_LABELS[stage]} peak", format_bytes(part.peak_bytes)))
    if observation.output is not None:
        cells += [
            labelled("image", f"{image.width_px}×{image.height_px} {image.mode}")
            for image in observation.output.images
        ]
        cells += [labelled(part.kind, size_text(part)) for part in observation.output.parts]
        if not observation.output.rerun.identical:
            cells.append(labelled("rerun noise", format_decibels(observation.output.rerun.psnr_db)))
    return cells


def _code(verdict: Verdict) -> Line:
    """A passing gate's reason; the time gate's with the smallest slowdown that it would have seen."""
    code: Line = [segment(verdict.reason, *MARKUP[verdict.decision])]
    if (detectable := detectable_text(verdict)) is not None:
        code.append(segment(f" ({detectable})"))
    return code


def _fitting_names(ids: Sequence[str], room: int) -> dict[str, str] | None:
    """Names by id: whole, without folders, or without the file; the longest that fit and stay distinct."""
    for shorten in (
        str,
        lambda case_id: case_id[case_id.partition("::")[0].rfind("/") + 1 :],
        lambda case_id: case_id.partition("::")[2],
    ):
        names = {case_id: shorten(case_id) or case_id for case_id in ids}
        if len(set(names.values())) == len(names) and all(len(visible(name)) <= room for name in names.values()):
            return names
    return None
