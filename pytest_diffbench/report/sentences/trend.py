"""Words for a step or a drift of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.history import figure_text
from pytest_diffbench.report.units import format_count, format_percent

if TYPE_CHECKING:
    from pytest_diffbench.records.history import Trend

_COMMIT = 12
_MOST_VERSIONS = 6


def headline(trend: Trend) -> str:
    """What moved, and by how much: `test_a: time.denoise_s +3.1 % (2.4 % to 3.8 %), 1.20 s -> 1.24 s`."""
    subject = trend.case or f"all {trend.cases} cases of {trend.model}"
    span = f"({_amount(trend, trend.low)} to {_amount(trend, trend.high)})" if trend.low != trend.high else ""
    text = f"{subject}: {trend.figure} {_amount(trend, trend.change)} {span}".rstrip()
    if trend.before is not None and trend.after is not None:
        text += f", {figure_text(trend.figure, trend.before)} -> {figure_text(trend.figure, trend.after)}"
    return text


def change_text(trend: Trend) -> str:
    """By how much: `+3.1 %`, of a figure in decibels `-2.5 dB`."""
    return _amount(trend, trend.change)


def when(trend: Trend) -> str:
    """Since when: `since 2026-02-12 at 1c9d2e7a40b1, 9 runs; it may have been 2026-02-11 to 2026-02-13`."""
    commit = f" at {trend.commits[1][:_COMMIT]}" if trend.commits[1] else ""
    if trend.kind == "drift":
        return (
            f"drift since the first runs ({trend.earliest[:10]}), over {format_count(trend.runs, 'run')}; beyond "
            f"half of it since {trend.since[:10]}{commit}"
        )
    text = f"since {trend.since[:10]}{commit}, {format_count(trend.runs, 'run')}"
    if trend.earliest != trend.latest:
        text += f"; it may have been from {trend.earliest[:10]} to {trend.latest[:10]}"
    return text


def certainty(trend: Trend) -> str:
    """How sure it is."""
    if trend.chance <= 0:
        return "the figure has no noise"
    return (
        f"noise alone looks like that in one of {1 / trend.chance:,.0f} nights"
        if trend.chance > 1e-9
        else ("noise alone looks like that in fewer than one of a billion nights")
    )


def suspects(trend: Trend) -> list[str]:
    """What changed with it: the commits between, and versions."""
    old, new = (commit[:_COMMIT] for commit in trend.commits)
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
