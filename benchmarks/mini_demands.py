"""What a trained mini has to reach, and whether it did: the demands of `mini_agreement`."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mini_agreement import Measured

_LEAST_SHARES = {"object_colour": 0.95, "ground": 0.95, "shape": 0.90}
_WITHIN_POINTS = 2.0
_SAVED_SHARE = 0.25
_CHANCE = 0.01
"""Below which a difference isn't laid to chance."""

_BURNT_SHARE, _SOUND_SHARE = 0.05, 0.01
_BURNT_FACTOR = 2.0
"""Burnt out: so many pixels are saturated, and colours are so many times as far off as with renorm."""

RECOMMENDED, UNGUIDED, TRUNCATED = "as recommended", "guidance 1", "ratio 0.5"
STRONG, STRONG_PLAIN = "guidance 10", "guidance 10, no renorm"

FACTS = {
    "object_colour": "object colour",
    "ground": "ground",
    "shape": "shape",
    "colours_and_shape": "all three",
    "size": "size, where named",
    "place": "place, where named",
    "count": "one object",
}
"""Headings of attributes of `Agreement`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """Something that a mini has to reach, and what it reached."""

    model: str
    asked: str
    reached: str
    met: bool


def demanded(name: str, settings: Mapping[str, Measured]) -> list[Demand]:
    """Hold a mini's figures against what it has to reach."""
    recommended, unguided = settings[RECOMMENDED], settings[UNGUIDED]
    demands = []
    for fact, least in _LEAST_SHARES.items():
        share = recommended.share(fact)
        demands.append(Demand(name, f"{FACTS[fact]} right in at least {least:.0%}", f"{share:.1%}", share >= least))
    gained, lost = changed(unguided, recommended, "colours_and_shape")
    chance = mcnemar(gained, lost)
    outcome = f"gained in {gained} pictures, lost in {lost}, p = {chance:.2g}"
    asked = f"all three right more often than at guidance 1, p < {_CHANCE:g} (McNemar)"
    demands.append(Demand(name, asked, outcome, gained > lost and chance < _CHANCE))
    if TRUNCATED not in settings:
        return demands
    truncated = settings[TRUNCATED]
    points = {fact: 100 * (truncated.share(fact) - recommended.share(fact)) for fact in _LEAST_SHARES}
    outcome = ", ".join(f"{FACTS[fact]} {change:+.1f}" for fact, change in points.items())
    near = all(abs(change) <= _WITHIN_POINTS + 1e-9 for change in points.values())
    demands.append(Demand(name, f"ratio 0.5 changes each by at most {_WITHIN_POINTS:g} points", outcome, near))
    outcome = f"{truncated.calls_a_picture:g} against {recommended.calls_a_picture:g} a picture"
    exact = truncated.calls == (1 - _SAVED_SHARE) * recommended.calls
    demands.append(Demand(name, f"ratio 0.5 saves exactly {_SAVED_SHARE:.0%} of denoiser calls", outcome, exact))
    sound, burnt = settings[STRONG], settings[STRONG_PLAIN]
    outcome = f"{burnt.saturated:.1%} of pixels saturated, colour error {burnt.colour_error:.1f}"
    asked = (
        f"guidance 10 without renorm saturates at least {_BURNT_SHARE:.0%}, {_BURNT_FACTOR:g} times the colour error"
    )
    met = burnt.saturated >= _BURNT_SHARE and burnt.colour_error >= _BURNT_FACTOR * sound.colour_error
    demands.append(Demand(name, asked, outcome, met))
    outcome = f"{sound.saturated:.1%} of pixels saturated, colour error {sound.colour_error:.1f}"
    asked = f"guidance 10 with renorm saturates at most {_SOUND_SHARE:.0%}"
    demands.append(Demand(name, asked, outcome, sound.saturated <= _SOUND_SHARE))
    return demands


def changed(before: Measured, after: Measured, fact: str) -> tuple[int, int]:
    """Count the captions of which an attribute of `Agreement` became true, and of which it ceased to be."""
    pairs = [
        (getattr(earlier.agreement, fact), getattr(other.agreement, fact))
        for earlier, other in zip(before.pictures, after.pictures, strict=True)
    ]
    return pairs.count((False, True)), pairs.count((True, False))


def mcnemar(gained: int, lost: int) -> float:
    """Give the probability of a split at least so uneven if both directions were as likely (exact, two-sided)."""
    count = gained + lost
    tail = sum(math.comb(count, few) for few in range(min(gained, lost) + 1)) / 2.0**count
    return min(1.0, 2 * tail)
