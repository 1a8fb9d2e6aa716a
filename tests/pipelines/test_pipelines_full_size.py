"""The models at their full size, without their weights: what they are, and what a call of them computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.measure.costs import CostTable
from pytest_diffbench.pipelines.full_size import PARTS, build_full_size
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.placeholders.tensors import Placeholder
from pytest_diffbench.plan.record import plan_of

if TYPE_CHECKING:
    from pytest_diffbench.records import PipelinePlan

PARAMETERS = {
    "lumina2": {"transformer": 2_609_769_152, "text_encoder": 2_614_341_888, "vae": 83_819_683},
    "flux": {
        "transformer": 11_901_408_320,
        "text_encoder": 123_060_480,
        "text_encoder_2": 4_762_310_656,
        "vae": 83_819_683,
    },
}
PROMPT = "a large red circle on a blue background"


@pytest.fixture(scope="module", params=["lumina2", "flux"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pipeline(name: str) -> Any:
    pipeline = build_full_size(MODELS[name], torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def plan(name: str, pipeline: Any) -> PipelinePlan:
    recommended = dict(MODELS[name].recommended)
    return plan_of(pipeline, {"prompt": PROMPT} | recommended, source=name, dtype="bfloat16", device="H100")


def test_every_registered_model_has_a_configuration() -> None:
    assert PARTS.keys() == MODELS.keys()


def test_parameters_match_the_published_models_and_blank(name: str, pipeline: Any) -> None:
    modules = {key: part for key, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    assert {
        key: sum(parameter.numel() for parameter in module.parameters()) for key, module in modules.items()
    } == PARAMETERS[name]
    for module in modules.values():
        assert all(
            isinstance(parameter, Placeholder) and parameter.dtype == torch.bfloat16
            for parameter in module.parameters()
        )
        assert not any(buffer.is_meta for buffer in module.buffers())


def test_building_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    build_full_size(MODELS["lumina2"], torch.bfloat16)
    assert torch.get_rng_state().equal(before)


@pytest.mark.pipeline
def test_calls_and_tokens_of_a_recommended_call(name: str, plan: PipelinePlan) -> None:
    calls = {group.branch: (group.steps, plan.tokens[f"transformer {group.branch}"]) for group in plan.work.denoiser}
    # 4,096 patches of 16x16 pixels; 38 tokens of the prompt with its system prompt, one of the empty negative one
    expected: dict[str, dict[str, tuple[str, int]]] = {
        "lumina2": {"cond": ("0-29", 4096 + 38), "uncond": ("0-29", 4096 + 1)},
        "flux": {"cond": ("0-49", 4096 + 512)},
    }
    assert calls == expected[name]


@pytest.mark.pipeline
def test_a_denoiser_call_is_as_much_work_as_the_layers(name: str, plan: PipelinePlan) -> None:
    # What torch's registry has a formula for, which leaves out the fused attention of a CPU, plus that attention.
    (group,) = [group for group in plan.work.denoiser if group.branch == "cond"]
    tokens = plan.tokens["transformer cond"]
    layers, width, rest = {"lumina2": (26, 2304, 18.1e12), "flux": (57, 3072, 59.5e12)}[name]
    attention = 4 * layers * tokens**2 * width
    if name == "lumina2":  # two layers that refine the noise alone, two that refine 256 places for text
        attention += 4 * 2 * 4096**2 * width + 4 * 2 * 256**2 * width
    assert group.flops - attention == pytest.approx(rest, rel=0.003)


@pytest.mark.pipeline
def test_memory_and_times(name: str, plan: PipelinePlan) -> None:
    parts = {part.name: part for part in plan.parts}
    assert plan.weights_bytes == 2 * sum(PARAMETERS[name].values())
    # At least the latents of the last block, 256 channels in full size in and out, in two bytes.
    assert parts["vae.decode"].activations_peak_bytes >= 2 * 256 * 1024**2 * 2
    denoiser = parts["transformer"]
    assert denoiser.roofline_s is not None
    assert denoiser.roofline_s >= denoiser.flops / 989.4e12
    assert plan.roofline_s == pytest.approx(sum(part.roofline_s or 0 for part in plan.parts))


@pytest.mark.full
@pytest.mark.pipeline
def test_half_the_steps_truncated_save_a_quarter_of_the_calls() -> None:
    pipeline = build_full_size(MODELS["lumina2"], torch.bfloat16)
    arguments = {"prompt": PROMPT} | dict(MODELS["lumina2"].recommended) | {"cfg_trunc_ratio": 0.5}
    plan = plan_of(pipeline, arguments, source="lumina2", dtype="bfloat16")
    assert plan.work.calls_by_branch() == {"cond": 30, "uncond": 15}
    assert plan.guidance is not None
    assert plan.guidance.guided_steps == 15


def test_costs_of_operations_are_looked_up_by_layout() -> None:
    table = CostTable()
    a, b = torch.ones(4, 8, dtype=torch.bfloat16), torch.ones(8, 2, dtype=torch.bfloat16)
    product = table.of(torch.ops.aten.mm.default, (a, b), {}, a @ b)
    assert (product.flops, product.moved_bytes, product.dtype) == (2 * 4 * 8 * 2, 2 * (32 + 16 + 8), "bfloat16")
    rows, ids = torch.ones(1000, 8), torch.tensor([1, 2])
    looked_up = table.of(torch.ops.aten.embedding.default, (rows, ids), {}, rows[ids])
    assert looked_up.moved_bytes == 2 * 64 + 16
    assert table.of(torch.ops.aten.mul.Tensor, (a, a), {}, a * a).moved_bytes == 2 * 64
