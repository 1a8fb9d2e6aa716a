"""Traces of real pipelines: what is recorded of each, that a planted change is found, and that rounds pay nothing."""

from __future__ import annotations

import contextlib
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
    prepared,
    stable_diffusion,
    take,
)
from safetensors.numpy import save

from pytest_diffbench.judge.trace.divergence import Divergence, find_divergence, rounding_rel
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import modules_of, sites_of
from pytest_diffbench.measure.rounds import Caller, drive_plainly, observe_once
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.measure.trace import digest
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences.trace import divergence
from pytest_diffbench.session.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.pipeline

STEPS = 5
CALL: dict[str, Any] = {**SMALL, "num_inference_steps": STEPS}


def seeing(name: str) -> Any:
    """A mini whose predictions are no zeros, as an untrained model's are."""
    pipeline = new_mini(name)
    last = pipeline.transformer.norm_out.linear_2 if name == "lumina2" else pipeline.transformer.proj_out
    torch.nn.init.normal_(last.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return pipeline


def traced(pipeline: Any) -> dict[str, NDArray[np.float32]]:
    """The trace of the survey round, without the rounds that follow it in a measurement."""
    survey = Survey(modules_of(pipeline))
    caller = Caller(pipeline, (PROMPT,), CALL, 0, clock_for("cpu"))
    observe_once(caller, list(sites_of(pipeline)), survey)
    return survey.trace()


@contextlib.contextmanager
def planted(module: Any, call: int, calls: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Change what a module returns in one of the calls that a pipeline makes of it, in every run of the pipeline."""
    calls_so_far = 0

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        nonlocal calls_so_far
        calls_so_far += 1
        if (calls_so_far - 1) % calls != call:
            return output
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        output[0][:] = change(output[0])
        return output

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def text_of(difference: Divergence) -> str:
    """The sentence about it, without its beginning."""
    return divergence(difference.details()).removeprefix("First divergence: ")


def diverged(now: dict[str, Any], base: dict[str, Any]) -> Divergence:
    return find_divergence(now, base, 10 * rounding_rel("float32"))


@pytest.fixture(scope="module")
def lumina() -> tuple[Any, dict[str, NDArray[np.float32]]]:
    pipeline = seeing("lumina2")
    return pipeline, traced(pipeline)


@pytest.fixture(scope="module")
def flux() -> tuple[Any, dict[str, NDArray[np.float32]]]:
    pipeline = seeing("flux")
    return pipeline, traced(pipeline)


def test_what_is_recorded_of_two_calls_a_step(lumina: tuple[Any, dict[str, Any]]) -> None:
    _, trace = lumina
    steps = {
        f"{kind}" for n in range(STEPS) for kind in (f"latents/{n}", f"prediction/{n}/cond", f"prediction/{n}/uncond")
    }
    texts = {"text/text_encoder/0", "text/text_encoder/1", "text/0", "text/1"}
    assert set(trace) == steps | texts | {"latents/final", "decoder_input", "decoded", "moments"}
    assert len(save(trace)) < 100_000


def test_what_is_recorded_of_a_single_call_a_step_and_two_encoders(flux: tuple[Any, dict[str, Any]]) -> None:
    _, trace = flux
    assert {name for name in trace if name.startswith("prediction")} == {f"prediction/{n}/cond" for n in range(STEPS)}
    encoders = {"text/text_encoder/0", "text/text_encoder/0/1", "text/text_encoder_2/0"}
    assert {name for name in trace if name.startswith("text/text")} == encoders


def test_the_same_call_leaves_the_same_trace(lumina: tuple[Any, dict[str, Any]]) -> None:
    pipeline, base = lumina
    again = traced(pipeline)
    assert all((again[name] == base[name]).all() for name in base)
    assert diverged(again, base).place is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 0.92 * x, "scaled by 0.92"),
        (lambda x: -x, "sign flipped"),
        (lambda x: x + 0.01 * x.roll(1, -1), ""),
    ],
    ids=["scaled", "flipped", "mixed"],
)
def test_a_change_of_the_unconditional_branch_at_step_3_is_named(
    lumina: tuple[Any, dict[str, Any]], change: Callable[[torch.Tensor], torch.Tensor], words: str
) -> None:
    pipeline, base = lumina
    with planted(pipeline.transformer, 7, 2 * STEPS, change):
        difference = diverged(traced(pipeline), base)
    assert (difference.place, difference.course) == ("prediction/3/uncond", "jump")
    assert text_of(difference).startswith("unconditional prediction, step 3 (jumps from 0 % to ")
    assert text_of(difference).endswith("conditional prediction equal; latents before it equal")
    assert words in text_of(difference)
    assert bool(difference.change.kind) is bool(words)
    gaps_rel = dict(difference.series)
    assert gaps_rel["latents/2"] == gaps_rel["prediction/3/cond"] == 0 < gaps_rel["latents/3"]


def test_a_change_of_the_unconditional_half_of_a_joint_call_is_named() -> None:
    pipeline = stable_diffusion()
    base = traced(pipeline)

    def first_half(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 * x[: len(x) // 2], x[len(x) // 2 :]])

    with planted(pipeline.unet, 3, STEPS, first_half):
        difference = diverged(traced(pipeline), base)
    assert difference.place == "prediction/3/joint-uncond"
    assert "scaled by 0.5" in text_of(difference)
    assert "conditional half of the joint prediction equal" in text_of(difference)


def test_a_change_of_a_single_encoder_is_named(flux: tuple[Any, dict[str, Any]]) -> None:
    pipeline, base = flux
    with planted(pipeline.text_encoder_2, 0, 1, lambda x: 1.1 * x):
        difference = diverged(traced(pipeline), base)
    assert difference.place == "text/text_encoder_2/0"
    assert text_of(difference) == "output of text_encoder_2 (10 % apart, scaled by 1.1); output of text_encoder equal"


def test_a_change_of_the_scheduler_is_distinguished_from_a_change_of_the_denoiser(
    flux: tuple[Any, dict[str, Any]],
) -> None:
    pipeline, base = flux
    sound = pipeline.scheduler.step
    calls = 0

    def step(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        output = sound(*args, **kwargs)
        return (1.05 * output[0],) if (calls - 1) % STEPS == 2 else output

    pipeline.scheduler.step = step
    try:
        difference = diverged(traced(pipeline), base)
    finally:
        del pipeline.scheduler.step
    assert difference.place == "latents/2"
    assert "scaled by 1.05); predictions of that step equal" in text_of(difference)


def test_a_change_of_what_the_decoder_is_handed_and_of_the_decoder(flux: tuple[Any, dict[str, Any]]) -> None:
    pipeline, base = flux
    factor = pipeline.vae.config.scaling_factor
    pipeline.vae.register_to_config(scaling_factor=2 * factor)
    try:
        handed = diverged(traced(pipeline), base)
    finally:
        pipeline.vae.register_to_config(scaling_factor=factor)
    assert handed.place == "decoder_input"
    assert "latents equal" in text_of(handed)
    with planted(pipeline.vae.decoder, 0, 1, lambda x: -x):
        decoded = diverged(traced(pipeline), base)
    assert decoded.place == "decoded"
    assert text_of(decoded) == "decoder output (200 % apart, sign flipped); decoder input equal"


def test_a_denoiser_without_a_scheduler_is_recorded_too() -> None:
    class Sampler:
        def __init__(self) -> None:
            self.net = torch.nn.Linear(4, 4)
            self.components = {"net": self.net}

        def __call__(self) -> torch.Tensor:
            with torch.no_grad():
                prediction: torch.Tensor = self.net(self.net(torch.ones(1, 4)))
            return prediction.clamp(0, 1).reshape(1, 1, 2, 2)

    measurement = prepared(Sampler())
    take(measurement)
    assert {name for name in measurement.artifacts().trace if name.startswith("prediction")} == {
        "prediction/0/cond",
        "prediction/0/uncond",
    }


def test_rounds_and_the_pass_over_layers_record_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[str] = []
    phase = ""

    def counting(tensor: torch.Tensor) -> Any:
        digested.append(phase)
        return digest(tensor)

    def progress(name: str, _done: int, _total: int) -> None:
        nonlocal phase
        phase = name

    monkeypatch.setattr("pytest_diffbench.measure.trace_recorder.digest", counting)
    measurement = prepared(mini("flux"), PROMPT, rounds=2, **SMALL)
    measurement.take(drive_plainly, progress)
    assert phase == "round 2/2"
    assert set(digested) == {"survey"}


def test_a_result_shows_entries_with_moments_and_the_distance_to_a_second_result(
    lumina: tuple[Any, dict[str, Any]],
) -> None:
    pipeline, base = lumina
    measurement = prepared(pipeline, PROMPT, **CALL)
    with planted(pipeline.transformer, 7, 2 * STEPS, lambda x: 0.5 * x):
        observation = take(measurement)
    result, other = Result(observation, measurement.artifacts()), Result(observation, Artifacts(trace=base))
    names = [entry.name for entry in result.trace]
    assert names[0] == "text/text_encoder/0"
    assert names[-3:] == ["latents/final", "decoder_input", "decoded"]
    final = result.trace["latents/final"].astype(np.float64)
    entry = next(entry for entry in result.trace if entry.name == "latents/final")
    assert entry.norm == pytest.approx(np.linalg.norm(final), rel=1e-5)
    assert entry.std == pytest.approx(final.std(), rel=1e-4)
    gaps_rel = result.trace.distance(other.trace)
    assert gaps_rel["latents/2"] == gaps_rel["prediction/3/cond"] == 0
    assert gaps_rel["prediction/3/uncond"] == pytest.approx(0.5, rel=1e-5)
    assert gaps_rel["latents/3"] > 0
