"""Noise for `time_rules_study.py`: sessions of many cases, simulated or resampled from a recording.

A session is drawn whole: for each case the runs of its baseline, and the runs that the session may make of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RECORDING = Path(__file__).parent.parent / "tests" / "judge" / "data" / "cpu_shared_2core.jsonl"
WARMUP = 2
ROUNDS = 15
CASES = 20
MOST_RUNS = 7

STAGES = {"text_encode": 0.03, "denoise": 0.89, "vae_decode": 0.08}
"""Shares of a call's time; the denoiser's steps come in four groups of equal length."""

STEPS = 20
TODAY = -1
_EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
TOTAL, DENOISE, FIRST_GROUP = 0, 2, 4
NAMES = ("total", *STAGES, *(f"steps:{n}" for n in range(4)))


@dataclasses.dataclass(frozen=True)
class Processes:
    """Runs of processes, in an array whose leading axes are the caller's.

    Attributes:
        rounds_s: times of all figures in each round, (..., figures, rounds).
        pace_s: median calibration of each process.
        usable: False where the plugin doubts the run.
        day: on which it was made; `TODAY` is the session's.
    """

    rounds_s: NDArray[np.float64]
    pace_s: NDArray[np.float64]
    usable: NDArray[np.bool_]
    day: NDArray[np.int64]

    def __getitem__(self, index: Any) -> Processes:
        return Processes(self.rounds_s[index], self.pace_s[index], self.usable[index], self.day[index])


@dataclasses.dataclass(frozen=True)
class Session:
    """`past` is (cases, baseline runs), `now` (cases, runs that may be made)."""

    past: Processes
    now: Processes


@dataclasses.dataclass(frozen=True)
class Noise:
    """A kind of machine.

    Attributes:
        name: for the table.
        family: type of the device, which decides floors and least spreads.
        names: figures that are seen.
        draw: gives a session for a generator and a number of baseline runs.
    """

    name: str
    family: str
    names: tuple[str, ...]
    draw: Callable[[np.random.Generator, int], Session]


def gpu(spread_rel: float) -> Noise:
    """Runs that spread like a GPU's: normal between processes; within, autocorrelated with a right tail."""
    return disturbed(f"GPU-like, runs spread by {100 * spread_rel:g} %", spread_rel)


def disturbed(
    name: str,
    spread_rel: float = 0.005,
    days: int | None = None,
    disturb: Callable[[np.random.Generator, NDArray[np.int64]], NDArray[np.float64]] | None = None,
    pace: bool = False,
) -> Noise:
    """The same, and something that happens to whole processes.

    Args:
        name: for the table.
        spread_rel: between processes.
        days: on which a baseline's runs were made, as evenly as may be; a day each by default, -2 for two runs a day.
        disturb: gives the logarithm of the factor of each process of each case, from the processes' days: an array of
            (cases, runs).
        pace: the calibration sees the disturbance.
    """

    def draw(rng: np.random.Generator, past_runs: int) -> Session:
        both = _gpu_processes(rng, (CASES, past_runs + MOST_RUNS), spread_rel)
        count = past_runs if days is None else days if days > 0 else max(1, past_runs // -days)
        past_days = np.arange(past_runs) * count // past_runs
        both.day[:] = np.concatenate([past_days, np.full(MOST_RUNS, TODAY)])
        if disturb is not None:
            factor = np.exp(disturb(rng, both.day))
            both.rounds_s[:] *= factor[..., None, None]
            if pace:
                both.pace_s[:] *= factor
        return Session(both[:, :past_runs], both[:, past_runs:])

    return Noise(name, "cuda", NAMES, draw)


def days_differ(spread_rel: float, *, by_case: bool) -> Callable[..., NDArray[np.float64]]:
    """Days that differ, for the machine or for each case by itself."""

    def disturb(rng: np.random.Generator, day: NDArray[np.int64]) -> NDArray[np.float64]:
        _, index = np.unique(day[0], return_inverse=True)
        moved = rng.normal(0, spread_rel, (len(day) if by_case else 1, index.max() + 1))
        return np.asarray(np.broadcast_to(moved, (len(day), moved.shape[1]))[:, index])

    return disturb


def modes(share: float, log_factor: float, *, by_case: bool) -> Callable[..., NDArray[np.float64]]:
    """Processes of which a share takes longer by a factor; all cases of a process, or each by itself.

    The first run of every case of a session shares one process, as each run of the baseline does. Processes that
    confirm are a case's own.
    """

    def disturb(rng: np.random.Generator, day: NDArray[np.int64]) -> NDArray[np.float64]:
        disturbed_runs = np.less(rng.random(day.shape), share)
        if not by_case:
            shared = np.less(rng.random(day.shape[1]), share)
            first = day[0].tolist().index(TODAY)
            disturbed_runs = np.concatenate(
                [np.broadcast_to(shared[: first + 1], (len(day), first + 1)), disturbed_runs[:, first + 1 :]], 1
            )
        return np.where(disturbed_runs, log_factor, 0.0)

    return disturb


def lucky_baseline_run(log_factor: float) -> Callable[..., NDArray[np.float64]]:
    """One run among each baseline's took another time."""

    def disturb(rng: np.random.Generator, day: NDArray[np.int64]) -> NDArray[np.float64]:
        factor = np.zeros(day.shape)
        past = int(np.count_nonzero(day[0] != TODAY))
        factor[np.arange(len(day)), rng.integers(past, size=len(day))] = log_factor
        return factor

    return disturb


def other_host(log_factor: float) -> Callable[..., NDArray[np.float64]]:
    """The session is on another host than the baseline: cases are slower by the factor, give or take a tenth."""

    def disturb(rng: np.random.Generator, day: NDArray[np.int64]) -> NDArray[np.float64]:
        moved = log_factor * rng.normal(1, 0.1, (len(day), 1))
        return np.where(day == TODAY, moved, 0.0)

    return disturb


def heavy_tails(spread_rel: float) -> Callable[..., NDArray[np.float64]]:
    """Processes that differ by Student's t of three degrees of freedom."""
    return lambda rng, day: spread_rel * rng.standard_t(3, day.shape)


def _gpu_processes(rng: np.random.Generator, shape: tuple[int, ...], spread_rel: float) -> Processes:
    """Stages have a part of their own beside the process's common one; so have groups of steps."""
    common = rng.normal(0, spread_rel, (*shape, 1))
    own = rng.normal(0, 0.5 * spread_rel, (*shape, len(STAGES)))
    groups = rng.normal(0, 0.3 * spread_rel, (*shape, 4))
    within = np.empty((*shape, ROUNDS))
    shocks = rng.normal(0, 0.003 * math.sqrt(1 - 0.5**2), (*shape, ROUNDS))
    within[..., 0] = rng.normal(0, 0.003, shape)
    for n in range(1, ROUNDS):
        within[..., n] = 0.5 * within[..., n - 1] + shocks[..., n]
    within += np.where(rng.random((*shape, ROUNDS)) < 0.05, rng.exponential(0.02, (*shape, ROUNDS)), 0.0)
    factor = np.exp(common + within)
    text, decode = (
        STAGES[name] * np.exp(own[..., n, None]) * factor for n, name in ((0, "text_encode"), (2, "vae_decode"))
    )
    # the denoiser holds most of the time: its own part is what the common part already is
    steps = [0.25 * STAGES["denoise"] * np.exp(groups[..., n, None]) * factor for n in range(4)]
    denoise = sum(steps)
    figures = np.stack([text + denoise + decode, text, denoise, decode, *steps], axis=-2)
    pace = 0.01 * np.exp(rng.normal(0, 0.003, shape))
    return Processes(figures, pace, np.ones(shape, bool), np.zeros(shape, np.int64))


def recorded(quality: str, noise_rel: float, unseen: bool = False) -> Noise:
    """The recorded machine, with a calibration that is simulated.

    Each baseline's runs come from random times, among the processes that could have been saved. A session is a
    stretch of consecutive processes, from a random one on, each further run being that of the next process.

    Args:
        quality: `follows` the machine's pace, is `blind` to it, or `none` is there.
        noise_rel: of the calibration.
        unseen: no baseline holds a process of the stretch: what happens in it has never happened before.
    """
    rounds_s, usable = _recording()
    medians = np.median(rounds_s, axis=-1)
    usual_s = float(np.median(medians))
    count = len(rounds_s)

    def draw(rng: np.random.Generator, past_runs: int) -> Session:
        begin = int(rng.integers(count))
        # the furthest that the stretch can reach is known only once it's judged: the player moves through it
        stretch = (begin + np.arange(count)) % count
        allowed = usable.copy()
        if unseen:
            allowed[stretch[: CASES + 2 * MOST_RUNS]] = False
        saved = rng.choice(np.flatnonzero(allowed), (CASES, past_runs))
        day = np.broadcast_to(np.arange(past_runs), saved.shape)
        return Session(processes(rng, saved, day), processes(rng, stretch, np.full(stretch.shape, TODAY)))

    def processes(rng: np.random.Generator, index: NDArray[np.int64], day: NDArray[np.int64]) -> Processes:
        pace = 0.02 * np.exp(rng.normal(0, noise_rel, index.shape))
        if quality == "follows":
            pace *= medians[index] / usual_s
        if quality == "none":
            pace[:] = np.nan
        return Processes(rounds_s[index][..., None, :], pace, usable[index], day)

    calibration = {"blind": "calibration blind to the pace", "none": "no calibration"}.get(
        quality, f"calibration follows the pace, {100 * noise_rel:g} % noise"
    )
    name = f"recorded, {calibration}" + (", disturbances never seen before" if unseen else "")
    return Noise(name, "cpu", ("total",), draw)


def _recording() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    from pytest_diffbench.judge import Limits, doubts

    rounds_s = np.array([json.loads(line)[WARMUP:] for line in RECORDING.read_text("utf-8").splitlines()])
    usable = np.array(
        [doubts(run_of(round_s[None, :], 0.02, ("total",), "cpu"), Limits()) is None for round_s in rounds_s]
    )
    return rounds_s, usable


def run_of(  # type: ignore[no-untyped-def]  # a record, imported late
    rounds_s: NDArray[np.float64], pace_s: float, names: tuple[str, ...], family: str, day: int = 0
):
    """The record that the plugin would have kept of a process: `rounds_s` is (figures, rounds)."""
    from pytest_diffbench.records import Environment, Round, Run

    environment = Environment(machine=family, family=family, hardware={}, settings={}, software={}, state={})
    rounds = []
    for times_s in rounds_s.T:
        named = dict(zip(names, map(float, times_s), strict=True))
        groups = [value for name, value in named.items() if name.startswith("steps:")]
        rounds.append(
            Round(
                total_s=named["total"],
                stages_s={name: named[name] for name in STAGES if name in named},  # type: ignore[misc]  # names of stages
                steps_s=tuple(value / (STEPS // 4) for value in groups for _ in range(STEPS // 4)),
            )
        )
    return Run(
        id="run",
        started=(_EPOCH + datetime.timedelta(days=day)).isoformat(),
        rounds=tuple(rounds),
        pace_s={"work": (pace_s,)} if not math.isnan(pace_s) else {},
        environment=environment,
    )
