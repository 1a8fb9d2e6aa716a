"""What the measurement sees in each pipeline of the zoo, against what was counted without it."""

from __future__ import annotations

import collections
import gc
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zoo_kinds as zoo
import zoo_truth

from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import modules_of, sites_of
from pytest_diffbench.measure.definition import parameters_of
from pytest_diffbench.measure.returned import Reader
from pytest_diffbench.measure.rounds import Caller, observe_once
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("one_thread")]

_TEXT = ("text_encoder", "bert")
_AUTOENCODERS = ("vae", "vqvae", "movq", "vqgan")
_DENOISERS = ("unet", "transformer", "prior", "decoder", "super_res")
_HELPERS = ("image_encoder", "text_proj")


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> None:
    """Keep what exists out of collections: each measurement begins with one, over all that the session imported."""
    zoo.build("QwenImagePipeline")  # libraries are imported as they are needed
    gc.collect()
    gc.freeze()


@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_class_is_observed_rightly(name: str) -> None:
    kind, pipeline = zoo.ZOO[name], zoo.build(name)
    assert type(pipeline).__name__ == name
    check_roles(pipeline)
    for guided in (True, False):
        arguments = zoo.arguments(name, pipeline, guided)
        if arguments is None:
            continue
        calls = kind.calls if guided else kind.plain_calls
        first, second = zoo_truth.count_twice(pipeline, arguments, zoo.OTHER_PROMPT)
        observation = zoo.measured(name, pipeline, arguments)
        check_calls(observation, first, calls)
        check_first_calls(calls, zoo_truth.branches_of_first_calls(first, second))
        assert observation.work is not None
        assert observation.work.steps == kind.steps
        assert observation.guidance is not None
        assert observation.guidance.guided_steps == (kind.guided_steps if guided else 0)
        check_stages(observation, kind)
        check_result(pipeline, arguments, observation)
    check_counts(pipeline, zoo.arguments(name, pipeline, True) or zoo.arguments(name, pipeline, False))


def check_counts(pipeline: Any, arguments: dict[str, Any] | None) -> None:
    """Counts are those of any later call. The first with these arguments may fill caches."""
    assert arguments is not None
    counts = []
    for _ in range(3):
        census = Census()
        survey = Survey(modules_of(pipeline), census=census)
        observe_once(Caller(pipeline, (), arguments, 0, clock_for("cpu")), list(sites_of(pipeline)), survey, census)
        counts.append((survey.work().operators, survey.work().python_calls, survey.work().denoiser))
    assert counts[1] == counts[2]
    assert min(sum(counter.values()) for counter in counts[1][0].values()) > 0


def check_result(pipeline: Any, arguments: dict[str, Any], observation: Observation) -> None:
    """Every call that was measured returned what a user gets, bit for bit."""
    handed = {"generator": torch.Generator().manual_seed(0)} if "generator" in parameters_of(pipeline) else {}
    bare = Reader().read("bare", pipeline(**arguments, **handed), None)
    assert bare.digest is not None
    assert observation.run.rounds[0].output_digest == bare.digest
    assert observation.output is not None
    assert (observation.output.rerun.identical, observation.output.rerun.drew_from) == (True, ())


def check_roles(pipeline: Any) -> None:
    """Each component has the role that its name says."""
    roles = {site.component: site.role for site in sites_of(pipeline) if site.component and site.role != "vae_encode"}
    for name in modules_of(pipeline):
        bare = name.removeprefix("prior_") if name != "prior_prior" else "prior"
        expected = [
            role
            for role, names in (
                ("text", _TEXT),
                ("vae_decode", _AUTOENCODERS),
                ("denoiser", _DENOISERS),
                ("other", _HELPERS),
            )
            if bare.removeprefix("unconditional_").startswith(names)
        ]
        assert [roles[name]] == expected, name
    assert {name for name, role in roles.items() if role == "step"} == {
        name for name in pipeline.components if name.endswith("scheduler")
    }


def check_calls(observation: Observation, counted: zoo_truth.Count, calls: zoo.Calls) -> None:
    """Every passage that was counted was seen, and by branch as the class is known to make them."""
    assert observation.work is not None
    schedulers = {name: number for name, number in counted.calls.items() if name.endswith(".step")}
    rest = {name: number for name, number in counted.calls.items() if name not in schedulers}
    assert observation.work.component_calls == rest
    assert observation.work.steps == sum(schedulers.values())
    branches: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for group in observation.work.denoiser:
        branches[group.component][group.branch] += len(parse_steps(group.steps))
    assert branches == calls
    for component, numbers in calls.items():
        assert counted.calls[component] == sum(numbers.values())


def check_first_calls(calls: zoo.Calls, branches_by_component: dict[str, set[str]]) -> None:
    """What another prompt changes in the calls of a denoiser's first step bears out what the class is known to do."""
    assert {component: set(branches) for component, branches in calls.items()} == {
        component: branches for component, branches in branches_by_component.items() if component in calls
    }


def check_stages(observation: Observation, kind: zoo.Kind) -> None:
    """The stages that there are have a time, and with what is left over they make up the whole."""
    timed = observation.run.rounds[0]
    expected = {"text_encode", "denoise", "unattributed"} | ({"vae_decode"} if kind.decodes else set())
    assert set(timed.stages_s) == expected
    assert all(timed.stages_s[stage] > 0 for stage in expected - {"unattributed"})  # type: ignore[index]  # names of stages
    assert len(timed.steps_s) == kind.steps
    assert sum(timed.stages_s.values()) == pytest.approx(timed.total_s)


def test_the_zoo_is_as_large_as_stated() -> None:
    assert len(zoo.ZOO) >= 40


def test_building_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    zoo.build("StableDiffusionPipeline")
    assert torch.random.get_rng_state().equal(before)
