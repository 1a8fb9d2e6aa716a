"""The recorder's names never collide, its arrays are small and finite, and stored traces come back whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from pytest_diffbench.judge.trace.entries import place_of
from pytest_diffbench.measure.trace import sketch
from pytest_diffbench.measure.trace_recorder import TraceRecorder
from pytest_diffbench.outputs.projection import SKETCH_SIZE
from pytest_diffbench.records.artifacts import MOMENT_NAMES, MOMENTS

if TYPE_CHECKING:
    from pytest_diffbench.records import Branch

MEGABYTE = 1_000_000


def some(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("width", "least_bytes"),
    [(64, 600_000), (128, 150_000)],  # half of a full-size picture's latents is just kept whole, all of them aren't
    ids=["whole", "too large"],
)
def test_fifty_steps_with_two_branches_take_less_than_a_megabyte(width: int, least_bytes: int) -> None:
    recorder = TraceRecorder()
    text, step_tensor, final = some(0, 1, 256, 64), some(1, 1, 16, 8, 8), some(2, 1, 16, 128, width)
    for component in ("text_encoder", "text_encoder_2"):
        for _ in range(2):
            recorder.encoder(component, [text, text[:, 0]])
    for _ in range(4):
        recorder.text(text)
    branches: tuple[Branch, ...] = ("cond", "uncond")
    for step in range(50):
        for branch in branches:
            recorder.prediction(step, "transformer", branch, step_tensor)
        recorder.latents(step, step_tensor if step < 49 else final)
    recorder.decoder("decoder_input", final)
    recorder.decoder("decoded", final)
    arrays = recorder.arrays()
    assert ("latents/final" in arrays) == (width == 64)
    assert least_bytes < len(save(arrays)) <= MEGABYTE


def test_every_name_is_a_place_and_a_row_of_moments() -> None:
    recorder = TraceRecorder()
    recorder.encoder("text_encoder", [some(0, 1, 4), some(1, 1, 4)])
    assert [recorder.text(some(n, 1, 4)) for n in range(2)] == [0, 1]
    recorder.prediction(0, "unet", "joint", some(2, 4, 4))
    recorder.latents(0, some(3, 2, 4))
    recorder.decoder("decoder_input", some(3, 2, 4))
    recorder.decoder("decoded", some(4, 2, 4))
    arrays = recorder.arrays()
    names = sorted(set(arrays) - {MOMENTS})
    assert names == [
        "decoded",
        "decoder_input",
        "latents/0",
        "latents/final",
        "prediction/0/joint-cond",
        "prediction/0/joint-uncond",
        "text/0",
        "text/1",
        "text/text_encoder/0",
        "text/text_encoder/0/1",
    ]
    assert all(place_of(name) is not None for name in names)
    moments = load(save(arrays))[MOMENTS]
    assert moments.shape == (len(names), len(MOMENT_NAMES))
    norms = moments[:, MOMENT_NAMES.index("norm")]
    assert norms[names.index("latents/final")] == norms[names.index("latents/0")]
    assert norms[names.index("text/1")] == pytest.approx(some(1, 1, 4).norm().item())
    assert all(array.shape == (SKETCH_SIZE,) for name, array in arrays.items() if name in names[:3])


@pytest.mark.parametrize("cond_first", [False, True])
def test_halves_of_a_joint_prediction_are_distinguished(cond_first: bool) -> None:
    recorder, both = TraceRecorder(), some(0, 4, 8)
    recorder.prediction(0, "unet", "joint", both, cond_first=cond_first)
    arrays = recorder.arrays()
    assert (arrays["prediction/0/joint-cond"] == sketch(both[:2] if cond_first else both[2:])).all()
    assert (arrays["prediction/0/joint-uncond"] == sketch(both[2:] if cond_first else both[:2])).all()


def test_repeated_calls_several_denoisers_and_decodes_have_names_of_their_own() -> None:
    recorder = TraceRecorder()
    for component in ("controlnet", "unet", "unet"):
        recorder.prediction(0, component, "cond", some(0, 1, 4))
    recorder.prediction(0, "unet", "unknown", some(0, 1, 4))
    for _ in range(2):
        recorder.decoder("decoded", some(0, 1, 4))
    assert set(recorder.arrays()) - {MOMENTS} == {
        "prediction/0/cond/controlnet",
        "prediction/0/cond/unet",
        "prediction/0/cond/unet#1",
        "prediction/0/unknown/unet",
        "decoded",
        "decoded#1",
    }


def test_an_encoder_writing_text_does_not_fill_the_trace() -> None:
    recorder = TraceRecorder()
    for _ in range(500):
        recorder.encoder("text_encoder", [some(0, 1, 4)])
    assert len(recorder.arrays()) == 16 + 1


def test_nothing_observed_is_an_empty_trace() -> None:
    assert TraceRecorder().arrays() == {}


def test_non_finite_predictions_leave_a_storable_trace() -> None:
    recorder = TraceRecorder()
    recorder.prediction(0, "unet", "uncond", torch.full((1, 4), float("nan")))
    arrays = recorder.arrays()
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays[MOMENTS][0, MOMENT_NAMES.index("not_finite")] == 4
