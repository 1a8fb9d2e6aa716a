"""How far runs spread, from a few of them and from those of other cases, and how steady a run's rounds are."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOISIER_CHANCE = 0.05
"""A case whose runs spread more than its neighbours' with less chance than this isn't moderated by them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Variance:
    """A variance of logarithms, with the degrees of freedom that it is known by; infinite ones are exact."""

    value: float
    dof: float

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.value)


def within(sides: Sequence[Sequence[float]]) -> Variance:
    """Variance within groups of logarithms, pooled over them; with no degree of freedom it is 0."""
    total, dof = 0.0, 0
    for side in sides:
        if len(side) > 1:
            centre = math.fsum(side) / len(side)
            total += math.fsum((value - centre) ** 2 for value in side)
            dof += len(side) - 1
    return Variance(total / dof if dof else 0.0, dof)


def pooled(left: Variance, right: Variance) -> Variance:
    """Two estimates of one variance, weighted by what they are known by."""
    dof = left.dof + right.dof
    return Variance((left.dof * left.value + right.dof * right.value) / dof, dof) if dof else left


def prior_of(variances: Sequence[Variance], least: float, most_dof: float) -> Variance | None:
    """What the variances of other cases say about the variance of one more.

    Variances of cases are taken to be scattered like a scaled inverse chi-square. Its degrees of freedom and its
    scale are estimated from the moments of the logarithms of the sample variances (Smyth 2004, section 6.2): the more
    alike the cases are, the more is known about the next one.

    Args:
        variances: of the other cases; those without a degree of freedom are left out.
        least: variance under which none is believed; exact zeros have no logarithm.
        most_dof: the prior never counts for more than this, however alike the cases are.

    Returns:
        None where fewer than two cases have a spread.
    """
    known = [variance for variance in variances if variance.dof > 0]
    if len(known) < 2:
        return None
    scores, expected = [], 0.0
    for variance in known:
        shift, scatter = _log_chi_square(variance.dof)
        scores.append(math.log(max(variance.value, least)) - shift)
        expected += scatter / len(known)
    centre = math.fsum(scores) / len(scores)
    excess = math.fsum((score - centre) ** 2 for score in scores) / (len(scores) - 1) - expected
    dof = min(most_dof, 2 * _inverse_trigamma(excess)) if excess > 0 else most_dof
    shift, _ = _log_chi_square(dof)
    # the scale is that of the capped prior where cases agree fully: then every case has the same variance
    value = math.exp(centre + (shift if excess > 0 else 0.0))
    return Variance(value, dof)


def moderated(own: Variance, prior: Variance | None) -> Variance:
    """A case's variance, drawn towards its neighbours' by as much as either is known.

    A case that is noisier than its neighbours beyond chance keeps its own: they must not flatter it. They still say
    something of how far off it may be, for half of what they are known by.
    """
    if prior is None or prior.dof <= 0:
        return own
    if own.dof <= 0:
        return prior
    if own.value > prior.value:
        # imported late: loading the judges must not cost what scipy costs
        from scipy.special import fdtrc

        if fdtrc(own.dof, prior.dof, own.value / prior.value) < _NOISIER_CHANCE:
            return Variance(own.value, own.dof + prior.dof / 2)
    return pooled(own, prior)


def chance_beyond(score: float, dof: float) -> float:
    """Probability that Student's t (the normal where `dof` is infinite) exceeds a score."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-score) if math.isinf(dof) else stdtr(dof, -score))


@functools.lru_cache(maxsize=4096)
def score_beyond(chance: float, dof: float) -> float:
    """The score that Student's t exceeds with a probability."""
    from scipy.special import ndtri, stdtrit

    return -float(ndtri(chance) if math.isinf(dof) else stdtrit(dof, chance))


@functools.lru_cache(maxsize=4096)
def spread_at_most(chance: float, dof: float) -> float:
    """The factor by which a standard deviation that was estimated falls short of the true one with a chance.

    The upper bound of a variance is its estimate times its degrees of freedom over chi-square's quantile.
    """
    from scipy.special import chdtri

    return 1.0 if math.isinf(dof) else math.sqrt(dof / float(chdtri(dof, 1 - chance)))


def holm(chances: Sequence[float], weights: Sequence[float], alpha: float) -> list[int]:
    """Hypotheses that Holm's procedure with weights rejects at `alpha`, the least likely first.

    Each step holds the smallest chance for its weight against `alpha` over the weights that are left (Holm 1979).
    """
    left = set(range(len(chances)))
    rejected: list[int] = []
    while left:
        total = math.fsum(weights[hypothesis] for hypothesis in left)
        best = min(left, key=lambda hypothesis: chances[hypothesis] / weights[hypothesis])
        if chances[best] > alpha * weights[best] / total:
            break
        rejected.append(best)
        left.discard(best)
    return rejected


@functools.lru_cache(maxsize=256)
def _log_chi_square(dof: float) -> tuple[float, float]:
    """Mean and variance of the logarithm of a chi-square over its degrees of freedom."""
    from scipy.special import digamma, polygamma

    return float(digamma(dof / 2)) - math.log(dof / 2), float(polygamma(1, dof / 2))


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value for a positive value, by Newton's method on 1 / trigamma, which is convex."""
    # trigamma and its derivative are zeta(2, x) and -2 zeta(3, x)
    from scipy.special import zeta

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(zeta(2, x))
        step = trigamma * (1 - trigamma / value) / (-2 * float(zeta(3, x)))
        x += step
        if -step < 1e-8 * x:
            break
    return x


def interquartile_rel(times_s: Sequence[float]) -> float | None:
    """Interquartile range over median, None for fewer than three times."""
    if len(times_s) < 3:
        return None
    low, middle, high = statistics.quantiles(times_s, n=4, method="inclusive")
    return (high - low) / middle


def drift_rel(times_s: Sequence[float]) -> float | None:
    """Median of the last third over that of the first, less 1; None for fewer than six times."""
    if len(times_s) < 6:
        return None
    third = len(times_s) // 3
    return statistics.median(times_s[-third:]) / statistics.median(times_s[:third]) - 1
