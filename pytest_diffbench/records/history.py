"""What a history gives back: sessions, runs with their figures, and the series of one figure."""

from __future__ import annotations

from typing import Literal

from pytest_diffbench.records.base import Count, Fact, Record

NO_DIFFERENCE_DB = 200.0
"""What stands for the infinite PSNR of equal images, so that a series has it."""

TIMES = "time."
"""What the names of times begin with."""

PACES = "pace."
"""What the names of the machine's pace begin with."""

TOTAL_BY_PACE = "time.total_by_pace"
"""Name of the total time over the pace beside it."""


class HistorySession(Record, frozen=True, kw_only=True):
    """A session in a history.

    Attributes:
        started: UTC, ISO 8601, as is `finished`.
        diffbench: version of the plugin.
        interrupted: it ended early.
        cases: runs that came with it.
        machines: classes of machines.
        commits: of the project.
        worse: verdicts.
    """

    started: str
    finished: str
    diffbench: str
    interrupted: bool
    cases: Count
    machines: tuple[str, ...]
    commits: tuple[str, ...]
    worse: Count


class HistoryRun(Record, frozen=True, kw_only=True):
    """One measurement of a case.

    Attributes:
        case: its id.
        run: id of the run.
        started: UTC, ISO 8601.
        model: and weights; of a pipeline without a name its class.
        machine: class of the machine.
        commit: of the project; None where that isn't known.
        definition: digest of the definition of the call.
        software: versions.
        saved: what became of it as a baseline: `created`, `added` ...; None where it wasn't to be saved.
        error: why it broke off.
        verdicts: by gate, the decision with the reason.
        figures: by name, see `store.history_figures`.
    """

    case: str
    run: str
    started: str
    model: str
    machine: str
    commit: str | None
    definition: str
    software: dict[str, Fact]
    saved: str | None
    error: str | None
    verdicts: dict[str, str]
    figures: dict[str, float]


class Series(Record, frozen=True, kw_only=True):
    """One figure of one case on one class of machine, oldest first; all tuples are as long as `values`.

    Attributes:
        case: its id.
        machine: class of the machine.
        figure: its name, see `store.history_figures`.
        model: and weights.
        started: when each run began: UTC, ISO 8601.
        commits: of the project; empty where one isn't known.
        software: versions as JSON, which few readers need.
        saved: what became of each run as a baseline; empty where it wasn't to be saved.
        values: in the figure's unit.
    """

    case: str
    machine: str
    figure: str
    model: str
    started: tuple[str, ...]
    commits: tuple[str, ...]
    software: tuple[str, ...]
    saved: tuple[str, ...]
    values: tuple[float, ...]
    cases: Count = 1
    """That it is of: more than one for what all cases of a model have in common, whose `case` is empty."""


class Trend(Record, frozen=True, kw_only=True):
    """A change or a drift of a figure.

    Attributes:
        kind: a `step` from one night to the next, or a `drift` since the first nights.
        case: its id; empty for all cases of a model.
        cases: number of cases.
        model: and weights.
        machine: class of the machine.
        figure: its name.
        worse: the figure moved to its bad side.
        change: relative, .03 is 3 %; of a figure in decibels or levels the difference.
        relative: whether `change` is.
        low: end of the interval of `change`, of 95 %; `high` the other one.
        before: mean before, in the figure's unit; None for all cases of a model.
        after: mean after.
        since: when the first run after it began; of a drift the newest run that is no further than half of it.
        earliest: it may have been as early; `latest` as late.
        runs: values since then.
        chance: probability that noise alone looks like that in one night.
        commits: before it and of the first run after it; empty where one isn't known.
        changed_since: versions that changed with it: `torch 2.12.0 -> 2.13.0`.
    """

    kind: Literal["step", "drift"]
    case: str
    cases: Count = 1
    model: str
    machine: str
    figure: str
    worse: bool
    change: float
    relative: bool = True
    low: float
    high: float
    before: float | None = None
    after: float | None = None
    since: str
    earliest: str
    latest: str
    runs: Count
    chance: float
    commits: tuple[str, str] = ("", "")
    changed_since: tuple[str, ...] = ()
