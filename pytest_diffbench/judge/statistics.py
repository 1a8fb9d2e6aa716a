"""What a few past runs say about the next one: a prediction interval, and how steady a run's rounds are."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Where one more run should fall if nothing changed; logarithms are natural, of seconds or of a ratio.

    Attributes:
        runs: number of past runs.
        centre_log: mean of their logarithms.
        spread_log: sample standard deviation of their logarithms; about a relative spread.
        half_width_log: a new run further than this from the centre is beyond what the spread explains.
        noise_log: standard deviation of the difference between a new run and the centre.
    """

    runs: int
    centre_log: float
    spread_log: float
    half_width_log: float
    noise_log: float

    def detectable_rel(self, floor_rel: float, power: float) -> float:
        """Smallest slowdown that is found with probability `power`, when it must also pass a practical floor.

        With many runs, `alpha` .001 and `power` .95 this is 4.7 times the spread: 3.09 to be beyond chance, 1.64 to
        be found nearly always.
        """
        needed_log = max(self.half_width_log, math.log1p(floor_rel))
        return math.expm1(needed_log + statistics.NormalDist().inv_cdf(power) * self.noise_log)


def predict(logs: Sequence[float], prior_rel: float, alpha: float) -> Prediction:
    """Predict the logarithm of one more run, one-sided.

    The half width is the larger of Student's interval for a new observation, `t(1 - alpha, k - 1) s sqrt(1 + 1/k)`,
    and of the normal one with the prior spread, `z(1 - alpha) s0 sqrt(1 + 1/k)`. The first alone alarms with
    probability `alpha` whatever the true spread is; the second keeps a few runs that agree by luck from promising
    a precision that the kind of machine doesn't have. It needs no t quantile: it wasn't estimated from the runs.

    Args:
        logs: logarithms of the past runs' figures, at least two.
        prior_rel: spread between runs below which no machine of this kind is believed.
        alpha: probability of an alarm by chance.

    Raises:
        ValueError: fewer than two runs.
    """
    count = len(logs)
    if count < 2:
        raise ValueError(f"a spread needs two runs or more, not {count}")
    # imported late: loading the judges must not cost what scipy costs
    from scipy.special import stdtrit

    spread = statistics.stdev(logs)
    widening = math.sqrt(1 + 1 / count)
    by_sample = float(stdtrit(count - 1, 1 - alpha)) * spread
    by_prior = statistics.NormalDist().inv_cdf(1 - alpha) * prior_rel
    return Prediction(
        runs=count,
        centre_log=statistics.fmean(logs),
        spread_log=spread,
        half_width_log=widening * max(by_sample, by_prior),
        noise_log=widening * max(spread, prior_rel),
    )


def interquartile_rel(times_s: Sequence[float]) -> float | None:
    """Interquartile range over median, None for fewer than three times."""
    if len(times_s) < 3:
        return None
    low, middle, high = statistics.quantiles(times_s, n=4, method="inclusive")
    return (high - low) / middle


def drift_rel(times_s: Sequence[float]) -> float | None:
    """Median of the last third over that of the first third, less 1; None for fewer than six times."""
    if len(times_s) < 6:
        return None
    third = len(times_s) // 3
    return statistics.median(times_s[-third:]) / statistics.median(times_s[:third]) - 1
