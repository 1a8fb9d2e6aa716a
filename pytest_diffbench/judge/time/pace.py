"""What the machine may have done to a time: bounds on a case's change from the pace of reference work."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from pytest_diffbench.judge.time.spread import Experience
from pytest_diffbench.stats.variance import Variance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge.limits import Limits


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How long a machine takes for reference work, against how long it usually takes.

    Attributes:
        usual: whether it keeps its usual pace.
        low_log: what it explains of a case's change at most, to be taken off before the case is called slower.
        high_log: what it explains at least, to be taken off before the case is called faster.
        middle_log: mean over the kinds of work, for a person.
    """

    usual: bool
    low_log: float
    high_log: float
    middle_log: float


def pace_of(changes_log: Sequence[float], limits: Limits) -> Pace:
    """Sum up how reference work changed.

    At its usual pace a machine moves each case as it moves the reference work. Off it, cases may move further, by
    `Limits.machine_explains`, or not at all.

    Args:
        changes_log: logarithms of the time of each kind of work over its usual one; at least one.
        limits: thresholds.
    """
    middle_log = math.fsum(changes_log) / len(changes_log)
    off_log = math.log1p(limits.machine_rel)
    most, least = max(changes_log), min(changes_log)
    if abs(middle_log) <= off_log and max(most, -least) <= 2 * off_log:
        return Pace(True, middle_log, middle_log, middle_log)
    return Pace(
        False,
        max(0.0, limits.machine_explains * most),
        min(0.0, limits.machine_explains * least),
        middle_log,
    )


def unknown_pace(past_runs: int, limits: Limits) -> Pace:
    """What a machine may have done whose pace nobody knows."""
    allowed_log = math.log1p(limits.machine_unknown_rel) if past_runs < limits.machine_known_runs else 0.0
    return Pace(True, allowed_log, -allowed_log, 0.0)


def experience_of(limits: Limits, family: str, *, part: bool = False) -> Experience:
    """What is known of a kind of device before a run was recorded.

    Args:
        limits: thresholds.
        family: type of the device.
        part: of a stage or a group of steps, which spread by more than the whole.
    """
    on_cpu = family == "cpu"
    wider = limits.time_part_spread if part else 1.0
    day_rel = limits.time_day_spread_cpu_rel if on_cpu else limits.time_day_spread_rel
    run_rel = limits.time_run_spread_cpu_rel if on_cpu else limits.time_run_spread_rel
    return Experience(
        between=Variance((wider * day_rel) ** 2, limits.time_expected_dof),
        within=Variance((wider * run_rel) ** 2, limits.time_expected_dof),
        least_log=limits.time_spread_cpu_rel if on_cpu else limits.time_spread_rel,
        most_dof=limits.time_prior_max_dof,
    )
