"""What a call leaves behind in the components is told, and other weights are known for what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import PROMPT, SMALL, frozen_heap, new_mini, observe  # noqa: F401 - a fixture

from pytest_diffbench.measure.left_behind import component_states, left_behind, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pipeline


class Upcast:
    """A processor of attention of another class."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._inner(*args, **kwargs)


def swap_processor(pipeline: Any) -> None:
    layer = pipeline.transformer.layers[0].attn
    layer.processor = Upcast(layer.processor)


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "dtype": (lambda pipeline: pipeline.vae.to(torch.float64), "vae: dtype float64, was float32"),
    "training": (lambda pipeline: pipeline.vae.decoder.mid_block.train(), "vae: layers in training "),
    "hook": (
        lambda pipeline: pipeline.vae.decoder.register_forward_hook(lambda *_: None),
        "vae: hooks 1, was 0",
    ),
    "processor": (swap_processor, "Upcast x 1"),
    "weights": (lambda pipeline: pipeline.transformer.norm_out.linear_1.weight.data.mul_(1.01), "other weights"),
    "config": (lambda pipeline: pipeline.scheduler.register_to_config(shift=2.0), "scheduler: another config"),
    "gone": (lambda pipeline: setattr(pipeline, "vae", None), "vae: gone"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_named_with_the_component(change: str) -> None:
    pipeline = new_mini("lumina2")
    before = component_states(pipeline)
    CHANGES[change][0](pipeline)
    (difference,) = left_behind(before, component_states(pipeline))
    assert CHANGES[change][1] in difference
    assert len(left_behind(component_states(pipeline), before)) == 1


class Quantized(torch.Tensor):
    """Codes and a scale, as quantisers keep a weight; there is no slice, view or copy of the whole."""

    codes: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, codes: torch.Tensor, scale: torch.Tensor) -> Quantized:
        tensor: Quantized = torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=scale.dtype)
        tensor.codes, tensor.scale = codes, scale
        return tensor

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["codes", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        if func is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scale)
        raise NotImplementedError(func)


def test_quantised_weights_are_known_by_inner_tensors() -> None:
    codes = torch.arange(64, dtype=torch.int8).reshape(8, 8)

    def weights(codes: torch.Tensor, scale: float) -> dict[str, str]:
        layer = torch.nn.Linear(8, 8, bias=False)
        layer.weight = torch.nn.Parameter(Quantized(codes, torch.tensor([scale])), requires_grad=False)
        return weights_of(component_states(type("Pipeline", (), {"components": {"transformer": layer}})()))

    plain = weights(codes, 1.0)
    assert plain["transformer"]
    assert weights(codes.clone(), 1.0) == plain
    assert weights(codes.flip(0), 1.0) != plain
    assert weights(codes, 2.0) != plain


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_a_call_without_lasting_changes(name: str) -> None:
    pipeline = new_mini(name)
    observation = observe(pipeline, PROMPT, **SMALL)
    assert observation.left_behind == ()
    assert observation.output is not None
    assert set(observation.output.weights) >= {"transformer", "vae", "text_encoder"}
    assert observation.output.weights == weights_of(component_states(new_mini(name))), (
        "the same in each pipeline alike"
    )


def test_a_decoder_left_in_a_different_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = new_mini("lumina2")
    call = type(pipeline).__call__

    def upcasting(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(self, *args, **kwargs)
        self.vae.decoder.conv_norm_out.to(torch.float64).to(torch.float32)  # put back: nothing to tell
        self.text_encoder.norm.to(torch.float64)
        return output

    monkeypatch.setattr(type(pipeline), "__call__", upcasting)
    observation = observe(pipeline, PROMPT, prompt_embeds=None, output_type="latent", guidance_scale=1.0, **SMALL)
    assert observation.left_behind == ("text_encoder: dtype float32, float64, was float32",)


def test_blank_and_strided_parameters() -> None:
    module = torch.nn.Linear(3, 4)
    module.weight.data = module.weight.data.t().contiguous().t()
    blank = torch.nn.Linear(2, 2, device="meta")

    class Pipeline:
        def __init__(self, first: Any) -> None:
            self.components = {"first": first, "blank": blank}

    states = component_states(Pipeline(module))
    assert "weights" not in states["blank"]
    module.weight.data = module.weight.data.contiguous()
    assert left_behind(states, component_states(Pipeline(module))) == ()
    module.weight.data = -module.weight.data
    assert left_behind(states, component_states(Pipeline(module))) == ("first: other weights",)
