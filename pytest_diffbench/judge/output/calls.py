"""Whether the calls of one session returned the same, and in words which of them didn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.output.image_members import decibels
from pytest_diffbench.judge.text import plural
from pytest_diffbench.judge.trace.words import share

if TYPE_CHECKING:
    from pytest_diffbench.judge.output.tolerance import Tolerance
    from pytest_diffbench.records import Output, RerunNoise

_MOST_NAMES = 3


def disagree(now: Output, allowed: Tolerance) -> bool:
    """Whether calls with the same arguments returned further from each other than the baseline may be away."""
    noise = now.rerun
    if noise.identical or allowed.hopeless:
        return False
    if noise.psnr_db is None and not now.images:
        return (noise.latents_rel or 0.0) > allowed.latents_rel
    if noise.psnr_db is None:  # other numbers or sizes of images, which have no PSNR; or the latents alone differ
        return len(noise.alike) > 1
    return noise.psnr_db < allowed.psnr_db


def disagreement(noise: RerunNoise) -> str:
    """Which calls returned something else, and how far off it was: a sentence without its end."""
    far = []
    if noise.psnr_db is not None:
        far.append(f"PSNR {decibels(noise.psnr_db)}")
    if noise.latents_rel is not None:
        far.append(f"{share(noise.latents_rel)} apart")
    text = f"calls with the same arguments disagree ({', '.join(far) or 'not the same number or size'})"
    return f"{text}: {_which(noise)}" if noise.alike else text


def cause(noise: RerunNoise) -> str:
    """What may be behind it, as far as that can be told; else empty."""
    if noise.drew_from:
        return f" It was handed a generator, and drew from a global one besides: {', '.join(noise.drew_from)}."
    if _first_alone(noise):
        return " The first call leaves something behind that changes those after it."
    return ""


def _which(noise: RerunNoise) -> str:
    groups = sorted(noise.alike, key=len)
    *odd, most = groups
    if len(most) == 1:
        return f"no two of {plural(noise.rounds, 'call')} agree"
    if _first_alone(noise):
        return f"the first ({noise.alike[0][0]}) differs from the {len(noise.alike[1])} after it"
    names = [name for group in odd for name in group]
    verb = "differs" if len(names) == 1 else "differ"
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{rest} {verb} from {', '.join(most[:_MOST_NAMES])}" + (
        f" and {len(most) - _MOST_NAMES} more" if len(most) > _MOST_NAMES else ""
    )


def _first_alone(noise: RerunNoise) -> bool:
    """Whether the calls fall into the first one and all others. Groups stand in the order in which they began."""
    return len(noise.alike) == 2 and len(noise.alike[0]) == 1 < len(noise.alike[1])
