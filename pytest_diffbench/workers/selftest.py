"""What the time gate sees on this machine: real processes, sound and slowed down, judged by the gate's own rules.

Processes are made by turns, sound and slowed as `s p p s s p p s`. Such a block is one trial of the paired rule, and
goes on for as long as a session would make further pairs. Its runs are trials of the rule of stored baselines, which
takes a fresh run of the same kind where it would start a fresh process. No run serves two trials of one rule, so
outcomes are independent but for the machine's own moods.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.judge import Limits, judge, judge_pairs, wants_runs
from pytest_diffbench.records import baseline_of
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.records.base import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.records import Observation, Run, Verdict

SIZES = (0.05, 0.1, 0.2, 0.5)
"""Shares of the denoiser's time that are planted."""

Kind: TypeAlias = Literal["delay", "attention", "calls"]
KINDS: tuple[Kind, ...] = ("delay", "attention", "calls")

BASELINE_RUNS = 5
"""As many as a baseline should have at the least."""

CONFIDENCE = 0.95

UNDECIDED = "undecided"
"""What becomes of a trial that wants more runs than there is time for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """A slowdown: of a size, a share of the denoiser's time, planted in one way. The sound arm has size 0."""

    size_rel: float = 0.0
    kind: Kind | None = None

    def plant(self, sound: Observation) -> str | None:
        """How a process is told to plant it; None where this case can't have it."""
        calls = sound.work.denoiser_calls if sound.work is not None else 0
        share = sound.layers.attention_rel if sound.layers is not None else None
        if self.kind == "delay":
            return f"delay:{self.size_rel:g}"
        if self.kind == "attention" and share:
            return f"attention:{self.size_rel / share:.6g}"
        if self.kind == "calls" and round(self.size_rel * calls) >= 1:
            return f"calls:{round(self.size_rel * calls)}/{calls}"
        return None


SOUND = Arm()


class Rate(Record, frozen=True, kw_only=True):
    """How often something was seen, with the bounds of its probability (Clopper and Pearson, 95 %).

    Attributes:
        seen: trials in which it was.
        undecided: trials that wanted more runs than there was time for. They would be those that are hard to decide,
            so that the bounds hold whatever would have come of them.
        trials: all of them.
        low: lower bound.
        high: upper bound.
    """

    seen: int
    undecided: int = 0
    trials: int
    low: float
    high: float


class ArmReport(Record, frozen=True, kw_only=True):
    """One size and kind of slowdown.

    Attributes:
        size_rel: planted, as a share of the denoiser's time; 0 is identical code, where every alarm is false.
        kind: `delay`, `attention`, `calls`; None for identical code.
        total_rel: change of the whole call's time that came of it, by the medians over all runs.
        stored: how often the rule of stored baselines said `worse`.
        paired: how often the rule of pairs did.
        died: processes that left no run.
    """

    size_rel: float
    kind: str | None
    total_rel: float | None
    stored: Rate
    paired: Rate
    died: int


class SelftestReport(Record, frozen=True, kw_only=True):
    """What `--diffbench-selftest` found for one case.

    Attributes:
        case: its id.
        machine: its class.
        baseline_runs: in the baseline.
        pairs: of a trial of pairs.
        most_pairs: of one that they leave open, of those that can be used.
        processes: all that were started.
        arms: identical code first, then by size.
    """

    case: str
    machine: str
    baseline_runs: int
    pairs: int
    most_pairs: int
    processes: int
    arms: tuple[ArmReport, ...]


def rate(hits: int, trials: int, undecided: int = 0) -> Rate:
    """A share with the bounds within which its probability lies, by Clopper and Pearson."""
    from scipy.special import betaincinv

    tail, most = (1 - CONFIDENCE) / 2, hits + undecided
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(most + 1, trials - most, 1 - tail)) if most < trials else 1.0
    return Rate(seen=hits, undecided=undecided, trials=trials, low=low, high=high)


def stored_verdicts(
    sound: Observation, baseline: Sequence[Run], runs: Sequence[Run], limits: Limits
) -> list[Verdict]:
    """Judge runs one by one against a baseline, each with the runs after it as its fresh processes if it wants any.

    The last trial may run out of them: it wants runs still.
    """
    import msgspec

    reference = Reference(baseline_of(sound, baseline), "machine", "self-test", Artifacts)
    left = list(runs)
    verdicts: list[Verdict] = []
    while left:
        first = left.pop(0)
        more: list[Run] = []
        while True:
            observation = msgspec.structs.replace(sound, run=first)
            (said,) = judge(observation, Artifacts(), reference, limits, ("time",), more_runs=more)
            if not (wants_runs(said) and left):
                break
            more.append(left.pop(0))
        verdicts.append(said)
    return verdicts


def processes_at_least(pairs: int) -> int:
    """Processes for a baseline and one trial of identical code and of each size, where none asks for more pairs."""
    return BASELINE_RUNS + 2 * pairs * (1 + len(SIZES))


class Selftest:
    """Measures and judges one case.

    Args:
        measure: runs the case in a process of its own, slowed down as it is told, or not where that is None; returns
            its observation, why there is none, or None when there is no time left.
        limits: thresholds.
        notify: is told in words what is being done.
        pairs: of a trial; more, up to the limits' most, where they leave it open.
    """

    def __init__(
        self,
        measure: Callable[[str | None], Observation | str | None],
        limits: Limits,
        notify: Callable[[str], None],
        *,
        pairs: int,
    ) -> None:
        self._measure = measure
        self._limits = limits
        self._notify = notify
        self._pairs = pairs
        self._most_pairs = max(pairs, limits.time_max_pairs)
        self._processes = 0
        self._dead_in_a_row = 0
        self._why = "it hasn't begun"
        self._died: Counter[Arm] = Counter()
        self._sound: list[Observation] = []
        self._runs: dict[Arm, list[Run]] = {SOUND: []}
        self._paired: dict[Arm, list[str]] = {SOUND: []}
        self.rounds = 0
        """Of identical code and of each size, that were made to their end."""

        self.out_of_time = False
        """Whether it ended for want of time."""

    @property
    def gave_up(self) -> str | None:
        """Why it ended: so many processes, one after the other, left no run. None where they didn't."""
        if self._dead_in_a_row < BASELINE_RUNS:
            return None
        return f"{BASELINE_RUNS} processes in a row gave no run: {self._why}"

    def run(self, rounds: int) -> None:
        """Make a baseline, then rounds of identical code and of each size, until the time is used up.

        Whatever it raises, `report` has what there is.
        """
        try:
            self._baseline()
            while self.rounds < rounds and not self._over:
                self._round()
        except KeyboardInterrupt:
            self._why = "it was interrupted"
            raise

    def report(self) -> SelftestReport | str:
        """What was found so far, or why nothing could be."""
        if len(self._sound) < BASELINE_RUNS:
            return f"{len(self._sound)} of {BASELINE_RUNS} runs for a baseline were made, then: {self._why}"
        return self._report(self._sound[0], [observation.run for observation in self._sound])

    @property
    def _over(self) -> bool:
        return self.out_of_time or self.gave_up is not None

    def _baseline(self) -> None:
        while len(self._sound) < BASELINE_RUNS and not self._over:
            self._notify(f"self-test: run {len(self._sound) + 1} of {BASELINE_RUNS} for a baseline")
            observation = self._observe(SOUND, None)
            if observation is not None:
                self._sound.append(observation)

    def _round(self) -> None:
        for arm in _arms(self.rounds, self._sound[0]):
            self._notify(f"self-test: round {self.rounds + 1}, {_name(arm)}")
            self._block(arm, arm.plant(self._sound[0]))
            if self._over:
                return
        self.rounds += 1

    def _observe(self, arm: Arm, plant: str | None) -> Observation | None:
        observation = None if self._over else self._measure(plant)
        if observation is None:
            if not self._over:
                self.out_of_time, self._why = True, "there was no time"
            return None
        self._processes += 1
        if isinstance(observation, str):
            self._died[arm] += 1
            self._dead_in_a_row += 1
            self._why = observation
            return None
        self._dead_in_a_row = 0
        return observation

    def _block(self, arm: Arm, plant: str | None) -> None:
        """Pairs of sound and slowed runs, by turns: a trial, with as many of them as a session would make."""
        outcomes = self._paired.setdefault(arm, [])
        pairs: list[tuple[Run, Run]] = []
        for number in range(self._pairs):
            self._pair(arm, plant, number, pairs)
            if self._over:
                return
        if not pairs:
            return
        outcomes.append(UNDECIDED)  # which it stays where the rest is cut short
        count, most = self._pairs, self._most_pairs + self._limits.time_spare_pairs
        while wants_runs(verdict := self._judged(pairs)) and count < most and not self._over:
            self._pair(arm, plant, count, pairs)
            count += 1
        if not self._over:
            outcomes[-1] = verdict.decision

    def _judged(self, pairs: list[tuple[Run, Run]]) -> Verdict:
        return judge_pairs(pairs, self._limits, 1, pairs[0][0].environment.family)

    def _pair(self, arm: Arm, plant: str | None, number: int, pairs: list[tuple[Run, Run]]) -> None:
        """Make one, unless a process of it leaves no run."""
        runs: dict[bool, Run] = {}
        for slowed in (False, True) if number % 2 == 0 else (True, False):
            observation = self._observe(arm if slowed else SOUND, plant if slowed else None)
            if observation is not None:
                runs[slowed] = observation.run
                self._runs.setdefault(arm if slowed else SOUND, []).append(observation.run)
        if len(runs) == 2:
            pairs.append((runs[False], runs[True]))

    def _report(self, first: Observation, baseline: list[Run]) -> SelftestReport:
        arms: list[ArmReport] = []
        for arm in sorted(self._paired, key=lambda arm: (arm.size_rel, arm.kind or "")):
            runs = self._runs.get(arm, [])
            stored = [
                UNDECIDED if wants_runs(stored_verdict) else stored_verdict.decision
                for stored_verdict in stored_verdicts(first, baseline, runs, self._limits)
            ]
            arms.append(
                ArmReport(
                    size_rel=arm.size_rel,
                    kind=arm.kind,
                    total_rel=_change_rel(baseline, runs),
                    stored=_rate_of(stored),
                    paired=_rate_of(self._paired[arm]),
                    died=self._died[arm],
                )
            )
        return SelftestReport(
            case=first.case.id,
            machine=first.run.environment.machine,
            baseline_runs=len(baseline),
            pairs=self._pairs,
            most_pairs=self._most_pairs,
            processes=self._processes,
            arms=tuple(arms),
        )


def _arms(number: int, sound: Observation) -> list[Arm]:
    """What a round measures: identical code, and each size in one of the ways that this case can have."""
    arms = [SOUND]
    for place, size_rel in enumerate(SIZES):
        arm = Arm(size_rel, KINDS[(number + place) % len(KINDS)])
        arms.append(arm if arm.plant(sound) is not None else Arm(size_rel, "delay"))
    return arms


def _name(arm: Arm) -> str:
    return f"{100 * arm.size_rel:g} % by {arm.kind}" if arm.kind is not None else "identical code"


def _change_rel(before: Sequence[Run], after: Sequence[Run]) -> float | None:
    if not after:
        return None
    return statistics.median(run.median_s for run in after) / statistics.median(run.median_s for run in before) - 1


def _rate_of(outcomes: Sequence[str]) -> Rate:
    return rate(outcomes.count("worse"), len(outcomes), outcomes.count(UNDECIDED))


def lines(report: SelftestReport) -> list[str]:
    """A report as a table of plain text."""
    rows = [("slowdown of the denoiser", "whole call", "stored baseline", "pairs")]
    for arm in report.arms:
        name = _name(Arm(arm.size_rel, arm.kind))  # type: ignore[arg-type]  # as it was written
        change = "" if arm.total_rel is None else f"{100 * arm.total_rel:+.1f} %"
        rows.append((name, change, _rate_cell(arm.stored), _rate_cell(arm.paired)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [
        f"{report.case} on {report.machine}: {report.processes} processes, {report.baseline_runs} for the baseline",
        *table,
        "How often each was called worse, in how many trials, with 95 % bounds of that probability. On identical "
        "code each is a false alarm.",
        f"A trial of pairs has {report.pairs}, and up to {report.most_pairs} usable ones if they leave it open. A "
        "trial that needed more runs than there was time for is undecided; the bounds hold whatever its result "
        f"would have been.",
    ]


def _rate_cell(rate: Rate) -> str:
    if not rate.trials:
        return "no trial"
    undecided = f", {rate.undecided} undecided" if rate.undecided else ""
    return f"{rate.seen} of {rate.trials}{undecided} ({100 * rate.low:.0f} to {100 * rate.high:.0f} %)"
