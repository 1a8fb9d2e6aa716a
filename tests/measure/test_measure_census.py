"""What a census counts, beside what is known to run."""

from __future__ import annotations

import sys

import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
)

from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import sites_of
from pytest_diffbench.measure.rounds import Caller
from pytest_diffbench.measure.surveying import count_call
from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION


def called() -> int:
    return 1


def test_operators_are_counted_by_place_and_views_are_not() -> None:
    tensor = torch.ones(4, 4)
    with Census() as census:
        census.at("one")
        tensor @ tensor + tensor.view(16)[:4]
        census.at(None)
        torch.sin(tensor)
        census.at("other")
        tensor.transpose(0, 1).contiguous()
    assert census.operators() == {"one": {"mm": 1, "add": 1}, "other": {"clone": 1}}
    assert census.total() == 2 * 4**3


@pytest.mark.parametrize(
    "backend", [torch.nn.attention.SDPBackend.MATH, torch.nn.attention.SDPBackend.FLASH_ATTENTION]
)
def test_attention_is_counted_as_requested(backend: torch.nn.attention.SDPBackend) -> None:
    query, mask = torch.zeros(1, 2, 5, 8), torch.ones(5, 5, dtype=torch.bool)
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(backend), Census() as census:
        census.at("place")
        attention(query, query, query)
        attention(query, query, query, mask)
        attention(query, query, query, attn_mask=mask)
        attention(query, query, query, attn_mask=None)
    counts = census.operators()["place"]
    assert (counts[ATTENTION], counts[MASKED_ATTENTION]) == (2, 2)
    assert not any("dot_product" in name for name in counts)


def test_python_functions_are_counted_by_place() -> None:
    with Census() as census:
        census.at("one")
        for _ in range(3):
            called()
        census.at("other")
        called()
        census.at(None)
        called()
    assert census.python_calls() == {"one": 3, "other": 1}
    assert sys.getprofile() is None


def test_a_progress_bar_and_functions_within_are_not_counted() -> None:
    from tqdm import tqdm

    def once(name: str, steps: list[int]) -> int:
        with Census() as census:
            census.at(name)
            for _ in steps:
                called()
            census.at(None)
        return census.python_calls()[name]

    steps = list(range(5))
    with tqdm(steps, mininterval=0, disable=False, file=open("/dev/null", "w")) as bar:  # noqa: PTH123
        assert once("bar", bar) == once("list", steps) == 5


def test_a_different_profiler_keeps_the_place() -> None:
    calls = []

    def profiler(*_: object) -> None:
        calls.append(1)

    sys.setprofile(profiler)
    try:
        with Census() as census:
            census.at("place")
            called()
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert census.python_calls() == {}


def test_tensors_are_counted_while_alive_beyond_the_entry_of_a_stage() -> None:
    size = 4 * 2**10
    with Census() as census:
        census.at("place")
        kept = torch.ones(2**10)
        census.workspace.enter("denoise")
        part = (kept + 1).view(2, -1)[0]  # its storage lives on in the view
        del part
        first, second = kept + 1, kept + 2
        first += 1
        first = first + second
        del first, second
        census.workspace.enter("vae_decode")
        kept.split(2**8)[0].clone()
        census.workspace.enter("denoise")
        kept.clone()
    assert census.workspace.peaks() == {"unattributed": size, "denoise": 3 * size, "vae_decode": size // 4}
    assert census.workspace.live_bytes == size


def test_nothing_is_held_once_a_census_is_over() -> None:
    with Census() as census:
        census.at("place")
        kept = torch.ones(2**10) + 1
    live = census.workspace.live_bytes
    del kept
    assert census.workspace.live_bytes == live > 0, "what is left is no longer watched"


@pytest.mark.pipeline
@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_a_call_has_the_same_counts_every_time(name: str) -> None:
    pipeline = mini(name)
    caller = Caller(pipeline, (PROMPT,), SMALL, 0, clock_for("cpu"))
    caller.call()  # fills caches
    counted, other = (count_call(caller, list(sites_of(pipeline)), pipeline) for _ in range(2))
    first, second = counted.survey.work(), other.survey.work()
    assert counted.workspace_bytes == other.workspace_bytes
    assert min(counted.workspace_bytes.values()) > 0
    assert first.operators == second.operators
    assert first.python_calls == second.python_calls
    assert first.operators.keys() >= {"transformer", "vae.decode", "scheduler", "pipeline"}
    assert first.operators["transformer"][ATTENTION] > 0
    assert first.python_calls.keys() >= {"transformer", "vae.decode", "scheduler", "pipeline"}
