"""Thresholds of output that a test changed for its case: which there are, which way is looser, and their history."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.limits import Limits
from pytest_diffbench.records import ToleranceChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULT_AGAIN = "back to the default"
_STRICTER = "stricter, which needs no reason"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Threshold:
    """A threshold as tests name it.

    Attributes:
        near: field of `Limits` for this class of machine.
        far: field for another one, which is never left stricter than that.
        least: the value is a least one, so that less is looser.
        most_value: the largest value that there is.
    """

    near: str
    far: str | None = None
    least: bool = False
    most_value: float = math.inf

    @property
    def default(self) -> float:
        return float(getattr(Limits(), self.near))

    def is_looser(self, value: float, than: float) -> bool:
        return value < than if self.least else value > than

    def looser(self, left: float, right: float) -> float:
        return left if self.is_looser(left, right) else right


TOLERANCES: dict[str, _Threshold] = {
    "psnr_db": _Threshold(near="psnr_machine_db", far="psnr_drift_db", least=True),
    "p999_levels": _Threshold(near="p999_machine_levels", far="p999_drift_levels", most_value=255),
    "ssim": _Threshold(near="ssim_machine", far="ssim_drift", least=True, most_value=1),
    "tile_ssim": _Threshold(near="tile_ssim_machine", far="tile_ssim_drift", least=True, most_value=1),
    "tile_p99_levels": _Threshold(near="tile_p99_machine_levels", far="tile_p99_drift_levels", most_value=255),
    "colour_levels": _Threshold(near="colour_machine_levels", far="colour_drift_levels", most_value=255),
    "seam_levels": _Threshold(near="seam_machine_levels", far="seam_drift_levels", most_value=255),
    "hash_bits": _Threshold(near="hash_machine_bits", far="hash_drift_bits", most_value=64),
    "flip": _Threshold(near="flip_machine", far="flip_drift", most_value=1),
    "ssimulacra2": _Threshold(near="ssimulacra2_machine", far="ssimulacra2_drift", least=True, most_value=100),
    "lpips": _Threshold(near="lpips_machine", far="lpips_drift"),
    "latents_rel": _Threshold(near="latents_machine_rel", far="latents_drift_rel"),
    "trace_first_rel": _Threshold(near="trace_first_rel"),
}
"""By the name that a test gives, as in `tolerance={"psnr_db": 35}`; the names are those of the verdict's figures."""


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
            raise ValueError(f"has no threshold {name!r}: there are {names}")
        whole = name == "hash_bits"
        if not isinstance(number, int if whole else int | float) or isinstance(number, bool):
            raise ValueError(f"has {name}={number!r}, which isn't a {'whole ' if whole else ''}number")
        if not 0 <= number <= TOLERANCES[name].most_value or not math.isfinite(number):
            most = TOLERANCES[name].most_value
            span = "at least 0" if math.isinf(most) else f"from 0 to {most:g}"
            raise ValueError(f"has {name}={number!r}, which isn't {span}")
    return tuple((name, value[name]) for name in TOLERANCES if name in value)


def looser_than_default(tolerance: Sequence[tuple[str, float]]) -> list[str]:
    """Thresholds that let more through than they do by default, as `psnr_db 40 -> 35`."""
    return [
        f"{name} {TOLERANCES[name].default:g} -> {value:g}"
        for name, value in tolerance
        if TOLERANCES[name].is_looser(value, TOLERANCES[name].default)
    ]


def limit_fields(tolerance: Sequence[tuple[str, float]], reason: str | None) -> dict[str, Any]:
    """Fields of `Limits` that say the same."""
    found: dict[str, Any] = {"output_reason": reason or ""} if tolerance else {}
    for name, value in tolerance:
        threshold = TOLERANCES[name]
        found[threshold.near] = value
        if threshold.far is not None:
            found[threshold.far] = threshold.looser(value, getattr(Limits(), threshold.far))
    return found


def history_with(limits: Limits, before: Sequence[ToleranceChange], when: str) -> tuple[ToleranceChange, ...]:
    """The history of a case's thresholds once these limits are accepted.

    Args:
        limits: of the test.
        before: the history so far, oldest first.
        when: UTC, ISO 8601.
    """
    now = thresholds_after(before)
    changes = []
    for name, threshold in TOLERANCES.items():
        value, last = float(getattr(limits, threshold.near)), now[name]
        if value != last:
            why = limits.output_reason or (_DEFAULT_AGAIN if value == threshold.default else _STRICTER)
            changes.append(ToleranceChange(changed=when, limit=name, before=last, after=value, reason=why))
    return (*before, *changes)


def thresholds_after(history: Sequence[ToleranceChange]) -> dict[str, float]:
    """The thresholds that a history ends with."""
    return {name: threshold.default for name, threshold in TOLERANCES.items()} | {
        one.limit: one.after for one in history if one.limit in TOLERANCES
    }


def told(limits: Limits, history: Sequence[ToleranceChange]) -> list[str]:
    """The history of a case's thresholds in words, and what differs from its end; empty where all are the default."""
    pending = history_with(limits, history, "")[len(history) :]
    return [
        *map(line, history),
        *(f"{line(one)} (not in the baseline's history yet: --diffbench-save adds it)" for one in pending),
    ]


def line(change: ToleranceChange) -> str:
    """One change in words: `tolerance psnr_db 40 -> 35 since 2026-01-31: attention in int8`."""
    since = f" since {change.changed[:10]}" if change.changed else ""
    return f"tolerance {change.limit} {change.before:g} -> {change.after:g}{since}: {change.reason}"


def described(tolerance: Mapping[str, float], reason: str) -> str:
    """The arguments of a marker that give these thresholds."""
    inner = ", ".join(f'"{name}": {value:g}' for name, value in tolerance.items())
    return f'tolerance={{{inner}}}, reason="{reason}"'
