"""What the survey makes of real pipelines: calls, branches and guidance, beside what is known to be true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    observe,
    stable_diffusion,
    stable_diffusion_3,
)

from pytest_diffbench.measure.branches import BranchFinder
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import modules_of, sites_of
from pytest_diffbench.measure.guidance import derive_step
from pytest_diffbench.measure.rounds import Caller, observe_once
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from pytest_diffbench.records import Branch, Observation

pytestmark = pytest.mark.pipeline


def calls(observation: Observation) -> dict[Branch, str]:
    """Steps of each branch's calls; each branch must stand in one group."""
    assert observation.work is not None
    branches = {group.branch: group.steps for group in observation.work.denoiser}
    assert len(branches) == len(observation.work.denoiser)
    return branches


def uses(observation: Observation) -> list[tuple[str, int]]:
    """What each step used, and its sign."""
    assert observation.guidance is not None
    return [(step.used, step.sign) for step in observation.guidance.steps]


def scales(observation: Observation) -> list[float]:
    assert observation.guidance is not None
    return [step.scale for step in observation.guidance.steps if step.scale is not None]


@pytest.fixture(scope="module")
def plain() -> Observation:
    return observe(mini("lumina2"), PROMPT, **SMALL)


@pytest.mark.parametrize(
    ("count", "ratio", "guided"),
    [
        (3, 1.0, 3),
        (3, 0.0, 0),
        (4, 0.25, 1),
        (5, 0.6, 3),
        (5, 0.59, 2),
        (50, 0.58, 29),  # where int(50 * .58) is 28, since the product falls short of 29
    ],
)
def test_truncation_is_noticed_at_the_exact_step(count: int, ratio: float, guided: int) -> None:
    settings: dict[str, Any] = {"height": 32, "width": 32, "max_sequence_length": 32, "output_type": "latent"}
    pipeline = mini("lumina2")
    survey = Survey(modules_of(pipeline))
    arguments = {"num_inference_steps": count, "cfg_trunc_ratio": ratio, **settings}
    observe_once(Caller(pipeline, ("a",), arguments, 0, clock_for("cpu")), list(sites_of(pipeline)), survey)
    work, guidance = survey.work(), survey.guidance("Lumina2Pipeline", {})
    assert guidance is not None
    assert work.steps == len(guidance.steps) == count
    assert work.denoiser_calls == work.component_calls["transformer"] == count + guided
    assert guidance.guided_steps == guided
    by_branch = {group.branch: group.steps for group in work.denoiser}
    assert parse_steps(by_branch["cond"]) == list(range(count))
    assert parse_steps(by_branch.get("uncond", "")) == list(range(guided))
    assert [(step.used, step.sign) for step in guidance.steps] == [
        *[("guided", -1)] * guided,
        *[("cond", -1)] * (count - guided),
    ]


def test_calls_are_written_down_with_batch_and_shapes(plain: Observation) -> None:
    assert plain.work is not None
    cond, uncond = plain.work.denoiser
    assert (cond.branch, uncond.branch) == ("cond", "uncond")
    assert cond.shapes == uncond.shapes
    assert cond.shapes == {
        "hidden_states": (1, 4, 8, 8),
        "timestep": (1,),
        "encoder_hidden_states": (1, 256, 32),
        "encoder_attention_mask": (1, 256),
    }
    assert cond.batch == 1
    assert plain.work.component_calls == {"text_encoder": 2, "transformer": 4, "vae.decode": 1}


@pytest.mark.parametrize(("scale", "renorm"), [(1.5, True), (9.0, True), (4.0, False)])
def test_scale_sign_and_renorm_are_recovered(scale: float, renorm: bool) -> None:
    observation = observe(mini("lumina2"), PROMPT, guidance_scale=scale, cfg_normalization=renorm, **SMALL)
    assert observation.guidance is not None
    assert observation.guidance.arguments["cfg_normalization"] is renorm
    for step in observation.guidance.steps:
        assert (step.used, step.sign, step.branches) == ("guided", -1, ("cond", "uncond"))
        assert step.scale == pytest.approx(scale, rel=1e-5)
        if renorm:
            assert (step.norm_ratio_min, step.norm_ratio_max) == pytest.approx((1, 1), abs=1e-5)
        else:
            assert (step.gain_min, step.gain_max) == pytest.approx((1, 1), abs=1e-5)
            assert step.norm_ratio_max is not None
            assert step.norm_ratio_max > 1.01


def test_a_scale_of_1_is_no_guidance() -> None:
    observation = observe(mini("lumina2"), PROMPT, guidance_scale=1.0, **SMALL)
    assert calls(observation) == {"cond": "0-1"}
    assert uses(observation) == [("cond", -1)] * 2


def test_a_negative_prompt_changes_the_branch_and_nothing_else(plain: Observation) -> None:
    observation = observe(mini("lumina2"), PROMPT, negative_prompt="a blue square", **SMALL)
    assert calls(observation) == calls(plain)
    assert uses(observation) == uses(plain)
    assert scales(observation) == pytest.approx([4.0, 4.0], rel=1e-5)
    assert observation.output is not None
    assert plain.output is not None
    assert observation.output.images != plain.output.images


def test_equal_embeddings_are_distinguished_by_the_order_of_calls() -> None:
    pipeline = mini("lumina2")
    with torch.no_grad():
        embeds, mask, _, _ = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    observation = observe(
        pipeline,
        prompt_embeds=embeds,
        prompt_attention_mask=mask,
        negative_prompt_embeds=embeds.clone(),
        negative_prompt_attention_mask=mask.clone(),
        cfg_trunc_ratio=0.5,
        **SMALL,
    )
    assert calls(observation) == {"cond": "0-1", "uncond": "0"}
    # Guidance between equals changes nothing: whether it was applied, only the calls can tell.
    assert uses(observation) == [("guided", -1), ("cond", -1)]


def test_equal_prompts_in_flux() -> None:
    flux = observe(mini("flux"), PROMPT, negative_prompt=PROMPT, true_cfg_scale=2.0, **SMALL)
    assert calls(flux) == {"cond": "0-1", "uncond": "0-1"}
    assert uses(flux) == [("guided", 1)] * 2


def test_equal_prompts_in_a_joint_batch() -> None:
    joint = observe(stable_diffusion(), "", **SMALL)
    assert calls(joint) == {"joint": "0-1"}
    assert uses(joint) == [("guided", 1)] * 2


def test_twins_are_distinguished_for_every_denoiser_and_every_step() -> None:
    finder = BranchFinder()
    text = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0))
    finder.encoded([text])
    assert [finder.branch_of({"text": text}) for _ in range(2)] == ["cond", "cond"]  # a call that is made twice
    finder.encoded([text])
    for _ in range(2):
        finder.next_step()
        order = ["controlnet", "unet", "controlnet", "unet"]
        assert [finder.branch_of({"text": text}, name) for name in order] == ["cond", "cond", "uncond", "uncond"]


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [(["a red circle", "a blue square"], {}), ("a red circle", {"num_images_per_prompt": 2})],
    ids=["prompts", "images"],
)
def test_a_batch_is_a_batch(prompt: Any, arguments: dict[str, Any]) -> None:
    observation = observe(mini("lumina2"), prompt, **arguments, **SMALL)
    assert observation.work is not None
    assert [group.batch for group in observation.work.denoiser] == [2, 2]
    assert calls(observation) == {"cond": "0-1", "uncond": "0-1"}
    assert scales(observation) == pytest.approx([4.0, 4.0], rel=1e-5)
    assert observation.output is not None
    assert len({image.digest for image in observation.output.images}) == 2


@pytest.mark.parametrize("arguments", [{"output_type": "np"}, {"output_type": "pt"}, {"return_dict": False}], ids=str)
def test_the_form_of_the_output_does_not_change_the_image(plain: Observation, arguments: dict[str, Any]) -> None:
    observation = observe(mini("lumina2"), PROMPT, **arguments, **SMALL)
    assert observation.output is not None
    assert plain.output is not None
    assert observation.output.images == plain.output.images


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_latents_are_no_images_but_an_output(name: str) -> None:
    observation = observe(mini(name), PROMPT, output_type="latent", **SMALL)
    assert observation.output is not None
    assert (observation.output.images, observation.output.finite, observation.output.rerun.identical) == (
        (),
        True,
        True,
    )
    assert observation.output.latents_shape == ((1, 4, 8, 8) if name == "lumina2" else (1, 16, 16))
    assert observation.work is not None
    assert "vae.decode" not in observation.work.component_calls


@pytest.mark.parametrize("several", [False, True], ids=["one", "list"])
def test_generators_of_the_caller_are_rewound_for_every_round_and_at_the_end(several: bool) -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (4, 5)][: 2 if several else 1]
    torch.rand(3, generator=generators[0])  # not at its beginning
    before = [generator.get_state() for generator in generators]
    prompts = [PROMPT] * len(generators)
    observation = observe(
        mini("lumina2"), prompts, generator=generators if several else generators[0], rounds=2, **SMALL
    )
    assert observation.output is not None
    assert observation.output.rerun.identical
    assert len(observation.output.images) == len(generators)
    after = [generator.get_state() for generator in generators]
    assert all(state.equal(other) for state, other in zip(before, after, strict=True))
    images = mini("lumina2")(prompts, generator=generators if several else generators[0], **SMALL).images
    assert observation.output.images[0].digest == observe(lambda: images).output.images[0].digest  # type: ignore[union-attr]  # None would fail the test


def test_latents_of_the_caller_are_used_and_left_alone(plain: Observation) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    before = latents.clone()
    observation = observe(mini("lumina2"), PROMPT, latents=latents, rounds=2, **SMALL)
    assert latents.equal(before)
    assert observation.output is not None
    assert plain.output is not None
    assert observation.output.rerun.identical
    assert observation.output.images != plain.output.images


def test_a_callback_of_the_caller_is_called(plain: Observation) -> None:
    steps: list[int] = []

    def callback(_pipeline: Any, step: int, _t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(step)
        return tensors

    observation = observe(mini("lumina2"), PROMPT, callback_on_step_end=callback, **SMALL)
    assert steps == [0, 1] * 3  # survey, count, one round
    assert observation.work is not None
    assert plain.work is not None
    assert observation.work.denoiser == plain.work.denoiser
    assert observation.work.operators == plain.work.operators
    # one call of the callback a step, and what diffusers does to make it
    assert 0 < observation.work.python_calls["pipeline"] - plain.work.python_calls["pipeline"] < 20


def test_distilled_flux_calls_once_a_step() -> None:
    observation = observe(mini("flux"), PROMPT, **SMALL)
    assert calls(observation) == {"cond": "0-1"}
    assert uses(observation) == [("cond", 1)] * 2


def test_flux_with_true_guidance() -> None:
    observation = observe(mini("flux"), PROMPT, negative_prompt="a blue square", true_cfg_scale=2.0, **SMALL)
    assert calls(observation) == {"cond": "0-1", "uncond": "0-1"}
    assert uses(observation) == [("guided", 1)] * 2
    assert scales(observation) == pytest.approx([2.0, 2.0], rel=1e-5)
    assert observation.guidance is not None
    for step in observation.guidance.steps:
        assert (step.gain_min, step.gain_max) == pytest.approx((1, 1), abs=1e-5)
        assert step.norm_ratio_max is not None
        assert step.norm_ratio_max > 1.1


@pytest.mark.parametrize(
    ("kind", "steps", "scale"), [("", 2, 7.5), ("XL", 2, 5.0), ("Heun", 3, 7.5), ("3", 2, 7.0)], ids=str
)
def test_branches_in_a_single_batch_are_split(kind: str, steps: int, scale: float) -> None:
    pipeline = stable_diffusion_3() if kind == "3" else stable_diffusion(kind)
    observation = observe(pipeline, PROMPT, negative_prompt="a blue square", **SMALL)
    assert observation.work is not None
    assert observation.work.steps == steps
    assert calls(observation) == {"joint": f"0-{steps - 1}"}
    assert [group.batch for group in observation.work.denoiser] == [2]
    assert uses(observation) == [("guided", 1)] * steps
    assert scales(observation) == pytest.approx([scale] * steps, rel=1e-4)
    assert len(observation.run.rounds[0].steps_s) == steps


def test_without_guidance_the_same_pipeline_is_not_joint() -> None:
    observation = observe(stable_diffusion(), PROMPT, guidance_scale=1.0, **SMALL)
    assert calls(observation) == {"cond": "0-1"}
    assert uses(observation) == [("cond", 1)] * 2


def test_a_rescale_of_guidance_is_a_gain_below_1() -> None:
    observation = observe(stable_diffusion(), PROMPT, guidance_rescale=0.7, **SMALL)
    assert scales(observation) == pytest.approx([7.5, 7.5], rel=1e-4)
    assert observation.guidance is not None
    for step in observation.guidance.steps:
        assert step.gain_min == pytest.approx(step.gain_max, rel=1e-5)
        assert step.gain_min != pytest.approx(1, abs=1e-5)


def test_an_image_to_image_pipeline_shows_the_encoder() -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    observation = observe(stable_diffusion("Img2Img"), PROMPT, image=image, num_inference_steps=4, strength=0.5)
    assert observation.work is not None
    assert (observation.work.steps, observation.work.component_calls["vae.encode"]) == (2, 1)
    assert observation.work.flops["vae.encode"] > 0
    assert observation.run.rounds[0].stages_s["vae_encode"] > 0
    assert uses(observation) == [("guided", 1)] * 2


@pytest.mark.parametrize("swapped", [False, True], ids=["uncond first", "cond first"])
@pytest.mark.parametrize("variance", [False, True], ids=["plain", "with variance"])
def test_the_order_within_a_joint_batch_follows_from_the_scale(swapped: bool, variance: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    cond, uncond = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    joint = torch.cat([cond, uncond] if swapped else [uncond, cond])
    if variance:
        joint = torch.cat([joint, torch.randn(joint.shape, generator=generator)], dim=1)
    step = derive_step([("joint", joint)], uncond + 3.0 * (cond - uncond))
    assert (step.used, step.sign, step.branches) == ("guided", 1, ("joint",))
    assert step.scale == pytest.approx(3.0, rel=1e-5)


def test_a_joint_step_with_a_single_used_half_names_the_half() -> None:
    generator = torch.Generator().manual_seed(0)
    uncond, cond = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    joint = torch.cat([uncond, cond])
    assert [derive_step([("joint", joint)], prediction).used for prediction in (cond, uncond)] == ["cond", "uncond"]
