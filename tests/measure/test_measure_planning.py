"""Planning real pipelines: the same code with blank weights must be seen to do the very same work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import torch
from tiny_pipelines import build_tiny
from torch.utils.flop_counter import FlopCounterMode

from pytest_diffbench.measure.flops import flop_formulas
from pytest_diffbench.pipelines.unloaded import pipeline_in
from pytest_diffbench.placeholders.tensors import NotPlannableError, Placeholder
from pytest_diffbench.plan.planning import plan_call
from pytest_diffbench.plan.record import plan_of

sys.path.insert(0, str(Path(__file__).parent.parent / "guidance"))
import guidance_pipelines as tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import PipelinePlan

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

SMALL: dict[str, Any] = {"num_inference_steps": 4, "height": 64, "width": 64, "output_type": "pil"}


def without_weights(pipeline: Any, folder: Path) -> Any:
    """The pipeline that a folder describes from which all weights were taken."""
    pipeline.save_pretrained(folder)
    weights = list(folder.glob("*/*.safetensors"))
    assert weights
    for path in weights:
        path.unlink()
    planned, notes = pipeline_in(folder, torch.float32)
    assert notes == ()
    planned.set_progress_bar_config(disable=True)
    return planned


def planned(pipeline: Any, **arguments: Any) -> PipelinePlan:
    return plan_of(pipeline, {"prompt": tiny.PROMPT} | SMALL | arguments, source="a folder", dtype="float32")


@pytest.mark.parametrize("name", ["lumina2", "flux", pytest.param("stable_diffusion", marks=pytest.mark.full)])
def test_flops_match_torchs_own_counter(name: str, tmp_path: Path) -> None:
    pipeline = getattr(tiny, name)()
    counter = FlopCounterMode(display=False, custom_mapping=_plain(flop_formulas()))
    with counter:
        pipeline(tiny.PROMPT, **SMALL)
    plan = planned(without_weights(pipeline, tmp_path))
    assert sum(part.flops for part in plan.parts) == counter.get_total_flops() > 0


def _plain(formulas: dict[Any, Callable[..., int]]) -> dict[Any, Any]:
    """Formulas that torch lacks, as its counter takes them: of shapes."""
    from torch.utils.flop_counter import flop_registry, sdpa_flop_count

    return {
        operator: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
        for operator in formulas
        if operator not in flop_registry
    }


def test_attention_is_a_part_of_the_work(tmp_path: Path) -> None:
    plan = planned(without_weights(tiny.lumina2(), tmp_path))
    parts = {part.name: part for part in plan.parts}
    assert set(parts) == {"text_encoder", "transformer", "vae.decode", "pipeline"}
    assert 0 < parts["transformer"].attention_flops < parts["transformer"].flops
    assert sum(part.flops for part in plan.parts) == plan.work.total_flops + parts["pipeline"].flops
    assert plan.tokens["transformer cond"] >= (64 // 16) ** 2
    assert parts["text_encoder"].text_tokens


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
    planned(pipeline)
    module = pipeline.transformer
    assert "forward" not in vars(module)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.__future__.get_overwrite_module_params_on_conversion() == overwriting
    assert not isinstance(torch.zeros(2000, 2000), Placeholder)


# -- calls that are remembered


def calls_of(pipeline: Any, **arguments: Any) -> tuple[int, PipelinePlan]:
    """How often the denoiser's own code ran, and the plan."""
    ran = []
    inner = type(pipeline.transformer).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        ran.append(1)
        return inner(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipeline.transformer), "forward", forward)
        plan = planned(pipeline, **arguments)
    return len(ran), plan


def test_like_calls_run_once_and_count_every_time(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    ran, plan = calls_of(pipeline, num_inference_steps=10)
    assert (ran, plan.work.denoiser_calls) == (2, 20)
    assert plan.work.flops["transformer"] == sum(10 * group.flops for group in plan.work.denoiser)


def test_a_view_of_all_time_steps_leaves_calls_equal(tmp_path: Path) -> None:
    pipeline = without_weights(build_tiny("wan"), tmp_path)
    size = {"height": 32, "width": 32, "num_frames": 5, "max_sequence_length": 16}
    few, many = (calls_of(pipeline, num_inference_steps=steps, **size) for steps in (3, 9))
    assert many[0] == few[0] <= 2
    assert (few[1].work.denoiser_calls, many[1].work.denoiser_calls) == (6, 18)


def test_a_denoiser_reading_the_time_step_is_run_at_every_step(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    layers = pipeline.transformer.layers
    inner = layers[0].forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(inner(x, *args, **kwargs), *args, **kwargs) if late[0] else inner(x, *args, **kwargs)

    late = [False]
    layers[0].forward = forward
    original = pipeline.transformer.time_caption_embed.forward

    def embed(hidden: Any, timestep: Any, encoded: Any) -> Any:
        late[0] = timestep.item() > 0.6
        return original(hidden, timestep, encoded)

    pipeline.transformer.time_caption_embed.forward = embed
    ran, plan = calls_of(pipeline)
    assert ran == plan.work.denoiser_calls
    flops = {group.steps: group.flops for group in plan.work.denoiser if group.branch == "cond"}
    assert len(flops) == 2
    early, later = flops.values()
    assert later > early


def test_a_denoiser_with_hooks_within_is_run_at_every_step(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    pipeline.transformer.layers[0].register_forward_hook(lambda *_: None)
    ran, plan = calls_of(pipeline)
    assert ran == plan.work.denoiser_calls


@pytest.mark.full
def test_a_cache_of_attention_counts_as_in_a_real_run(tmp_path: Path) -> None:
    import diffusers

    def cached(pipeline: Any) -> Any:
        config = diffusers.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 1000),
            current_timestep_callback=lambda: pipeline._current_timestep,
        )
        pipeline.transformer.enable_cache(config)
        return pipeline

    plan = planned(cached(without_weights(tiny.flux(), tmp_path)))
    pipeline = cached(tiny.flux())
    try:
        real = tiny.observed(pipeline, **SMALL)
    finally:
        pipeline.transformer.disable_cache()  # others share this pipeline
    assert real.work is not None
    assert plan.work == msgspec.structs.replace(real.work, operators={}, python_calls={}, engagements=())
    assert len({group.flops for group in plan.work.denoiser}) == 2


# -- what can't be planned


def test_a_residual_reading_cache_is_named(tmp_path: Path) -> None:
    import diffusers

    pipeline = without_weights(tiny.flux(), tmp_path)
    pipeline.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(
        NotPlannableError, match=r"_local_scalar_dense.*FluxTransformer2DModel at .*first_block_cache"
    ):
        planned(pipeline)


def test_a_function_in_need_of_values_is_named_with_the_place(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    layer = pipeline.transformer.layers[0]
    inner = layer.forward

    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        return inner(x, *args, **kwargs) if x.abs().max().item() else x

    layer.forward = forward
    with pytest.raises(NotPlannableError, match=r"_local_scalar_dense.*Lumina2Transformer2DModel at .*\.py:\d+"):
        planned(pipeline)


def test_an_image_of_a_plan_is_no_image(tmp_path: Path) -> None:
    pipeline = without_weights(tiny.lumina2(), tmp_path)
    _, _, output = plan_call(pipeline, (tiny.PROMPT,), SMALL, 0)
    assert output.images[0].size == (64, 64)
    assert output.images[0].getextrema() == ((0, 0),) * 3
