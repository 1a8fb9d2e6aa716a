"""Shortcuts of calls that return other parts than images, beside a baseline that was probed in another session."""

from __future__ import annotations

import functools
import itertools
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import PROMPT
from real_comparisons import answer_beside, baseline_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records.artifacts import Reference

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

SHAPES = {"audio": (1, 8000), "prediction": (1, 1, 32, 32), "latents": (1, 4, 16, 16), "image_embeds": (1, 8, 32)}
"""What functions return: the field, of which each kind is recognised, and its shape."""


@pytest.fixture(autouse=True)
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a millisecond: how long functions of microseconds take isn't asked here."""
    ticks = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))


def computed(field: str, prompt: str, seed: int) -> torch.Tensor:
    """What the honest function returns: told by prompt and seed, from -1 to 1."""
    drawn = torch.Generator().manual_seed(zlib.crc32(f"{prompt} {seed}".encode()))
    return 0.9 * torch.tanh(torch.randn(SHAPES[field], generator=drawn))


class Target:
    """A call that returns what `make(field, prompt, seed)` does, and has a part whose work is seen."""

    def __init__(self, field: str, make: Callable[[str, str, int], torch.Tensor]) -> None:
        self._field, self._make = field, make
        self.components = {"vocoder": torch.nn.Identity()}

    def __call__(self, prompt: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
        self.components["vocoder"](torch.zeros(1, 2))
        return {self._field: self._make(self._field, prompt, generator.initial_seed())}


@functools.cache
def baseline(field: str) -> Reference:
    return baseline_by(Target(field, computed), {})


def rounded(field: str, prompt: str, seed: int) -> torch.Tensor:
    """Honest: it computes in half the digits, 60 dB and more from what the other does."""
    return computed(field, prompt, seed).half().float()


def memorised(field: str, prompt: str, seed: int) -> torch.Tensor:
    """It knows what the measured prompt gives, and makes something up for others."""
    return computed(field, prompt if prompt == PROMPT else f"not {prompt}", seed)


def seed_ignored(field: str, prompt: str, _seed: int) -> torch.Tensor:
    return computed(field, prompt, 0)


def prompt_ignored(field: str, _prompt: str, seed: int) -> torch.Tensor:
    return computed(field, PROMPT, seed)


def silent(field: str, prompt: str, seed: int) -> torch.Tensor:
    return computed(field, prompt, seed) * (prompt == PROMPT)


def shorter(field: str, prompt: str, seed: int) -> torch.Tensor:
    whole = computed(field, prompt, seed)
    return whole if prompt == PROMPT else whole[..., : whole.shape[-1] // 2]


def enlarged(field: str, prompt: str, seed: int) -> torch.Tensor:
    """Of other prompts every other value is computed."""
    whole = computed(field, prompt, seed)
    return whole if prompt == PROMPT else whole[..., ::2].repeat_interleave(2, dim=-1)


CHEATS = {
    memorised: "hidden_prompt_differs",
    seed_ignored: "seed_ignored",
    prompt_ignored: "prompt_ignored",
    silent: "hidden_prompt_differs",
    shorter: "hidden_prompt_differs",
    enlarged: "hidden_prompt_differs",
}


@pytest.mark.parametrize("field", SHAPES)
def test_an_honest_part_is_believed(field: str) -> None:
    found = answer_beside(baseline(field), Target(field, rounded), {})
    assert (found.word, found.reasons) == ("faster", ("time.faster",))


@pytest.mark.parametrize("field", SHAPES)
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
def test_a_shortcut_of_a_part_is_wrong(field: str, cheat: Any) -> None:
    found = answer_beside(baseline(field), Target(field, cheat), {})
    assert found.word == "wrong", found
    assert CHEATS[cheat] in found.reasons
