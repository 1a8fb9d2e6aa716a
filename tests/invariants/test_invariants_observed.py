"""What is taken down of a varied call, and how it is changed by a few roundings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pytest_diffbench.invariants.observed import Recorder, jitter
from pytest_diffbench.measure.components import Site


def recorded(*sites: Site, **arguments: Any) -> Recorder:
    survey: Any = SimpleNamespace(enter=lambda *_: None)
    recorder = Recorder(survey)
    for site in sites:
        recorder.enter(site, (), arguments)
    return recorder


def test_components_are_taken_down_and_neither_steps_nor_the_pipelines_own_methods() -> None:
    recorder = recorded(
        Site("text_encoder", None, "text", None),
        Site("scheduler", "step", "step", None),
        Site("", "encode_prompt", "text", None),
    )
    assert [call.name for call in recorder.calls] == ["text_encoder"]


@pytest.mark.parametrize("within", [lambda x: x, lambda x: {"a": {"b": x}}, lambda x: [1, (x, None)]])
def test_inputs_are_distinguished_by_every_tensor_within(within: Any) -> None:
    site = Site("transformer", None, "denoiser", None)
    changed = torch.zeros(10_000)
    changed[5_000] = 1.0  # which a printed tensor leaves out
    first, again, other = (
        recorded(site, given=within(tensor)).calls[0].inputs
        for tensor in (torch.zeros(10_000), torch.zeros(10_000), changed)
    )
    assert first == again != other


def test_roundings_go_up_and_down_and_leave_numbers_and_single_vectors_unchanged() -> None:
    rows, whole, vector = torch.ones(4, 64), torch.ones(4, 64, dtype=torch.int64), torch.ones(64)
    (changed, *_), nested = jitter(torch.nn.Identity(), (rows,), {"whole": whole, "vector": [vector]})
    gaps = (changed - 1) / torch.finfo(torch.float32).eps
    assert set(gaps.flatten().tolist()) == {-8.0, 8.0}
    assert nested["whole"].equal(whole)
    assert nested["vector"][0].equal(vector)
