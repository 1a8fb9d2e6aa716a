"""A shortcut that nothing but another seed gives away, and a pipeline that takes none: both are looked at in full."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_calls import frozen_heap  # noqa: F401 - a fixture
from test_measure_cheats import answered

pytestmark = pytest.mark.pipeline


def seed_ignored(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    return honest(prompt, **(arguments | {"generator": torch.Generator("cpu").manual_seed(0)}))


def test_a_pipeline_ignoring_seeds_is_wrong() -> None:
    answer = answered(seed_ignored)
    assert answer.word == "wrong"
    assert "seed_ignored" in answer.reasons


def test_an_honest_pipeline_is_not_accused() -> None:
    answer = answered(lambda _self, honest, prompt, arguments: honest(prompt, **arguments))
    assert (answer.word, answer.reasons) == ("inert", ()), "it is the same pipeline"
