"""Replays runs of identical and of slowed code through the time gate's rule and through those of other tools.

    python benchmarks/time_rules_study.py [--sessions 2000] [--baseline-runs 10 20] [--only TEXT]

Prints the tables of docs/time-study.md. Noise is simulated, or resampled from recorded processes (`time_noise.py`);
the other tools' rules are in `time_rivals.py`. The gate's own rule runs on bare numbers here;
tests/full/judge/test_judge_time_study.py proves that it answers as the gate does on whole records.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).parent))

import time_noise
from time_noise import CASES, DENOISE, FIRST_GROUP, NAMES, TOTAL, Noise, Processes, Session
from time_rivals import RIVALS

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.time import rule as time_rule
from pytest_diffbench.judge.time.runs import Pace, experience_of, floors_of, pace_of, unknown_pace
from pytest_diffbench.judge.time.spread import History, Peers, history_of, peers_of
from pytest_diffbench.stats.variance import Variance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    Around: TypeAlias = Callable[[int, int], Peers]

PLANTED = (0.03, 0.05, 0.10, 0.20, 0.50)
SEED = 20_240_501


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one case: the gate's reason, without its gate, how many runs were made, and what it promised."""

    reason: str
    runs: int
    detectable_rel: float = math.nan


@dataclasses.dataclass(frozen=True)
class _Past:
    """A baseline as the rule sees it, on the scales that there are, by figure."""

    histories: tuple[list[History], ...]
    usual_s: float
    base_s: dict[str, float]
    count: int


_UNMOVED = time_rule.Scale((0.0,), (0.0,), time_rule.Pairs(Variance(0.0, 1), 0.0, 1), 1.0)


class Gate:
    """The time gate, fed with bare numbers: the same choices of runs, the same rule."""

    def __init__(self, noise: Noise, limits: Limits, decisions: int = CASES) -> None:
        self.names, self.family, self.limits = noise.names, noise.family, limits
        self.experiences = [experience_of(limits, noise.family, part=name != "total") for name in noise.names]
        self.rule = time_rule.rule_of(limits, decisions)
        groups = sum(name.startswith("steps:") for name in self.names)
        total, stage, group = time_rule.shares_of(len(self.names) - 1 - groups, groups)
        self.shares = [
            total if name == "total" else group if name.startswith("steps:") else stage for name in self.names
        ]

    def baselines(self, past: Processes) -> list[_Past]:
        """Sum up the baselines of a session's cases, leaving out the runs at another pace."""
        medians = np.median(past.rounds_s, axis=-1)
        pasts = []
        for all_s, all_paces_s, all_days in zip(medians, past.pace_s, past.day, strict=True):
            paced = not np.isnan(all_paces_s).any()
            usual_s = float(np.median(all_paces_s)) if paced else math.nan
            kept = self._paced(all_paces_s, usual_s) if paced else np.ones(len(all_s), bool)
            kept = kept if kept.any() else np.ones(len(all_s), bool)
            times_s, paces_s, days = all_s[kept], all_paces_s[kept], all_days[kept].tolist()
            raw = np.log(times_s)
            scales = [raw.T.tolist()]
            if paced:
                scales.append((raw - np.log(paces_s / usual_s)[:, None]).T.tolist())
            histories = tuple(
                [
                    history_of(factor, days, known.between.deviation, time_noise.TODAY)
                    for factor, known in zip(scale, self.experiences, strict=True)
                ]
                for scale in scales
            )
            base_s = dict(zip(self.names, np.exp(raw.mean(0)).tolist(), strict=True))
            pasts.append(_Past(histories, usual_s, base_s, len(times_s)))
        return pasts

    def _paced(self, paces_s: NDArray[np.float64], usual_s: float) -> NDArray[np.bool_]:
        return np.asarray(np.abs(np.log(paces_s / usual_s)) <= math.log1p(self.limits.machine_rel))

    def neighbours(self, pasts: Sequence[_Past], case: int) -> Around:
        """What the other cases say about a figure on a scale; worked out when it is asked for."""
        others = [other for n, other in enumerate(pasts) if n != case]

        @functools.cache
        def around(scale: int, figure: int) -> Peers:
            return peers_of([past.histories[scale][figure] for past in others], self.experiences[figure])

        return around

    def play(self, past: _Past, around: Around, now: Processes) -> Outcome:
        """Judge a case, buying runs while the gate asks for them; `now` holds the runs that could be made."""
        bounds = np.log(np.quantile(now.rounds_s, [0.25, 0.5, 0.75], axis=-1))
        bounds[:, now.usable] = bounds[1, now.usable]
        paces = [
            pace_of([math.log(pace_s / past.usual_s)], self.limits)
            if len(past.histories) > 1
            else unknown_pace(past.count, self.limits)
            for pace_s in now.pace_s
        ]
        sound = [bool(usable) and pace.usual for usable, pace in zip(now.usable, paces, strict=True)]
        drawn = 0
        while True:
            drawn += 1
            enough = [n for n in range(drawn) if sound[n]]
            may_buy = (
                self.rule.confirmations > 0
                and len(enough) < self.rule.most_runs
                and drawn < self.rule.most_runs + self.limits.time_spare_runs
            )
            # the others are evidence as far as the machine leaves it
            used = enough if len(enough) > self.rule.confirmations else list(range(drawn))
            figures = self._figures(past, around, bounds, paces, used)
            reason = self._reason(figures)
            suspected = reason == "unconfirmed"
            undisturbed = [n for n in used if paces[n].usual]
            if undisturbed and used != undisturbed and not reason.endswith(("slower", "faster")):
                # a run that the machine disturbed is replaced and clears nobody
                suspected |= self._reason(self._figures(past, around, bounds, paces, undisturbed)) == "unconfirmed"
            if may_buy and suspected:
                continue
            if not all(sound[n] for n in used) and not reason.endswith("slower"):
                return Outcome("off", drawn)
            return Outcome(reason, drawn, time_rule.detectable_rel(figures[0], self.rule, figures[0].floor_log))

    def _figures(
        self,
        past: _Past,
        around: Around,
        bounds: NDArray[np.float64],
        paces: Sequence[Pace],
        used: Sequence[int],
    ) -> list[time_rule.Figure]:
        floors = floors_of(self.limits, self.family, self.names, past.base_s)
        fresh = len(used) - (used[0] == 0)
        return [
            time_rule.Figure(name, self._scales(n, past, around, bounds, paces, used), floors[name], share, fresh)
            for n, (name, share) in enumerate(zip(self.names, self.shares, strict=True))
        ]

    def _reason(self, figures: Sequence[time_rule.Figure]) -> str:
        answer = time_rule.decide(figures, self.rule)
        return time_rule.reason_of(figures, answer, self.rule, self.limits.time_blind_rel)

    def _scales(
        self,
        figure: int,
        past: _Past,
        around: Around,
        bounds: NDArray[np.float64],
        paces: Sequence[Pace],
        used: Sequence[int],
    ) -> tuple[time_rule.Scale, ...]:
        scales = []
        for side, histories in enumerate(past.histories):
            taken = side == 1 or len(past.histories) == 1
            low = [float(bounds[0, run, figure]) - taken * paces[run].low_log for run in used]
            high = [float(bounds[2, run, figure]) - taken * paces[run].high_log for run in used]
            # the rule passes over parts that lie near their baseline, whatever else is known of them
            if figure and math.fsum(low) / len(low) - histories[figure].centre_log < _NEAR_LOG[self.family]:
                return (_UNMOVED,)
            scales.append(
                time_rule.scale_of(
                    histories[figure],
                    low,
                    high,
                    around(side, figure),
                    self.experiences[figure],
                    self.rule,
                    paces[0].low_log if len(past.histories) == 1 else 0.0,
                )
            )
        return tuple(scales)


_NEAR_LOG = {"cuda": 0.01, "cpu": 0.02}
"""A quarter of the floors of parts, so that what isn't worked out isn't missed."""


def planted(now: Processes, slower_rel: float, figures: Sequence[int] | None = None) -> Processes:
    """The same processes with slower code: all of it, or some figures, whose time the total gains."""
    rounds_s = now.rounds_s.copy()
    if figures is None:
        rounds_s *= 1 + slower_rel
    else:
        rounds_s[..., TOTAL, :] += slower_rel * rounds_s[..., figures[0], :]
        rounds_s[..., figures, :] *= 1 + slower_rel
    return dataclasses.replace(now, rounds_s=rounds_s)


def runs_of(noise: Noise, session: Session, case: int, at: int) -> Processes:
    """The runs that could be made of a case; a recorded session moves on, process by process."""
    if noise.family == "cpu":
        index = (at + np.arange(time_noise.MOST_RUNS)) % len(session.now.pace_s)
        return session.now[index]
    return session.now[case]


@dataclasses.dataclass
class Tally:
    """What the gate did over many sessions."""

    sessions: int = 0
    alarmed: int = 0
    bought: int = 0
    unsure: int = 0
    better: int = 0
    promises: int = 0
    kept: int = 0
    disturbed: int = 0
    promised_rel: list[float] = dataclasses.field(default_factory=list)
    detected: dict[str, int] = dataclasses.field(default_factory=dict)
    silent: dict[str, int] = dataclasses.field(default_factory=dict)


def replay(
    noise: Noise, past_runs: int, sessions: int, limits: Limits, seed: int = SEED
) -> tuple[Tally, list[Session]]:
    """Play whole sessions of identical code, and in each once more its first case with slower code."""
    rng = np.random.default_rng(seed)
    gate, tally = Gate(noise, limits), Tally()
    faults: dict[str, tuple[float, list[int] | None]] = {
        f"{100 * slowdown:+g} %": (slowdown, None) for slowdown in PLANTED
    }
    if len(noise.names) > 1:
        faults |= {
            "decode +30 %": (0.30, [NAMES.index("vae_decode")]),
            "last quarter of the steps +15 %": (0.15, [FIRST_GROUP + 3]),
        }
    kept = []
    for _ in range(sessions):
        session = noise.draw(rng, past_runs)
        kept.append(_first_rounds(noise, session))
        pasts = gate.baselines(session.past)
        at, alarmed = 0, False
        for case in range(CASES):
            now = runs_of(noise, session, case, at)
            around = gate.neighbours(pasts, case)
            outcome = gate.play(pasts[case], around, now)
            at += outcome.runs
            alarmed |= outcome.reason.endswith("slower")
            tally.bought += outcome.runs - 1
            tally.better += outcome.reason == "faster"
            tally.unsure += not outcome.reason.endswith(("same", "slower", "faster"))
            if case == 0 and not math.isnan(outcome.detectable_rel):
                tally.promises += 1
                promised = gate.play(pasts[0], around, planted(now, outcome.detectable_rel))
                tally.kept += promised.reason.endswith("slower")
                tally.disturbed += promised.reason == "off"
                tally.promised_rel.append(outcome.detectable_rel)
            if case == 0:
                for name, (slower_rel, figures) in faults.items():
                    bad = planted(now, slower_rel, figures)
                    if figures == [FIRST_GROUP + 3]:
                        bad.rounds_s[..., DENOISE, :] += (
                            bad.rounds_s[..., FIRST_GROUP + 3, :] - now.rounds_s[..., FIRST_GROUP + 3, :]
                        )
                    said = gate.play(pasts[0], around, bad).reason
                    tally.detected[name] = tally.detected.get(name, 0) + said.endswith("slower")
                    tally.silent[name] = tally.silent.get(name, 0) + (said in ("same", "faster"))
        tally.sessions += 1
        tally.alarmed += alarmed
    return tally, kept


def _first_rounds(noise: Noise, session: Session) -> Session:
    """What the other tools see: each case's newest baseline run and its first run of this session."""
    if noise.family == "cpu":
        return Session(session.past[:, -1], session.now[np.arange(CASES) % len(session.now.pace_s)])
    return Session(session.past[:, -1], session.now[:, 0])


def rival_rows(sessions: Sequence[Session]) -> list[tuple[str, float, list[float], float, list[float]]]:
    """For each tool: alarmed sessions and found changes by default; and tuned to 1 % of sessions."""
    old = np.stack([session.past.rounds_s for session in sessions])
    new = np.stack([session.now.rounds_s for session in sessions])
    rows = []
    for rival in RIVALS:
        same = rival.score(old.reshape(-1, *old.shape[2:]), new.reshape(-1, *new.shape[2:]))
        worst = np.sort(same.reshape(len(sessions), CASES).max(-1))
        slow = [rival.score(old[:, 0], new[:, 0] * (1 + slowdown)) for slowdown in PLANTED]
        # at most 1 % of these very sessions lie above the threshold, which no tool could know beforehand
        fair = float(worst[len(worst) - 1 - len(worst) // 100])
        fair = fair if math.isfinite(fair) else 0.0
        rows.append(
            (
                rival.name,
                float((worst > rival.default).mean()),
                [float((scores > rival.default).mean()) for scores in slow],
                fair,
                [float((scores > fair).mean()) for scores in slow],
            )
        )
    return rows


def interval(count: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    low = 0.0 if count == 0 else float(special.betaincinv(count, of - count + 1, 0.025))
    high = 1.0 if count == of else float(special.betaincinv(count + 1, of - count, 0.975))
    return low, high


def header(columns: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def share(count: int, of: int) -> str:
    """A share with its interval: `0.4 % (0.2-0.8)`."""
    if not of:
        return "none"
    low, high = interval(count, of)
    return f"{100 * count / of:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


BLIND = time_noise.recorded("blind", 0.02)
_MACHINE_DAYS = time_noise.days_differ(0.02, by_case=False)
_CASE_DAYS = time_noise.days_differ(0.02, by_case=True)
NOISES = (
    time_noise.gpu(0.003),
    time_noise.gpu(0.005),
    time_noise.gpu(0.01),
    time_noise.disturbed("two runs a day, runs spread by 1 %", 0.01, days=-2),
    *(
        time_noise.disturbed(f"days of the {of} differ by 2 %, saved on {when}", 0.005, days, disturb)
        for of, disturb in (("machine", _MACHINE_DAYS), ("case", _CASE_DAYS))
        for when, days in (("1 day", 1), ("2 days", 2), ("a day a save", None))
    ),
    time_noise.disturbed(
        "two modes 13 % apart, by process", disturb=time_noise.modes(0.5, math.log(1.13), by_case=False)
    ),
    time_noise.disturbed(
        "10 % of processes 1.5 times slower", disturb=time_noise.modes(0.1, math.log(1.5), by_case=True)
    ),
    time_noise.disturbed("one baseline run at half the time", disturb=time_noise.lucky_baseline_run(-math.log(2))),
    time_noise.disturbed("heavy tails, Student's t of 3", disturb=time_noise.heavy_tails(0.01)),
    time_noise.disturbed("another host, pace follows", disturb=time_noise.other_host(math.log(1.63)), pace=True),
    time_noise.disturbed("another host, pace blind", disturb=time_noise.other_host(math.log(1.63))),
    time_noise.recorded("follows", 0.0),
    time_noise.recorded("follows", 0.05),
    BLIND,
    time_noise.recorded("none", 0.0),
    time_noise.recorded("blind", 0.02, unseen=True),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--baseline-runs", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--only", default="", help="noises whose names hold this text")
    parser.add_argument("--alone", action="store_true", help="without the other tools")
    options = parser.parse_args()
    begin_s = time.process_time()
    own, others = [], []
    for noise in (noise for noise in NOISES if options.only in noise.name):
        for past_runs in options.baseline_runs:
            tally, kept = replay(noise, past_runs, options.sessions, Limits())
            own.append((noise, past_runs, tally))
        # the other tools look at no calibration: one kind of it is enough
        if not options.alone and (noise.name.startswith("GPU-like") or noise is BLIND):
            others.append((noise, rival_rows(kept)))
        print(f"{noise.name}: {time.process_time() - begin_s:.0f} s", file=sys.stderr)
    print(f"{options.sessions} sessions of {CASES} cases in each row; 95 % intervals in brackets.\n")
    changes = [f"{100 * slowdown:+g} %" for slowdown in PLANTED]
    columns = ["noise", "baseline runs", "alarmed sessions", *changes, "runs bought", "unsure cases"]
    print(header([*columns, "would have seen", "and saw it", "or could not judge"]))
    for noise, past_runs, tally in own:
        cells = [share(tally.detected[f"{100 * slowdown:+g} %"], tally.sessions) for slowdown in PLANTED]
        promised = f"{100 * float(np.median(tally.promised_rel)):+.1f} %" if tally.promised_rel else "none"
        bought, unsure = tally.bought / tally.sessions, tally.unsure / tally.sessions / CASES
        print(
            f"| {noise.name} | {past_runs} | {share(tally.alarmed, tally.sessions)} | {' | '.join(cells)}"
            f" | {bought:.1f} | {100 * unsure:.1f} % | {promised} | {share(tally.kept, tally.promises)}"
            f" | {100 * tally.disturbed / max(1, tally.promises):.1f} % |"
        )
    print("\n| noise | baseline runs | decode +30 % | last quarter of the steps +15 % |\n|---|---|---|---|")
    for noise, past_runs, tally in own:
        if len(noise.names) > 1:
            parts = [share(tally.detected[name], tally.sessions) for name in list(tally.detected)[len(PLANTED) :]]
            print(f"| {noise.name} | {past_runs} | {' | '.join(parts)} |")
    print("\n" + header(["noise", "rule", "alarmed sessions", *changes, "at 1 %: threshold", *changes]))
    for noise, rows in others:
        tallies = [tally for kind, _, tally in own if kind is noise]
        for past_runs, tally in zip(options.baseline_runs, tallies, strict=True):
            cells = [
                f"{100 * tally.detected[f'{100 * slowdown:+g} %'] / tally.sessions:.0f} %" for slowdown in PLANTED
            ]
            alarmed = f"{100 * tally.alarmed / tally.sessions:.1f} %"
            print(
                f"| {noise.name} | **this gate, {past_runs} runs** | {alarmed} | {' | '.join(cells)} | as it is"
                f" | {' | '.join(cells)} |"
            )
        for name, alarmed_rel, detected, fair, fair_detected in rows:
            cells = [f"{100 * share:.0f} %" for share in detected]
            fair_cells = [f"{100 * share:.0f} %" for share in fair_detected]
            print(
                f"| {noise.name} | {name} | {100 * alarmed_rel:.1f} % | {' | '.join(cells)} | {100 * fair:.1f} %"
                f" | {' | '.join(fair_cells)} |"
            )
    print(f"\n{time.process_time() - begin_s:.0f} s of processor time.", file=sys.stderr)


if __name__ == "__main__":
    main()
