"""The comparison rules of other tools, written anew from what they document and do, for `time_rules_study.py`.

Each rule looks at the rounds of one old and one new process, as the tool does, and gives a score: the tool calls the
new one slower where the score exceeds the rule's default threshold. With another threshold the rule can be tuned to
as few false alarms as wanted.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rounds = NDArray[np.float64]
    """(comparisons, figures, rounds), the total first."""

_RESAMPLES = 200
"""Criterion takes 100,000: its interval is that of 200 within what matters here."""


@dataclasses.dataclass(frozen=True)
class Rival:
    """A rule of another tool: its name, its score and the threshold that it has by default."""

    name: str
    score: Callable[[Rounds, Rounds], NDArray[np.float64]]
    default: float


def _minimum(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    return np.asarray(new[:, 0].min(-1) / old[:, 0].min(-1) - 1)


def _mean(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    return np.asarray(new[:, 0].mean(-1) / old[:, 0].mean(-1) - 1)


def _criterion(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    """Lower end of the 95 % bootstrap interval of the change, where a bootstrap t test of rounds gives p < .05."""
    rng = np.random.default_rng(5)
    scores = []
    for a, b in zip(*(np.array_split(blocks[:, 0], max(1, len(old) // 2000)) for blocks in (old, new)), strict=True):
        pooled = np.concatenate([a, b], axis=-1)
        means, shuffled = [], []
        for _ in range(_RESAMPLES):
            means.append(_resampled(rng, b, b.shape[-1]).mean(-1) / _resampled(rng, a, a.shape[-1]).mean(-1) - 1)
            shuffled.append(_welch(_resampled(rng, pooled, a.shape[-1]), _resampled(rng, pooled, b.shape[-1])))
        p = (np.abs(shuffled) >= np.abs(_welch(a, b))).mean(0)
        low = np.quantile(means, 0.025, axis=0)
        scores.append(np.where(p < 0.05, low, -np.inf))
    return np.concatenate(scores)


def _resampled(rng: np.random.Generator, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    index = rng.integers(values.shape[-1], size=(len(values), count))
    return np.take_along_axis(values, index, axis=-1)


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    error = a.var(-1, ddof=1) / a.shape[-1] + b.var(-1, ddof=1) / b.shape[-1]
    return np.asarray((b.mean(-1) - a.mean(-1)) / np.sqrt(np.maximum(error, 1e-300)))


def _mann_whitney(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    """Two-sided p of the rank-sum test, by the normal approximation."""
    a, b = old[:, 0], new[:, 0]
    n, m = a.shape[-1], b.shape[-1]
    above = (b[:, :, None] > a[:, None, :]).sum((-1, -2)) + 0.5 * (b[:, :, None] == a[:, None, :]).sum((-1, -2))
    score = (np.abs(above - n * m / 2) - 0.5) / np.sqrt(n * m * (n + m + 1) / 12)
    return np.asarray(2 * special.ndtr(-np.maximum(score, 0)))


def _benchstat(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    change = np.median(new[:, 0], -1) / np.median(old[:, 0], -1) - 1
    return np.where(_mann_whitney(old, new) < 0.05, change, -np.inf)


def _asv(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    """Factor of the medians, where the samples differ at p < .002."""
    change = np.median(new[:, 0], -1) / np.median(old[:, 0], -1) - 1
    return np.where(_mann_whitney(old, new) < 0.002, change, -np.inf)


def _nvbench(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    """Change of the means beyond the smaller of the two relative standard deviations."""
    noise = np.minimum(*(rounds_s[:, 0].std(-1, ddof=1) / rounds_s[:, 0].mean(-1) for rounds_s in (old, new)))
    return np.asarray(_mean(old, new) - noise)


_ALLOWED = (1.25, 1.8, 1.25, 1.8)
"""End to end, text encoding, denoising, decoding: the tolerances of its pull-request profile."""


def _sglang(old: Rounds, new: Rounds) -> NDArray[np.float64]:
    """Times of a single call against what is written down for it, over the tolerance; the worst figure counts."""
    figures = min(old.shape[1], len(_ALLOWED))
    ratios = [new[:, n, 0] / old[:, n, 0] / _ALLOWED[n] for n in range(figures)]
    return np.asarray(np.max(ratios, axis=0) - 1)


RIVALS = (
    Rival("pytest-benchmark `min:5%`", _minimum, 0.05),
    Rival("pytest-benchmark `mean:5%`", _mean, 0.05),
    Rival("Criterion", _criterion, 0.01),
    Rival("benchstat", _benchstat, 0.0),
    Rival("asv", _asv, 0.10),
    Rival("nvbench", _nvbench, 0.0),
    Rival("sglang's limits", _sglang, 0.0),
)
