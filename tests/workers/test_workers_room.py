"""Before a fresh process starts, this one gives the device's memory back, and afterwards it goes on as before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pytest_diffbench.pipelines.aside import moved_to_cpu


class Pipeline:
    """Notes where it was moved to."""

    def __init__(self, device: str = "cuda:1", **attributes: Any) -> None:
        self.device = torch.device(device)
        self.moves: list[str] = []
        vars(self).update(attributes)

    def to(self, device: Any) -> None:
        self.moves.append(str(device))


class Quantised(Pipeline):
    """Can't be moved."""

    def to(self, device: Any) -> None:
        super().to(device)
        if str(device) == "cpu":
            raise ValueError("quantised weights stay where they are")


class Offloaded:
    """A component with accelerate's hook."""

    _hf_hook = object()


def test_a_pipeline_of_the_tests_own_goes_to_the_cpu_and_comes_back() -> None:
    pipeline = Pipeline()
    with moved_to_cpu(pipeline) as problem:
        assert (problem, pipeline.moves) == (None, ["cpu"])
    assert pipeline.moves == ["cpu", "cuda:1"]


def test_the_pipeline_comes_back_after_an_interruption_too() -> None:
    pipeline = Pipeline()
    with pytest.raises(KeyboardInterrupt), moved_to_cpu(pipeline):
        raise KeyboardInterrupt
    assert pipeline.moves == ["cpu", "cuda:1"]


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        (Pipeline("cpu"), None),
        (Pipeline("meta"), None),
        (Pipeline(_all_hooks=["a hook"]), "it offloads by itself"),
        (Pipeline(hf_device_map={"": 0}), "it offloads by itself"),
        (Pipeline(components={"transformer": Offloaded()}), "it offloads by itself"),
    ],
)
def test_what_has_no_device_or_offloads_is_left_alone(pipeline: Pipeline, why: str | None) -> None:
    with moved_to_cpu(pipeline) as problem:
        assert problem == why
    assert pipeline.moves == []


def test_what_cannot_be_moved_stays_and_is_reported() -> None:
    pipeline = Quantised()
    with moved_to_cpu(pipeline) as problem:
        assert problem == "ValueError: quantised weights stay where they are"
    assert pipeline.moves == ["cpu", "cuda:1"]


def test_a_callable_has_nothing_to_give() -> None:
    with moved_to_cpu(lambda: None) as problem:
        assert problem is None
