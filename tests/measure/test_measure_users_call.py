"""The measured call is the user's call: it can't tell that it's watched, and what it returns is what a user gets."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
import types
from typing import TYPE_CHECKING, Any

import diffusers
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
    take,
)
from tiny_parts import quiet

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.agreement import alike, follow_manner
from pytest_diffbench.measure.boundaries import observed
from pytest_diffbench.measure.components import sites_of
from pytest_diffbench.measure.returned import Reader, Returned
from pytest_diffbench.outputs.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pipeline

STEPS = 3


class Habits(diffusers.DiffusionPipeline):
    """A pipeline that does to its components, while it runs, what pipelines of diffusers do."""

    unet: Any
    scheduler: Any

    def __init__(self, unet: Any, scheduler: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # diffusers' own
        self.register_modules(unet=unet, scheduler=scheduler)  # type: ignore[attr-defined]  # likewise

    @torch.no_grad()
    def __call__(self, habit: str, generator: torch.Generator | None = None) -> Any:
        """Denoise; returns a named tuple with the images."""
        sample = torch.randn(1, 3, 16, 16, generator=generator)
        sample = HABITS[habit](self, sample)
        image = (sample[0].permute(1, 2, 0) / 4 + 0.5).clamp(0, 1).numpy()
        return types.SimpleNamespace(images=[image])


def loop(unet: Any, scheduler: Any, sample: torch.Tensor) -> torch.Tensor:
    for t in scheduler.timesteps:
        sample = scheduler.step(unet(sample, t).sample, t, sample).prev_sample
    return sample


def plain(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    self.scheduler.set_timesteps(STEPS)
    return loop(self.unet, self.scheduler, sample)


def copied_scheduler(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    """As LTX-2, SkyReels, Cosmos and Kandinsky do: the copy has another schedule."""
    self.scheduler.set_timesteps(2)
    fine = copy.deepcopy(self.scheduler)
    fine.set_timesteps(2 * STEPS)
    return loop(self.unet, fine, sample)


def two_schedulers(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    """As joint audio and video do: both step with one prediction, and the copy has its own state."""
    self.scheduler.set_timesteps(STEPS)
    other = copy.deepcopy(self.scheduler)
    beside = sample.flip(-1)
    for t in self.scheduler.timesteps:
        prediction = self.unet(sample, t).sample
        sample = self.scheduler.step(prediction, t, sample).prev_sample
        beside = other.step(prediction.flip(-1), t, beside).prev_sample
    return sample + beside / 2


def shallow_copy(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    twin = copy.copy(self.scheduler)
    twin.set_timesteps(STEPS)
    return loop(self.unet, twin, sample)


def pickled_components(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    unet, scheduler = pickle.loads(pickle.dumps((self.unet, self.scheduler)))
    scheduler.set_timesteps(STEPS)
    return loop(unet, scheduler, sample)


def saved_module(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    file = io.BytesIO()
    torch.save(self.unet, file)
    file.seek(0)
    self.scheduler.set_timesteps(STEPS)
    return loop(torch.load(file, weights_only=False), self.scheduler, sample)


def copied_denoiser(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    """The copy is changed, so that it matters which of the two is called."""
    other = copy.deepcopy(self.unet)
    for parameter in other.parameters():
        parameter.mul_(0.9)
    self.scheduler.set_timesteps(STEPS)
    return loop(other, self.scheduler, sample)


def copied_pipeline(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    other = copy.deepcopy(self)
    other.scheduler.set_timesteps(2 * STEPS)
    return loop(other.unet, other.scheduler, sample)


def replaced_scheduler(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    before = self.scheduler
    self.scheduler = type(before).from_config(before.config, num_train_timesteps=500)
    try:
        return plain(self, sample)
    finally:
        self.scheduler = before


def replaced_step(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    step = self.scheduler.step

    def halved(prediction: Any, *args: Any, **kwargs: Any) -> Any:
        return step(prediction / 2, *args, **kwargs)

    self.scheduler.step = halved
    try:
        return plain(self, sample)
    finally:
        self.scheduler.step = step  # which stays, as it does unobserved


def replaced_forward(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    """As caches of community pipelines do."""
    forward = type(self.unet).forward

    def negated(unet: Any, *args: Any, **kwargs: Any) -> Any:
        prediction = forward(unet, *args, **kwargs)
        prediction.sample = -prediction.sample
        return prediction

    self.unet.forward = types.MethodType(negated, self.unet)
    try:
        return plain(self, sample)
    finally:
        del self.unet.forward


def moved(self: Habits, sample: torch.Tensor) -> torch.Tensor:
    self.unet.to(torch.float64)
    try:
        return plain(self, sample.double()).float()
    finally:
        self.unet.to(torch.float32)


HABITS: dict[str, Callable[[Habits, torch.Tensor], torch.Tensor]] = {
    habit.__name__: habit
    for habit in (
        plain,
        copied_scheduler,
        two_schedulers,
        shallow_copy,
        pickled_components,
        saved_module,
        copied_denoiser,
        copied_pipeline,
        replaced_scheduler,
        replaced_step,
        replaced_forward,
        moved,
    )
}

OBSERVED_STEPS = {"copied_scheduler": 2 * STEPS, "copied_pipeline": 2 * STEPS}


def habits(scheduler: Any = None) -> Habits:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet: Any = diffusers.UNet2DModel(
            sample_size=16,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
    built: Habits = quiet(Habits(unet.eval(), scheduler or diffusers.FlowMatchEulerDiscreteScheduler()))
    return built


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("scheduler", ["FlowMatchEulerDiscreteScheduler", "DDIMScheduler"])
def test_a_call_may_change_components_and_returns_what_a_user_gets(habit: str, scheduler: str) -> None:
    bare = habits(getattr(diffusers, scheduler)())(habit, generator=torch.Generator().manual_seed(0)).images[0]
    measurement = prepared(habits(getattr(diffusers, scheduler)()), habit, rounds=2)
    observation = take(measurement)
    (image,) = measurement.artifacts().images
    assert (image == (255 * bare).round().astype(np.uint8)).all()
    assert observation.work is not None
    assert observation.output is not None
    assert observation.output.rerun.identical
    if habit != "pickled_components":
        assert observation.work.steps == OBSERVED_STEPS.get(habit, STEPS)


def test_schedulers_stepping_together_count_as_a_single_step() -> None:
    work = observe(habits(), "two_schedulers").work
    assert work is not None
    assert (work.steps, work.denoiser_calls) == (STEPS, STEPS)
    assert work.component_calls == {"another scheduler.step": STEPS, "unet": STEPS}


class Log:
    """Keeps what it's told."""

    def __init__(self) -> None:
        self.sites: list[str] = []

    def enter(self, site: Any, args: Any, kwargs: Any) -> None:
        self.sites.append(site.name)

    def leave(self, site: Any, output: Any) -> None:
        pass


def test_objects_kept_by_a_call_report_nothing_afterwards() -> None:
    pipeline, log = habits(), Log()
    with observed(sites_of(pipeline), log):
        step = pipeline.scheduler.step  # bound while it's observed
        twin = copy.deepcopy(pipeline.unet)
    assert type(pipeline.scheduler).step.__qualname__ == "FlowMatchEulerDiscreteScheduler.step"
    assert not hasattr(type(pipeline.scheduler).step, "__wrapped__")
    pipeline.scheduler.set_timesteps(STEPS)
    sample, t = torch.zeros(1, 3, 16, 16), pipeline.scheduler.timesteps[0]
    step(twin(sample, t).sample, t, sample)
    assert log.sites == []
    assert pickle.loads(pickle.dumps(twin))(sample, t).sample.equal(twin(sample, t).sample)


def test_a_callable_among_the_instances_attributes_is_observed_and_copied_unchanged() -> None:
    pipeline, log = habits(), Log()
    scheduler = pipeline.scheduler
    scheduler.step = original = types.MethodType(type(scheduler).step, scheduler)
    with observed(sites_of(pipeline), log):
        twin = copy.deepcopy(scheduler)
        assert pickle.loads(pickle.dumps(scheduler)).__dict__["step"].__self__ is not scheduler
        pipeline("plain", generator=torch.Generator().manual_seed(0))
    assert twin.__dict__["step"].__self__ is twin
    assert log.sites.count("scheduler.step") == STEPS
    assert vars(scheduler)["step"] is original


def returned(call: str, value: float | None) -> Returned:
    tensors = () if value is None else Reader().read(call, torch.tensor([value, 0.0]), None).tensors
    return Returned(call=call, pixels=Pixels(arrays=(), finite=True, modes=()), tensors=tensors)


CALLS = ("survey", "layers", "warm-up 1", "warm-up 2", "round 1", "round 2", "round 3")


@pytest.mark.parametrize(
    ("odd", "again", "changed"),
    [
        (["warm-up 1", "warm-up 2"], {"warm-up": 1.0}, True),  # all that was observed, against all that wasn't
        (["warm-up 1", "warm-up 2"], {}, False),  # once, and never again
        (["survey"], {}, False),  # the first call left something behind
        (["survey"], {"survey": 1.0}, True),  # counting operators changes what comes out
        (["round 1", "round 2", "round 3"], {"round": 1.0}, True),
        (["warm-up 1"], {"warm-up": 1.0}, False),  # of calls that were made alike some are astray
        (["layers", "warm-up 2", "round 2"], {}, False),  # every other call
        ([], {}, False),
    ],
)
def test_observing_is_blamed_only_if_results_depend_on_the_observer(
    odd: list[str], again: dict[str, float], changed: bool
) -> None:
    calls = [returned(name, 1.0 if name in odd else 0.0) for name in CALLS]
    makers = {
        manner: (lambda manner=manner: returned(manner, again.get(manner, 0.0)))
        for manner in ("survey", "layers", "warm-up", "round")
    }
    assert follow_manner(calls, makers) is changed


def test_calls_are_grouped_by_results() -> None:
    calls = [returned("survey", 0.0), returned("round 1", 1.0), returned("layers", None), returned("round 2", 0.0)]
    assert alike(calls) == (("survey", "round 2"), ("round 1",))
    assert not follow_manner([returned("survey", None)], {})


def test_a_measurement_changing_the_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = habits()
    forward = type(pipeline.unet).forward

    def shy(self: Any, *args: Any, **kwargs: Any) -> Any:
        prediction = forward(self, *args, **kwargs)
        if self._forward_hooks:  # whoever looks is shown another picture
            prediction.sample = -prediction.sample
        return prediction

    monkeypatch.setattr(type(pipeline.unet), "forward", shy)
    measurement = prepared(pipeline, "plain", rounds=2, plain_call=True)
    with pytest.raises(
        MeasureError, match=r"measuring changed the call.*with nothing attached.*nothing is judged or"
    ):
        take(measurement)


def test_a_generator_without_effect_is_noticed() -> None:
    pipeline = new_mini("lumina2")
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    output = observe(pipeline, PROMPT, rounds=2, **SMALL).output
    assert output is not None
    assert output.rerun.drew_from == ("torch on the CPU",)
    assert not output.rerun.identical
    assert len(output.rerun.alike) == output.rerun.rounds
    # without one the global generators are seeded, and every call is the same
    without = observe(pipeline, PROMPT, rounds=2, generator=None, **SMALL).output
    assert without is not None
    assert (without.rerun.identical, without.rerun.drew_from) == (True, ())


@pytest.mark.parametrize("library", ["torch", "numpy", "python"])
def test_whichever_global_generator_is_drawn_from(library: str) -> None:
    import random

    draws: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.rand(1),
        "numpy": np.random.rand,
        "python": random.random,
    }

    def paint(generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.rand(3, 8, 8, generator=generator) * float(draws[library]())

    output = observe(paint, rounds=2).output
    assert output is not None
    assert len(output.rerun.drew_from) == 1
    assert not output.rerun.identical


def test_a_decisive_generator_leaves_the_global_generators_alone() -> None:
    output = observe(mini("lumina2"), PROMPT, rounds=2, **SMALL).output
    assert output is not None
    assert (output.rerun.identical, output.rerun.drew_from, output.rerun.alike) == (True, (), ())


async def later() -> Any:
    await asyncio.sleep(0)
    return torch.zeros(3, 8, 8)


def yielding() -> Any:
    yield torch.zeros(3, 8, 8)


@pytest.mark.parametrize(("target", "kind"), [(later, "coroutine"), (yielding, "generator")])
def test_what_has_not_run_is_refused(target: Callable[..., Any], kind: str) -> None:
    with pytest.raises(MeasureError, match=f"returned a {kind}, which hasn't run: nothing of it was measured"):
        observe(target, rounds=2)


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_requested_latents_are_judged(name: str) -> None:
    pipeline = mini(name)
    measurement = prepared(pipeline, PROMPT, output_type="latent", rounds=2, **SMALL)
    observation = take(measurement)
    latents = pipeline(PROMPT, output_type="latent", generator=torch.Generator().manual_seed(0), **SMALL).images
    assert observation.output is not None
    (facts,) = observation.output.tensors
    assert (facts.name, facts.shape) == ("images", tuple(latents.shape))
    assert observation.run.rounds[0].output_digest == facts.digest
    norm = float(np.linalg.norm(measurement.artifacts().trace["returned/0"]))
    assert norm == pytest.approx(float(latents.norm()), rel=0.2)
