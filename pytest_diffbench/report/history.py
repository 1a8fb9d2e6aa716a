"""Draws what a history holds: its sessions, the figures of a case over time, and their steps and drifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import BARS, SEPARATOR, Line, hang, segment
from pytest_diffbench.report.units import format_bytes, format_count, format_flops, format_percent, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.records.history import HistoryRun, HistorySession, Trend


_LATEST = 30
"""Values that a strip has: the newest ones."""

_SHORT_COMMIT = 12


def figure_text(name: str, value: float) -> str:
    """A figure in its unit, which its name tells."""
    if name.endswith("_s"):
        return format_seconds(value)
    if name.endswith("_bytes"):
        return format_bytes(round(value))
    if name == "work.flops":
        return format_flops(round(value))
    if name.endswith("_db"):
        return f"{value:.1f} dB"
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 1 else f"{value:.4g}"


def strip(values: Sequence[float]) -> str:
    """A curve of the newest values in one line, from their least to their largest one; empty without any."""
    shown = values[-_LATEST:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high <= low:
        return BARS[0] * len(shown)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in shown)


def added_line(path: str, added: int, known: int) -> Line:
    """What became of a session that was added."""
    text = f"{format_count(added, 'run')} added" + (f", {known} there already" if known else "")
    return [segment(f"{path}: "), segment(text, "bold")]


def session_lines(sessions: Sequence[HistorySession], width: int) -> list[Line]:
    """A line for each session, oldest first, and a count."""
    lines: list[Line] = []
    for session in sessions:
        parts = [
            session.started.replace("T", " ")[:16],
            format_count(session.cases, "case"),
            *([f"{session.worse} worse"] if session.worse else []),
            *([", ".join(commit[:_SHORT_COMMIT] for commit in session.commits)] if session.commits else []),
            ", ".join(session.machines),
            *(["interrupted"] if session.interrupted else []),
        ]
        text = SEPARATOR.join(parts)
        lines.append([segment(text if len(text) <= max(width, 60) else f"{text[: max(width, 60) - 1]}…")])
    return [*lines, [segment(format_count(len(sessions), "session"), "bold")]]


def case_lines(runs: Sequence[HistoryRun], width: int) -> list[Line]:
    """The figures of a case on each machine: the newest value, the range, and a strip of the newest ones."""
    lines: list[Line] = []
    if not runs:
        return [[segment("no runs", "bold")]]
    lines.append([segment(runs[0].case, "bold")])
    for machine in dict.fromkeys(run.machine for run in runs):
        there = [run for run in runs if run.machine == machine]
        span = f"{there[0].started[:10]} to {there[-1].started[:10]}"
        lines.append([segment(f"{machine}{SEPARATOR}{format_count(len(there), 'run')}, {span}", "cyan")])
        names = dict.fromkeys(name for run in there for name in run.figures)
        for name in sorted(names):
            values = [run.figures[name] for run in there if name in run.figures]
            low, high, latest = (figure_text(name, value) for value in (min(values), max(values), values[-1]))
            head = f"  {name:26} {latest:>12}  "
            spread = low if low == high else f"{low} to {high}"
            drawn = strip(values)[-max(width - len(head) - len(spread) - 2, 8) :]
            lines.append([segment(head), segment(spread, "light"), segment(f"  {drawn}")])
        lines.append([segment("  " + _verdict_text(there[-1]), "light")])
    return lines


def _verdict_text(run: HistoryRun) -> str:
    verdicts = ", ".join(f"{gate} {verdict}" for gate, verdict in run.verdicts.items())
    commit = f" at {run.commit[:_SHORT_COMMIT]}" if run.commit else ""
    return f"latest{commit}: {run.error or verdicts or 'not judged'}"


_MOST_VERSIONS = 6


def trend_headline(trend: Trend) -> str:
    """What moved, and by how much: `test_a: time.denoise_s +3.1 % (2.4 % to 3.8 %), 1.20 s -> 1.24 s`."""
    subject = trend.case or f"all {trend.cases} cases of {trend.model}"
    span = f"({_amount(trend, trend.low)} to {_amount(trend, trend.high)})" if trend.low != trend.high else ""
    text = f"{subject}: {trend.figure} {_amount(trend, trend.change)} {span}".rstrip()
    if trend.before is not None and trend.after is not None:
        text += f", {figure_text(trend.figure, trend.before)} -> {figure_text(trend.figure, trend.after)}"
    return text


def trend_change(trend: Trend) -> str:
    """By how much: `+3.1 %`, of a figure in decibels `-2.5 dB`."""
    return _amount(trend, trend.change)


def trend_since(trend: Trend) -> str:
    """Since when: `since 2026-02-12 at 1c9d2e7a40b1, 9 runs; it may have been 2026-02-11 to 2026-02-13`."""
    commit = f" at {trend.commits[1][:_SHORT_COMMIT]}" if trend.commits[1] else ""
    if trend.kind == "drift":
        return (
            f"drift since the first runs ({trend.earliest[:10]}), over {format_count(trend.runs, 'run')}; beyond "
            f"half of it since {trend.since[:10]}{commit}"
        )
    text = f"since {trend.since[:10]}{commit}, {format_count(trend.runs, 'run')}"
    if trend.earliest != trend.latest:
        text += f"; it may have been from {trend.earliest[:10]} to {trend.latest[:10]}"
    return text


def trend_certainty(trend: Trend) -> str:
    """How sure it is."""
    if trend.chance <= 0:
        return "the figure has no noise"
    return (
        f"noise alone looks like that in one of {1 / trend.chance:,.0f} nights"
        if trend.chance > 1e-9
        else ("noise alone looks like that in fewer than one of a billion nights")
    )


def trend_suspects(trend: Trend) -> list[str]:
    """What changed with it: the commits between, and versions."""
    old, new = (commit[:_SHORT_COMMIT] for commit in trend.commits)
    texts = [f"commits {old}..{new}"] if old and new and old != new else []
    versions = list(trend.changed_since[:_MOST_VERSIONS])
    if left := len(trend.changed_since) - len(versions):
        versions.append(f"{left} more")
    texts += [", ".join(versions)] if versions else []
    return [f"changed with it: {'; '.join(texts)}"] if texts else ["nothing that is recorded changed with it"]


def _amount(trend: Trend, change: float) -> str:
    if trend.relative:
        return format_percent(change, signed=True)
    return f"{change:+.3g} dB" if trend.figure.endswith("_db") else f"{change:+.3g}"


_INDENT = 8


def trend_lines(trends: Sequence[Trend], series: int, width: int) -> list[Line]:
    """Draw trends, and count them beside the number of series that were looked at."""
    lines: list[Line] = []
    for trend in trends:
        label, markup = ("worse", ("red", "bold")) if trend.worse else ("better", ("green",))
        lines += hang([segment(f"{label:{_INDENT}}", *markup)], trend_headline(trend), width, _INDENT)
        for text in (trend_since(trend), trend_certainty(trend), *trend_suspects(trend)):
            lines += hang([segment(" " * _INDENT)], text, width, _INDENT)
    worse = sum(trend.worse for trend in trends)
    return [*lines, [segment(f"{series:,} series: {worse} worse, {len(trends) - worse} better", "bold")]]
