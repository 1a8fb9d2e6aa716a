"""Slowdowns that are planted in real pipelines, and what their profiles say."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    new_mini,
    prepared,
    take,
)
from test_measure_real_profile import (
    ATTENTION,
    CLOCK,
    STEPS,
    base,  # noqa: F401 - a fixture
    calls,
    profiled,
    profiler_is_on,
)
from torch.nn.functional import linear, scaled_dot_product_attention

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.time.kernels import explain
from pytest_diffbench.judge.time.places import moved_parts
from pytest_diffbench.measure import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_diffbench.records import Observation, Stage

pytestmark = pytest.mark.pipeline


@contextlib.contextmanager
def before_calls_of(module: Any, work: Callable[[int], object], method: str = "forward") -> Iterator[None]:
    """Let a module do more work than it needs, before each of its calls: `work` is told how many came before."""
    original, count = getattr(module, method), 0

    def busier(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        work(count)
        count += 1
        return original(*args, **kwargs)

    object.__setattr__(module, method, busier)
    try:
        yield
    finally:
        object.__delattr__(module, method)


BIG = torch.ones(4, 64, 64)
"""Work that can't drown in the noise of a tiny pipeline."""


def attend(_call: int) -> object:
    return scaled_dot_product_attention(BIG[None], BIG[None], BIG[None])


def multiply(_call: int) -> object:
    return linear(BIG, BIG[0])


def copy(_call: int) -> object:
    return BIG.to(torch.float64, copy=True)


@dataclasses.dataclass(frozen=True)
class Plant:
    """More work in a place, and where it must be told of."""

    place: str
    work: Callable[[int], object]
    stage: Stage
    operator: str
    more: int


# Without guidance the denoiser is called once a step.
PLANTS = {
    "attention": Plant("transformer", attend, "denoise", ATTENTION, STEPS),
    "cast": Plant("transformer", copy, "denoise", "aten::copy_", STEPS),
    "scheduler": Plant("scheduler.step", copy, "denoise", "aten::copy_", STEPS),
    "text encoder": Plant("text_encoder", multiply, "text_encode", "aten::mm", 1),
    "decoder": Plant("vae.decoder", attend, "vae_decode", ATTENTION, 1),
}


@contextlib.contextmanager
def planted(pipeline: Any, plant: Plant) -> Iterator[None]:
    module, method = pipeline, "forward"
    for name in plant.place.split("."):
        if name == "step":
            method = name
        else:
            module = getattr(module, name)
    with before_calls_of(module, plant.work, method):
        yield


@pytest.mark.parametrize("kind", PLANTS)
def test_more_work_is_counted_in_the_stage_and_nowhere_else(kind: str) -> None:
    plant, arguments = PLANTS[kind], {"guidance_scale": 1.0}
    pipeline = new_mini("lumina2")
    before = full(pipeline, **arguments)
    with planted(pipeline, plant):
        after = full(pipeline, **arguments)
    texts = (
        1
        if kind != "text encoder"
        else sum(n for (stage, name), n in before.items() if (stage, name) == ("text_encode", "aten::embedding"))
    )
    more = {place: n - before.get(place, 0) for place, n in after.items() if n != before.get(place, 0)}
    assert {stage for stage, _ in more} == {plant.stage}
    assert more[plant.stage, plant.operator] == plant.more * texts


def full(pipeline: Any, **arguments: Any) -> dict[tuple[Stage, str], int]:
    """The calls of all operators: the bound on a stage's rows is lifted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_diffbench.measure.profile_table.ROWS_A_STAGE", 1000)
        return calls(take(profiled(pipeline, **arguments)).profile)


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_slowdown_is_explained_by_the_stage_and_operator(kind: str, base: Observation) -> None:
    plant = PLANTS[kind]
    pipeline = new_mini("lumina2")

    def repeated(call: int) -> None:
        for _ in range(20):
            plant.work(call)

    with planted(pipeline, dataclasses.replace(plant, work=repeated)):
        now = take(profiled(pipeline)).profile
    assert base.profile is not None
    assert now is not None
    operators = explain(base.profile, now, most=100).changes
    counted = [change for change in operators if change.calls[0] != change.calls[1]]
    assert all(change.stage == plant.stage for change in counted), operators
    assert any(change.name == plant.operator for change in counted), operators


def test_more_layers_in_some_steps_are_placed_by_steps_and_by_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ns", CLOCK)
    pipeline = new_mini("lumina2")

    def work(call: int) -> None:
        CLOCK.advance(0.010)
        if slow and call % STEPS in (3, 4, 5):
            CLOCK.advance(0.006)
            for _ in range(50):
                multiply(call)

    slow = False
    with before_calls_of(pipeline.transformer, work):
        before = take(profiled(pipeline, guidance_scale=1.0, rounds=3))
        slow = True
        after = take(profiled(pipeline, guidance_scale=1.0, rounds=3))
    places = moved_parts([after.run], [before.run] * 3, Limits().stage_share_rel)
    assert places[0].name == "denoise"
    steps = next(part for part in places if part.name == "steps 3-5")
    assert (steps.before_s, steps.after_s, steps.share_rel) == pytest.approx((0.010, 0.016, 1.0), rel=0.01)
    assert before.profile is not None
    assert after.profile is not None
    operators = explain(before.profile, after.profile, most=100).changes
    calls_before, other = calls(before.profile), calls(after.profile)
    assert other["denoise", "aten::mm"] - calls_before["denoise", "aten::mm"] == 3 * 50
    assert any((change.stage, change.name) == ("denoise", "aten::mm") for change in operators), operators


def test_a_failing_call_under_the_profiler_loses_nothing() -> None:
    pipeline = new_mini("lumina2")
    measurement = profiled(pipeline)

    def fail(call: int) -> None:
        if call >= 3:  # survey, count and one round went before
            raise ValueError("boom")

    with before_calls_of(pipeline.vae.decoder, fail):
        observation = take(measurement)
    assert "ValueError: boom" in observation.notes[0]
    assert (observation.profile, len(observation.run.rounds)) == (None, 1)
    assert not profiler_is_on()
    assert take(profiled(pipeline)).profile is not None


COMPILERS = [
    "eager",
    pytest.param("inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")),
]


@pytest.mark.parametrize("backend", COMPILERS)
def test_time_spent_compiling_is_reported(backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    pipeline = new_mini("lumina2")
    pipeline.transformer.layers[0].feed_forward.compile(backend=backend)
    measurement = prepared(pipeline, PROMPT, **SMALL)
    warmup = take(measurement).run.warmup
    assert warmup is not None
    assert warmup.compile_s is not None
    assert warmup.compile_s > 0
    # Compiled already: nothing more to tell.
    later = prepared(pipeline, PROMPT, **SMALL)
    again = take(later).run.warmup
    assert again is not None
    assert again.compile_s is None
    # What is compiled afterwards is somebody else's.
    torch._dynamo.reset()
    pipeline(PROMPT, **SMALL)
    for measured, compile_s in ((measurement, warmup.compile_s), (later, None)):
        warmed_up = measured.observation(complete=True).run.warmup
        assert warmed_up is not None
        assert warmed_up.compile_s == compile_s
