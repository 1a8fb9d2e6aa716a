"""What a call is defined by, and the threads that it is measured with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_diffbench.records import Definition
from pytest_diffbench.session.defining import definition_of, threads_of
from pytest_diffbench.settings.options import Settings


class Target(SimpleNamespace):
    """Something that can be called."""

    def __call__(self) -> None:
        """Nothing is done."""


@pytest.mark.parametrize(
    ("target", "dtype"),
    [(Target(dtype=torch.bfloat16), "bfloat16"), (Target(dtype=None), "unknown"), (Target(), "unknown")],
)
def test_a_target_of_the_tests_own_has_the_stated_dtype(target: Target, dtype: str) -> None:
    device, definition = definition_of(target, None, {"steps": 4}, Settings(device="cpu", seed=3))
    assert device == "cpu"
    assert (definition.weights, definition.dtype, definition.seed) == ("own", dtype, 3)
    assert definition.arguments == {"steps": 4}


@pytest.mark.parametrize(
    ("weights", "device", "asked", "threads"),
    [
        ("mini", "cpu", None, 1),
        ("mini", "cpu", 4, 4),
        ("mini", "cuda:0", None, None),
        ("random", "cpu", None, None),
        ("random", "cpu", 2, 2),
    ],
)
def test_a_mini_on_a_cpu_has_a_single_thread_unless_others_are_requested(
    weights: Any, device: str, asked: int | None, threads: int | None
) -> None:
    definition = Definition(pipeline="P", weights=weights, dtype="float32", seed=0, arguments={})
    assert threads_of(device, definition, Settings(threads=asked)) == threads
