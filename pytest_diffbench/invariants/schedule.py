"""A schedule that is what the scheduler's own settings and the picture's size ask for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_diffbench.invariants.invariant import Outcome, broken, holds, not_applicable, unable

if TYPE_CHECKING:
    from pytest_diffbench.invariants.subject import Subject

_TOKENS = 0.5
"""By which a number of tokens may differ that is worked out from a shift."""


def shift(subject: Subject) -> Outcome:
    """A shift of the schedule that depends on the size of the picture is that of its number of tokens.

    Diffusers' `calculate_shift` is linear in the number of tokens n: `mu = base_shift + (max_shift - base_shift) *
    (n - base_image_seq_len) / (max_image_seq_len - base_image_seq_len)`. From the mu that the scheduler is handed, n
    is worked out. It is wrong where it isn't the denoiser's number of tokens, but another size of its sample.
    """
    scheduler = getattr(subject.pipeline, "scheduler", None)
    config = getattr(scheduler, "config", None)
    if config is None or not config.get("use_dynamic_shifting"):
        not_applicable("no_schedule", "use_dynamic_shifting")
    shape = next((call.sample_shape for call in subject.reference.calls if call.role == "denoiser"), ())
    handed = [kwargs.get("mu") for _, kwargs in subject.handed(scheduler, "set_timesteps")]
    mu = next((float(value) for value in handed if isinstance(value, int | float)), None)
    if mu is None or len(shape) < 3:
        unable("not_read", "mu")
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    slope = (config.get("max_shift", 1.15) - config.get("base_shift", 0.5)) / (high - low)
    implied = low + (mu - config.get("base_shift", 0.5)) / slope if slope else math.nan
    tokens = _tokens(subject, shape)
    if abs(implied - tokens) <= _TOKENS:
        return holds(observed=round(implied), expected=tokens)
    axes = [axis for axis, size in enumerate(shape) if abs(implied - size) <= _TOKENS]
    if not axes:
        unable("not_read", f"mu={mu:.4g}")
    where = (f"mu={mu:.4g}", f"axis {axes[0]} of {list(shape)}")
    return broken(observed=round(implied), expected=tokens, where=where)


def _tokens(subject: Subject, shape: tuple[int, ...]) -> int:
    """Of the picture, as the denoiser sees it."""
    if len(shape) == 3:
        return shape[1]
    name = next(call.name for call in subject.reference.calls if call.role == "denoiser")
    patch = getattr(getattr(getattr(subject.pipeline, name, None), "config", None), "patch_size", 1) or 1
    sizes = [patch] * 2 if isinstance(patch, int) else list(patch)[-2:]
    sides = [size // step for size, step in zip(shape[-2:], sizes, strict=True)]
    return math.prod([*shape[2:-2], *sides])
