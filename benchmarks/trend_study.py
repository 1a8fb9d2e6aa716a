"""How soon `diffbench trend` finds steps and drifts, how often it is wrong, and how long it takes.

    python benchmarks/trend_study.py [--nights 100] [--cases 200] [--planted 100] [--seed 0]

Draws histories of 200 cases with 20 figures each: times with the noise of processes on a shared machine, as it was
recorded (one call of a small Lumina2 pipeline in 60 processes on two shared cores: medians with a deviation of 5.7 %,
robust, one in twelve of them far slower, no correlation from one to the next), or with a fraction of it, as on
quieter machines. A third of the variance is assumed to be the machine's, and shared by all cases of a night and by
its pace, but for an error of a quarter of the deviation. Steps of 3 % and drifts of 1 % a week are planted from the
41st night on, in single cases and in all cases of a model, of which there are four.

Prints Markdown tables: share that was found within 3 nights (steps) or 3 % (drifts), with the median; false
alarms in 30 nights in histories without any change, and the time of queries of the file, imports included.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_diffbench.judge import trend as judge
from pytest_diffbench.records.history import Series
from pytest_diffbench.stats import changepoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RECORDED_LOG = 0.057
"""Deviation between the medians of processes on the shared machine, of logarithms."""

OUTLIERS_REL = 1 / 12
OUTLIER_LOG = 0.5
COMMON_REL = 1 / 3
"""Share of the variance that all cases of a night have in common."""

MODELS = 4
PLANT_NIGHT = 40
WEEKLY_LOG = math.log(1.01)
STEP_LOG = math.log(1.03)

NOISY = ("time.total_s", "time.denoise_s", "time.text_encode_s", "time.vae_decode_s", "time.unattributed_s")
BY_PACE = "time.total_by_pace"
ROUGH = ("memory.peak_bytes", *(f"memory.{stage}_bytes" for stage in ("text_encode", "denoise", "vae_decode")))
EXACT = (
    *("work.denoiser_calls", "work.flops", "output.psnr_db", "output.ssim", "output.colour_levels"),
    *("output.p999", "output.latents_rel", "origin.colour_levels", "origin.psnr_db"),
)
FIGURES = (*NOISY, BY_PACE, *ROUGH, *EXACT, "pace.matmul_s")
MEMORY_LOG = 0.002


def noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
    """Deviations of logarithms of times, as recorded, times `scale`, with their outliers."""
    values = rng.normal(0, RECORDED_LOG * scale, shape)
    return values + np.where(rng.random(shape) < OUTLIERS_REL, rng.exponential(OUTLIER_LOG * scale, shape), 0.0)


def own(rng: np.random.Generator, cases: int, count: int, scale: float) -> NDArray[np.float64]:
    """What each case has for itself, of shape (cases, nights)."""
    return noise(rng, (cases, count), scale) * math.sqrt(1 - COMMON_REL)


def pace_error(rng: np.random.Generator, cases: int, count: int, scale: float) -> NDArray[np.float64]:
    """By how much the pace misses what the machine did to each case."""
    return rng.normal(0, RECORDED_LOG * scale / 4, (cases, count))


def by_pace(rng: np.random.Generator, cases: int, count: int, scale: float) -> NDArray[np.float64]:
    """Times of unchanged code by the pace, in which the machine's share drops out but for the error of the pace."""
    return own(rng, cases, count, scale) + pace_error(rng, cases, count, scale)


def pool(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `judge.trend.pooled` has it, of logarithms."""
    return np.median(values - np.median(values, axis=1, keepdims=True), axis=0)


def detected_step(values: NDArray[np.float64], alpha: float) -> int | None:
    """After how many nights a step at `PLANT_NIGHT` is found."""
    for count in range(PLANT_NIGHT + 1, len(values) + 1):
        steps = changepoints.Values(values[:count]).changes(alpha, 0.01)
        if any(step.size > 0 and abs(step.index - PLANT_NIGHT) <= 3 for step in steps):
            return count - PLANT_NIGHT
    return None


def detected_drift(values: NDArray[np.float64], alpha: float) -> float | None:
    """By how many percent a drift that begins at `PLANT_NIGHT` has gone when a step or a drift is found."""
    for count in range(PLANT_NIGHT + 1, len(values) + 1):
        known = changepoints.Values(values[:count])
        drift, steps = known.drift(alpha, 0.02), known.changes(alpha, 0.01)
        gone = drift is not None and drift.size > 0
        if gone or any(step.size > 0 and step.index >= PLANT_NIGHT for step in steps):
            return 100 * math.expm1(WEEKLY_LOG * (count - PLANT_NIGHT) / 7)
    return None


def detection_row(scale: float, cases: int, count: int, planted: int, seed: int) -> list[str]:
    """Plants steps and drifts in single cases and in models."""
    rng = np.random.default_rng(seed)
    alphas = judge.alpha_of(cases * (len(NOISY) + len(ROUGH))), judge.alpha_of(MODELS * len(NOISY))
    step = np.where(np.arange(count) >= PLANT_NIGHT, STEP_LOG, 0.0)
    ramp = WEEKLY_LOG / 7 * np.maximum(np.arange(count) - PLANT_NIGHT, 0)
    cells = []
    for change, finder, goal in ((step, detected_step, 3.0), (ramp, detected_drift, 3.0)):
        for pooled in (False, True):
            delays: list[float | None] = []
            while len(delays) < planted:
                drawn = by_pace(rng, cases // MODELS, count, scale)
                rows = [pool(drawn)] if pooled else list(drawn[: planted - len(delays)])
                delays += [finder(row + change, alphas[pooled]) for row in rows]
            soon = sum(delay is not None and delay <= goal for delay in delays)
            known = [delay for delay in delays if delay is not None]
            middle = f"{statistics.median(known):.1f}" if 2 * len(known) > len(delays) else "not"
            cells.append(f"{100 * soon / len(delays):.0f} % ({middle})")
    return [f"{100 * RECORDED_LOG * scale:.2g} %", *cells]


def false_alarms(scale: float, cases: int, count: int, seed: int) -> float:
    """New steps and drifts in 30 nights of histories of unchanged code."""
    rng = np.random.default_rng(seed)
    alphas = judge.alpha_of(cases * (len(NOISY) + len(ROUGH))), judge.alpha_of(MODELS * len(NOISY))
    rows: list[tuple[NDArray[np.float64], float]] = []
    for _ in NOISY:
        drawn = by_pace(rng, cases, count, scale)
        rows += [(row, alphas[0]) for row in drawn]
        rows += [(pool(drawn[model::MODELS]), alphas[1]) for model in range(MODELS)]
    rows += [(rng.normal(0, MEMORY_LOG, count), alphas[0]) for _ in range(cases * len(ROUGH))]
    alarms = 0
    for row, alpha in rows:
        known: set[int] = set()
        drifted = False
        for night in range(PLANT_NIGHT, count + 1, 1):
            values = changepoints.Values(row[:night])
            places = {step.index for step in values.changes(alpha, 0.005)}
            new = {place for place in places if not any(abs(place - other) <= 3 for other in known)}
            drifts = values.drift(alpha, 0.02) is not None
            if night > PLANT_NIGHT:
                alarms += len(new) + (drifts and not drifted)
            known |= places
            drifted |= drifts
    return alarms * 30 / (count - PLANT_NIGHT)


def as_series(cases: int, count: int, seed: int) -> list[Series]:
    """A history of unchanged code with all figures."""
    rng = np.random.default_rng(seed)
    started = tuple(f"2026-{1 + n // 28:02}-{1 + n % 28:02}T03:00:00+00:00" for n in range(count))
    common = noise(rng, (1, count), 0.25) * math.sqrt(COMMON_REL)
    drawn = {name: common + own(rng, cases, count, 0.25) for name in (*NOISY, BY_PACE)}
    drawn["pace.matmul_s"] = common + pace_error(rng, cases, count, 0.25)
    drawn |= {name: rng.normal(0, MEMORY_LOG, (cases, count)) for name in ROUGH}
    drawn |= {name: np.zeros((cases, count)) for name in EXACT}
    return [
        Series(
            case=f"t.py::test_{case}",
            machine="cpu-model",
            figure=name,
            model=f"model-{case % MODELS} mini",
            started=started,
            commits=tuple(f"{n:040x}" for n in range(count)),
            software=("{}",) * count,
            saved=("",) * count,
            values=tuple(float(value) for value in np.exp(drawn[name][case])),
        )
        for case in range(cases)
        for name in FIGURES
    ]


def write_history(path: Path, series: Sequence[Series], cases: int, count: int) -> None:
    """The file, with one row for each figure, as sessions leave it."""
    from pytest_diffbench.store.history import History

    with History(path) as history:
        database = history._database
        database.execute("BEGIN")
        for night in range(count):
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, '0.1', 0, '[]')",
                (night, str(night), *[series[0].started[night]] * 2),
            )
            database.executemany(
                "INSERT INTO runs VALUES (?, ?, ?, 'd', ?, 'cpu-model', ?, ?, ?, '{}', NULL, NULL)",
                [
                    (
                        *(night * cases + case, night, f"t.py::test_{case}", f"model-{case % MODELS} mini"),
                        *(f"{night}-{case}", series[0].started[night], series[0].commits[night]),
                    )
                    for case in range(cases)
                ],
            )
        for number, item in enumerate(series):
            database.execute(
                "INSERT INTO series VALUES (?, ?, 'cpu-model', 'd', ?)", (number, item.case, item.figure)
            )
            case = int(item.case.rpartition("_")[2])
            database.executemany(
                "INSERT INTO figures VALUES (?, ?, ?)",
                [(number, night * cases + case, value) for night, value in enumerate(item.values)],
            )
        database.execute("COMMIT")


def queries(cases: int, count: int, seed: int) -> list[list[str]]:
    """How long commands take, process and imports included, best of three."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        write_history(path, as_series(cases, count, seed), cases, count)
        size = path.stat().st_size / 1e6
        rows = []
        for what in (["history", "list"], ["history", "show", "t.py::test_7"], ["trend", "t.py::test_7"], ["trend"]):
            taken = []
            for _ in range(3):
                begin_s, before = time.perf_counter(), os.times()
                subprocess.run(
                    [sys.executable, "-m", "pytest_diffbench.commands.main", *what, "--db", str(path)],
                    check=True,
                    stdout=subprocess.DEVNULL,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
                after = os.times()
                used_s = sum(after[2:4]) - sum(before[2:4])
                taken.append((time.perf_counter() - begin_s, used_s))
            wall_s, used_s = (min(times) for times in zip(*taken, strict=True))
            rows.append([f"`diffbench {' '.join(what)}`", f"{wall_s:.2f} s", f"{used_s:.2f} s", f"{size:.0f} MB"])
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("nights", 100), ("cases", 200), ("planted", 100), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    scales = (1.0, 0.25, 0.1)
    head = ["noise between nights", "step, one case", "step, a model", "drift, one case", "drift, a model"]
    rows = [detection_row(scale, given.cases, given.nights, given.planted, given.seed) for scale in scales]
    print(
        table(
            [*head, "false alarms in 30 nights"],
            [
                [*row, f"{false_alarms(scale, given.cases, given.nights, given.seed + 1):.2f}"]
                for row, scale in zip(rows, scales, strict=True)
            ],
        )
    )
    print()
    print(table(["command", "time", "processor time", "file"], queries(given.cases, given.nights, given.seed)))


if __name__ == "__main__":
    main()
