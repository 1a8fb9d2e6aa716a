"""What a history gives back: sessions, runs with their figures, and the series of one figure."""

from __future__ import annotations

from pytest_diffbench.records.base import Count, Fact, Record


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
