"""A measurement leaves everything as it was, however it ends, and tells what it saw until then."""

from __future__ import annotations

import contextlib
import gc
import random
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    new_mini,
    observe,
    prepared,
    read_back,
    take,
)
from torch import nn

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure import pace
from pytest_diffbench.measure.interleave import Interleaved
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.outputs.pixels import image_digest, to_uint8_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.pipeline

KERNELS = ("interpreter", "products", "convolution", "copy")


def state(pipeline: Any = None) -> list[object]:
    """All that a measurement has to put back: hooks, patched methods, random numbers, threads, garbage collection."""
    parts = [] if pipeline is None else [pipeline, *pipeline.components.values()]
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    return [
        [name for part in parts if part is not None for name in sorted(vars(part))],
        [(len(module._forward_hooks), len(module._forward_pre_hooks), sorted(vars(module))) for module in modules],
        [getattr(module, "_compiled_call_impl", None) for module in modules],
        nn.modules.module._has_any_global_hook(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]  # the tuple form
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        gc.isenabled(),
        gc.get_freeze_count() > 0,
        torch._C._len_torch_dispatch_stack(),
    ]


def picture(pipeline: Any) -> str:
    images = pipeline(PROMPT, generator=torch.Generator().manual_seed(3), **SMALL).images
    return image_digest(to_uint8_arrays(images).arrays[0])


@contextlib.contextmanager
def failing(pipeline: Any, call: int, error: BaseException) -> Iterator[None]:
    """Let the decoder fail in the given call of the pipeline, from 1."""
    module, calls = pipeline.vae.decoder, 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error

    handle = module.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


def test_nothing_stays_behind_after_a_success() -> None:
    pipeline = mini("lumina2")
    image, before = picture(pipeline), state(pipeline)  # a first call leaves settings of its own
    observe(pipeline, PROMPT, rounds=2, **SMALL)
    assert state(pipeline) == before
    assert picture(pipeline) == image


def test_a_heap_left_unfrozen_before_is_not_frozen_afterwards() -> None:
    gc.unfreeze()
    observe(lambda: None)
    assert gc.get_freeze_count() == 0
    gc.freeze()  # as it was, or what follows is slow


KEPT_AT_CALL = {
    1: (False, False, 0),  # in the survey
    2: (True, True, 0),  # in the call that is counted; layers are timed while the survey looks on
    3: (True, True, 0),  # in the first round
    4: (True, True, 1),  # in the second
}


@pytest.mark.parametrize(
    "call", [pytest.param(1, marks=pytest.mark.full), 2, pytest.param(3, marks=pytest.mark.full), 4]
)
@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_interruption_leaves_nothing_behind_and_loses_nothing(call: int, error: BaseException) -> None:
    pipeline = mini("lumina2")
    image, before = picture(pipeline), state(pipeline)
    generator = torch.Generator().manual_seed(1)
    position = generator.get_state()
    measurement = prepared(pipeline, PROMPT, rounds=3, generator=generator, **SMALL)
    with failing(pipeline, call, error), pytest.raises(type(error)):
        measurement.take(drive_plainly, lambda *_: None)
    assert state(pipeline) == before
    assert generator.get_state().equal(position)
    assert picture(pipeline) == image
    observation = read_back(measurement, complete=False)
    assert not observation.complete
    survey, layers, rounds = KEPT_AT_CALL[call]
    assert [
        part is not None for part in (observation.work, observation.guidance, observation.output, observation.memory)
    ] == [survey] * 4
    assert (observation.layers is not None, len(observation.run.rounds)) == (layers, rounds)
    assert (observation.run.warmup is not None) == (rounds > 0), "nothing is said of a warm-up that there was none of"
    assert len(measurement.artifacts().images) == survey


def test_rounds_go_on_until_enough() -> None:
    asked: list[int] = []

    def enough(times_s: Sequence[float]) -> bool:
        asked.append(len(times_s))
        return len(times_s) == 4

    phases: list[str] = []
    measurement = prepared(lambda: 1, rounds=2, enough=enough)
    measurement.take(drive_plainly, lambda phase, *_: phases.append(phase))
    assert len(read_back(measurement, complete=True).run.rounds) == 4
    assert asked == [2, 3, 4]
    assert [phase for phase in phases if "round" in phase] == ["round 1/2", "round 2/2", "round 3/3", "round 4/4"]


def test_output_only_means_a_single_surveyed_and_timed_call_without_counts() -> None:
    whole = observe(mini("lumina2"), PROMPT, **SMALL)
    calls: list[object] = []
    handle = mini("lumina2").vae.decoder.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        observation = observe(mini("lumina2"), PROMPT, output_only=True, **SMALL)
    finally:
        handle.remove()
    assert len(calls) == len(observation.run.rounds) == 1
    assert observation.guidance == whole.guidance
    assert observation.memory is not None
    assert whole.output is not None
    assert observation.output is not None
    assert observation.output.images == whole.output.images
    assert observation.work is not None
    assert (observation.work.steps, observation.work.operators, observation.layers) == (2, {}, None)


def test_before_the_begin_the_record_is_empty() -> None:
    measurement = prepared(mini("lumina2"), PROMPT, **SMALL)
    observation = read_back(measurement, complete=False)
    assert (observation.work, observation.output, observation.run.rounds) == (None, None, ())
    assert measurement.artifacts().images == ()


@pytest.mark.parametrize("call", [1, 3])
def test_out_of_memory_is_reported_with_the_remedy_and_holds_no_tensor(call: int) -> None:
    pipeline = mini("lumina2")
    picture(pipeline)
    before = state(pipeline)
    held: list[weakref.ref[torch.Tensor]] = []

    def hold(_module: Any, _args: Any, output: Any) -> None:
        held.append(weakref.ref(output[0]))

    handle = pipeline.transformer.register_forward_hook(hold)
    measurement = prepared(pipeline, PROMPT, rounds=2, **SMALL)
    error = torch.OutOfMemoryError("tried to allocate 4.00 EiB\nand more")
    with failing(pipeline, call, error), pytest.raises(MeasureError, match=r"EiB.*offload='model'") as caught:
        measurement.take(drive_plainly, lambda *_: None)
    del error  # which this test holds by its traceback
    assert caught.value.__context__ is None
    assert "and more" not in str(caught.value)
    gc.collect()
    assert held
    assert [reference for reference in held if reference() is not None] == []
    handle.remove()
    assert state(pipeline) == before
    read_back(measurement, complete=False)


class Painter:
    """Paints with the global generators, or with one that it is given."""

    def __init__(self, *, library: str = "torch") -> None:
        self.library = library

    def __call__(self, size: int = 16) -> Any:
        if self.library == "torch":
            return torch.rand(3, size, size)
        if self.library == "numpy":
            return np.random.random((size, size, 3))
        return np.full((size, size), random.random())

    def paint(self, size: int = 16, generator: torch.Generator | None = None) -> list[Any]:
        return [torch.rand(3, size, size, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("library", ["torch", "numpy", "python"])
def test_global_randomness_is_the_same_in_every_round_and_put_back(library: str) -> None:
    before = state()
    observation = observe(Painter(library=library), 16, rounds=3)
    assert state() == before
    assert len({timed.output_digest for timed in observation.run.rounds}) == 1
    assert observation.output is not None
    assert observation.output.rerun.identical
    assert observation.case.definition.arguments == {"size": 16}


@pytest.mark.parametrize(
    ("target", "name", "images"),
    [
        (lambda: torch.zeros(3, 8, 8), "<lambda>", 1),
        (Painter(), "Painter", 1),
        (Painter().paint, "Painter.paint", 2),
        (lambda: np.zeros((8, 8, 3), np.uint8), "<lambda>", 1),
    ],
    ids=["function", "callable class", "bound method", "numpy"],
)
def test_any_callable_returning_images(target: Callable[..., Any], name: str, images: int) -> None:
    observation = observe(target, rounds=2)
    assert observation.case.definition.pipeline.endswith(name)
    assert observation.output is not None
    assert len(observation.output.images) == images
    assert observation.output.rerun.identical
    assert (observation.work, observation.guidance, observation.layers) == (None, None, None)
    assert all(timed.stages_s == {} for timed in observation.run.rounds)
    assert any("no components" in note for note in observation.notes)


@pytest.mark.parametrize("value", [None, "a text", []], ids=str)
def test_an_unrecognised_result_has_no_digest(value: Any) -> None:
    observation = observe(lambda: value, rounds=2)
    assert observation.output is not None
    assert (observation.output.images, observation.output.tensors) == ((), ())
    assert observation.output.no_images
    assert [timed.output_digest for timed in observation.run.rounds] == [None, None]


@pytest.mark.parametrize(
    ("value", "names", "shapes"),
    [
        (torch.full((1, 4, 8, 8), 7.0), ["0"], [(1, 4, 8, 8)]),
        (np.zeros((2, 3, 4, 5, 6)), ["0"], [(2, 3, 4, 5, 6)]),
        ({"a": torch.ones(2, dtype=torch.bfloat16), "b": [np.ones(3), "text"]}, ["a", "b.0"], [(2,), (3,)]),
        (np.full((8, 8, 3), 200.0), ["0"], [(8, 8, 3)]),
    ],
    ids=["latents", "frames", "nested", "0 to 255"],
)
def test_results_without_images_keep_tensors(value: Any, names: list[str], shapes: list[tuple[int, ...]]) -> None:
    measurement = prepared(lambda: value, rounds=2)
    observation = take(measurement)
    assert observation.output is not None
    assert [tensor.name for tensor in observation.output.tensors] == names
    assert [tensor.shape for tensor in observation.output.tensors] == shapes
    assert all(tensor.constant for tensor in observation.output.tensors)
    assert observation.output.rerun.identical
    assert observation.run.rounds[0].output_digest
    assert [name for name in measurement.artifacts().trace if name.startswith("returned/")] == [
        f"returned/{i}" for i in range(len(names))
    ]


def test_a_requested_generator_is_supplied_and_a_positional_generator_is_rewound() -> None:
    painter = Painter()
    observation = observe(painter.paint, rounds=2)
    assert observation.output is not None
    assert observation.output.rerun.identical
    generator = torch.Generator().manual_seed(0)
    given = observe(painter.paint, 16, generator, rounds=2)
    assert given.output is not None
    assert given.output.rerun.identical
    assert given.output.images == observation.output.images  # the case's seed is 0, too


def test_not_a_number_stays_out_of_the_record() -> None:
    pipeline = new_mini("lumina2")
    pipeline.transformer.norm_out.linear_2.bias.fill_(float("nan"))
    observation = observe(pipeline, PROMPT, **SMALL)
    assert observation.output is not None
    assert (observation.output.finite, observation.output.not_finite_where) == (
        False,
        "scheduler.step model_output, step 0",
    )
    assert observation.guidance is not None
    assert [step.used for step in observation.guidance.steps] == ["unknown"] * 2


def test_infinity_in_the_unused_branch() -> None:
    from pytest_diffbench.measure.guidance import derive_step

    cond = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for value in (float("inf"), float("nan")):
        broken = cond.clone()
        broken[0, 0, 0, 0] = value
        assert derive_step([("cond", cond), ("uncond", broken)], cond).used == "cond"
        step = derive_step([("cond", cond), ("uncond", broken)], 2 * cond)
        figures = (step.scale, step.gain_min, step.gain_max, step.norm_ratio_min, step.residual_rel)
        assert all(figure is None or np.isfinite(figure) for figure in figures)


@pytest.mark.full
def test_taking_is_repeatable() -> None:
    first, other = (take(prepared(mini("lumina2"), PROMPT, **SMALL)) for _ in range(2))
    assert (first.work, first.guidance, first.output) == (other.work, other.guidance, other.output)


@pytest.mark.full
@pytest.mark.pace
def test_variants_share_kernels_outside_of_the_memory_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    make = pace._prepared

    def prepare(*of: str) -> Any:
        happened.append("kernels")
        return make(*of)

    monkeypatch.setattr(pace, "_prepared", prepare)
    shared = pace.Pace("cpu")
    pipeline = mini("lumina2")
    measurements = {name: prepared(pipeline, PROMPT, rounds=2, pace=shared, **SMALL) for name in ("one", "two")}
    Interleaved(measurements, "one", (2,), lambda *_: True, 0).take(
        drive_plainly, lambda phase, *_: happened.append(phase) if "survey" in phase else None
    )
    assert happened == ["one: survey", "two: survey", "kernels"]
    for measurement in measurements.values():
        run = measurement.observation(complete=True).run
        assert run.calibration_s == ()
        assert {name: len(times_s) for name, times_s in run.pace_s.items()} == dict.fromkeys(KERNELS, 2)
    shared.read()
    assert happened[-1] == "kernels", "its buffers were given back"
