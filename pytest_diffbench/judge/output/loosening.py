"""Thresholds of a case: what its test asks for in place of the defaults, which way is looser, and their history."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import did_you_mean
from pytest_diffbench.judge.limits import Limits, TierLimits, metric_named
from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.records import ToleranceChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.outputs.metrics.metric import Metric
    from pytest_diffbench.records import Thresholds


_DEFAULT_AGAIN = "back to the default"
_STRICTER = "stricter, which needs no reason"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold as tests name it.

    Attributes:
        default: on this class of machine.
        far_field: field of `Limits` for another class, which is never left stricter; None where there is none, and
            for metrics.
        is_least: the value is a least one, so that less is looser.
        largest: the largest value that there is.
        whole: it is a whole number.
    """

    default: float
    far_field: str | None = None
    is_least: bool = False
    largest: float = math.inf
    whole: bool = False

    def is_looser(self, value: float, than: float) -> bool:
        """Whether a value lets more through than another."""
        return value < than if self.is_least else value > than


def threshold_of(metric: Metric) -> Threshold:
    """The threshold of a metric of images, or of another kind of output."""
    return Threshold(
        default=metric.machine, is_least=metric.higher_is_better, largest=metric.largest, whole=metric.whole
    )


TOLERANCES: dict[str, Threshold] = {
    **{name: threshold_of(metric) for name, metric in (*METRICS.items(), *PART_METRICS.items())},
    "latents_rel": Threshold(default=Limits().latents_machine_rel, far_field="latents_drift_rel"),
    "trace_first_rel": Threshold(default=Limits().trace_first_rel),
}
"""By the name that a test gives, as in `tolerance={"psnr_db": 35}`; the names are those of the verdict's figures."""

_FIELDS = {"latents_rel": "latents_machine_rel", "trace_first_rel": "trace_first_rel"}
"""Fields of `Limits` that hold them; the others are metrics."""


def checked(value: Any) -> tuple[tuple[str, float], ...]:
    """What a test gave as its tolerance, in the order of `TOLERANCES`.

    Raises:
        ValueError: saying what it may be.
    """
    names = ", ".join(TOLERANCES)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"is a dict of thresholds such as {{'psnr_db': 35}}, of {names}")
    for name, number in value.items():
        if name not in TOLERANCES:
            raise ValueError(f"has no threshold {name!r}{did_you_mean(str(name), TOLERANCES)}: there are {names}")
        whole = TOLERANCES[name].whole
        if not isinstance(number, int if whole else int | float) or isinstance(number, bool):
            raise ValueError(f"has {name}={number!r}, which isn't a {'whole ' if whole else ''}number")
        if not 0 <= number <= TOLERANCES[name].largest or not math.isfinite(number):
            largest = TOLERANCES[name].largest
            span = "at least 0" if math.isinf(largest) else f"from 0 to {largest:g}"
            raise ValueError(f"has {name}={number!r}, which isn't {span}")
    return tuple((name, value[name]) for name in TOLERANCES if name in value)


def looser_than_default(tolerance: Sequence[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Thresholds that let more through than they do by default: name, default and value."""
    return [
        (name, TOLERANCES[name].default, value)
        for name, value in tolerance
        if TOLERANCES[name].is_looser(value, TOLERANCES[name].default)
    ]


def limit_fields(tolerance: Sequence[tuple[str, float]], reason: str | None) -> dict[str, Any]:
    """Fields of `Limits` that say the same."""
    fields: dict[str, Any] = {"output_reason": reason or ""} if tolerance else {}
    metrics = {}
    for name, value in tolerance:
        if name not in _FIELDS:
            metric = metric_named(name)
            metrics[name] = TierLimits(value, metric.looser(value, metric.drift))
            continue
        fields[_FIELDS[name]] = value
        if (far := TOLERANCES[name].far_field) is not None:
            fields[far] = max(value, getattr(Limits(), far))
    return fields | ({"metric_limits": metrics} if metrics else {})


def history_with(limits: Limits, before: Sequence[ToleranceChange], when: str) -> tuple[ToleranceChange, ...]:
    """The history of a case's thresholds once these limits are accepted.

    Args:
        limits: of the test.
        before: the history so far, oldest first.
        when: UTC, ISO 8601.
    """
    return (*before, *pending_changes(limits, before, when))


def pending_changes(limits: Limits, before: Sequence[ToleranceChange], when: str = "") -> tuple[ToleranceChange, ...]:
    """What these limits add to a history, see `history_with`."""
    now = thresholds_after(before)
    changes = []
    for name, threshold in TOLERANCES.items():
        value, last = _value(limits, name), now[name]
        if value != last:
            why = limits.output_reason or (_DEFAULT_AGAIN if value == threshold.default else _STRICTER)
            changes.append(ToleranceChange(changed=when, limit=name, before=last, after=value, reason=why))
    return tuple(changes)


def thresholds_after(history: Sequence[ToleranceChange]) -> dict[str, float]:
    """The thresholds that a history ends with."""
    return {name: threshold.default for name, threshold in TOLERANCES.items()} | {
        change.limit: change.after for change in history if change.limit in TOLERANCES
    }


def _value(limits: Limits, name: str) -> float:
    return float(getattr(limits, _FIELDS[name]) if name in _FIELDS else limits.tiers(name).machine)


def limits_with(thresholds: Thresholds) -> Limits:
    """The limits of a case.

    Raises:
        OptionError: a threshold is outside the range of its kind.
    """
    usual = Limits()
    changed: dict[str, Any] = limit_fields(tuple(thresholds.tolerance.items()), thresholds.reason)
    if thresholds.memory_rel is not None:
        changed |= {"memory_rel": thresholds.memory_rel, "memory_rss_rel": thresholds.memory_rel}
    if thresholds.time_floor_rel is not None:
        changed |= {"time_floor_rel": thresholds.time_floor_rel, "time_floor_cpu_rel": thresholds.time_floor_rel}
    if thresholds.time_floor_s is not None:
        changed["time_floor_s"] = thresholds.time_floor_s
    if thresholds.confirmations is not None:
        # The first run alone decides where nothing may confirm it.
        changed |= {
            "time_confirmations": min(usual.time_confirmations, thresholds.confirmations),
            "time_max_runs": 1 + thresholds.confirmations,
        }
    if thresholds.pairs is not None:
        changed["time_max_pairs"] = max(usual.time_max_pairs, thresholds.pairs)
    return Limits(**changed)
