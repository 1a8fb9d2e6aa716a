"""Drawn weights: the same every time, sound through all layers and steps, and all else as it was constructed."""

from __future__ import annotations

import functools
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import torch
from guidance_pipelines import judged, observed
from narrow_models import NARROW

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines import loader, random_weights
from pytest_diffbench.pipelines.full_size import PARTS, assemble, placeholder_components
from pytest_diffbench.pipelines.random_weights import REVISION, build_random
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.plan.planning import plan_call
from pytest_diffbench.records import PipelineSpec, Tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "a large red circle on a blue background"
NAMES = ["lumina2", "flux", "wan"]
CALL: dict[str, Any] = {"height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": 32}
FRAMES: dict[str, dict[str, Any]] = {"wan": {"num_frames": 5}}
"""What the calls of models that make videos are handed besides, by the name of the model."""

pytestmark = pytest.mark.pipeline


def built(name: str, dtype: torch.dtype = torch.bfloat16) -> Any:
    pipeline = build_random(MODELS[name], dtype, "cpu", parts=NARROW)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pipeline(name: str) -> Any:
    return built(name)


@pytest.fixture
def narrow_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "build_random", functools.partial(build_random, parts=NARROW))


def modules_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    return {key: part for key, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def image_of(pipeline: Any, prompt: str = PROMPT, **more: Any) -> torch.Tensor:
    """The image, or the video."""
    generator = torch.Generator().manual_seed(0)
    frames = FRAMES["wan"] if type(pipeline).__name__ == "WanPipeline" else {}
    (images,) = pipeline(prompt, generator=generator, output_type="pt", return_dict=False, **CALL | frames | more)
    return torch.as_tensor(images).float()


def test_the_same_weights_every_time_and_others_for_a_different_model(name: str, pipeline: Any) -> None:
    before = torch.get_rng_state(), torch.get_default_dtype()
    again = built(name)
    assert torch.get_rng_state().equal(before[0])
    assert torch.get_default_dtype() == before[1]
    for key, module in modules_of(pipeline).items():
        other = dict(modules_of(again)[key].named_parameters())
        assert all(value.equal(other[path]) for path, value in module.named_parameters())
    if name == "lumina2":
        neta = dict(built("neta-lumina").transformer.named_parameters())
        weight = "layers.3.attn.to_q.weight"
        assert not neta[weight].equal(dict(pipeline.transformer.named_parameters())[weight])


def test_weights_do_not_depend_on_the_order_of_components() -> None:
    reverse = {"lumina2": dict(reversed(list(NARROW["lumina2"].items())))}
    pipeline = build_random(MODELS["lumina2"], torch.bfloat16, "cpu", parts=reverse)
    other = built("lumina2")
    assert pipeline.vae.decoder.conv_in.weight.equal(other.vae.decoder.conv_in.weight)
    assert pipeline.transformer.layers[0].attn.to_q.weight.equal(other.transformer.layers[0].attn.to_q.weight)


@pytest.fixture
def unfilled_is_nan() -> Iterator[None]:
    """Let torch write NaN into what it allocates without content."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # set through a class
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("unfilled_is_nan")
def test_every_parameter_is_filled(name: str) -> None:
    assert torch.empty(3).isnan().all()
    for module in modules_of(built(name)).values():
        for path, parameter in module.named_parameters():
            assert type(parameter) is torch.nn.Parameter
            assert parameter.isfinite().all(), path
            assert parameter.dtype == torch.bfloat16
            assert not parameter.requires_grad
        assert not module.training


def test_scales_of_the_parameters(name: str, pipeline: Any) -> None:
    for module in modules_of(pipeline).values():
        for path, parameter in module.named_parameters():
            values = parameter.float()
            owner = module.get_submodule(path.rpartition(".")[0])
            kind = type(owner).__name__
            if path.endswith("bias"):
                assert values.eq(0).all(), path
            elif "Norm" in kind or path.endswith("gamma"):  # as Wan's autoencoder calls the gains of its norms
                assert values.eq(0 if kind == "Gemma2RMSNorm" else 1).all(), path
            elif isinstance(owner, torch.nn.Embedding):
                # Gemma multiplies by the square root of the width afterwards
                scale = float(getattr(owner, "embed_scale", 1))
                assert values.std().item() * scale == pytest.approx(1, rel=0.1), path
            else:
                fan_in = values[0].numel() * (16 if "SelfAttention.q" in path else 1)
                assert values.std().item() * fan_in**0.5 == pytest.approx(1, rel=0.1), path
                # of few values, as in Wan's tables of scales and shifts, four standard errors
                assert abs(values.mean().item()) * fan_in**0.5 < max(0.1, 4 / values.numel() ** 0.5), path
                assert len(values.unique()) > min(100, values.numel() / 4), path


def test_rows_of_a_matrix_longer_than_the_table_are_unlike() -> None:
    layer = torch.nn.Linear(1024, 8192, bias=False)
    random_weights.fill(layer, "any", random_weights._table(torch.float32, "cpu"))
    rows = torch.nn.functional.normalize(layer.weight.detach(), dim=1)
    cosines = rows[:256] @ rows.T
    cosines.fill_diagonal_(0)
    # of two million pairs of independent rows the most alike has 5.2 / sqrt(1024)
    assert cosines.abs().max() < 0.2


def test_buffers_and_tables_match_a_constructed_model(name: str, pipeline: Any) -> None:
    compared = 0
    for key, part in NARROW[name].items():
        kind = getattr(import_module(part.library), part.class_name)
        with torch.random.fork_rng(devices=[]):
            sound = (
                kind(kind.config_class.from_dict(dict(part.config)))
                if part.library == "transformers"
                else kind.from_config(dict(part.config))
            )
        built: Any = modules_of(pipeline)[key]
        buffers = dict(built.named_buffers())
        assert buffers.keys() == dict(sound.named_buffers()).keys()
        for path, buffer in sound.named_buffers():
            assert type(buffers[path]) is torch.Tensor
            assert buffers[path].dtype == buffer.dtype
            assert buffers[path].equal(buffer), path
            compared += 1
        if part.class_name == "Lumina2Transformer2DModel":  # a list, which no state dict and no move knows
            tables = zip(built.rope_embedder.freqs_cis, sound.rope_embedder.freqs_cis, strict=True)
            assert all(type(table) is torch.Tensor and table.equal(other) for table, other in tables)
            compared += 1
    assert compared == {"lumina2": 4, "flux": 1, "wan": 2}[name]


def test_tied_weights_stay_tied() -> None:
    encoder = built("flux").text_encoder_2
    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight


@pytest.mark.parametrize(("name", "steps"), [("lumina2", 50), ("flux", 50), ("wan", 50)])
def test_all_layers_and_fifty_steps_in_bfloat16_stay_sound(name: str, steps: int) -> None:
    pipeline = built(name)
    parts = pipeline.transformer.config
    assert parts.num_layers + parts.get("num_single_layers", 0) == {"lumina2": 26, "flux": 57, "wan": 30}[name]
    predictions, latents = [], []
    step = pipeline.scheduler.step

    def watched(model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        result = step(model_output, *args, **kwargs)
        latents.append(result[0].float().std().item())
        return result

    pipeline.scheduler.step = watched
    # the denoiser's own: guidance makes more of them, Wan's of five times the difference
    pipeline.transformer.register_forward_hook(
        lambda _module, _inputs, output: predictions.append(torch.cat(list(output[0])).float().std().item())
    )
    image = image_of(pipeline, num_inference_steps=steps)
    assert len(latents) == steps
    # NaN is neither above nor below
    assert all(0.5 < deviation < 3 for deviation in predictions), predictions
    assert all(0.5 < deviation < 3 for deviation in latents), latents
    assert image.isfinite().all()
    assert image.std() > 0.05
    assert ((image <= 0) | (image >= 1)).float().mean() < 0.5


def test_prompts_are_felt(name: str, pipeline: Any) -> None:
    picture, other = image_of(pipeline), image_of(pipeline, prompt="")
    assert (picture - other).std() > 0.01


def test_the_work_matches_the_plan(name: str, pipeline: Any) -> None:
    model = MODELS[name]
    planned = assemble(model, placeholder_components(model, torch.bfloat16, NARROW))
    planned.set_progress_bar_config(disable=True)
    call = CALL | FRAMES.get(name, {})
    survey, _, _ = plan_call(planned, (PROMPT,), call, seed=0)
    work = observed(pipeline, prompt=PROMPT, output_type="pil", **call).work
    assert work is not None
    assert msgspec.structs.replace(work, operators={}, python_calls={}) == survey.work()


@pytest.mark.parametrize("renorm", [True, False])
def test_guidance_shows_as_asked_in_bfloat16(renorm: bool) -> None:
    verdict = judged(built("lumina2"), prompt=PROMPT, cfg_normalization=renorm, cfg_trunc_ratio=0.5, **CALL)
    assert verdict.reason == "guidance.same"


@pytest.mark.parametrize("scale", [5.0, 1.0])
def test_guidance_of_a_video_shows_as_asked_in_bfloat16(scale: float) -> None:
    verdict = judged(built("wan"), prompt=PROMPT, guidance_scale=scale, **CALL, **FRAMES["wan"])
    assert verdict.reason == "guidance.same"


def test_too_little_memory_is_reported_before_any_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("allocated")

    monkeypatch.setattr(random_weights, "_allocate", refuse)
    monkeypatch.setattr(random_weights, "free_bytes", lambda _: 8 << 30)
    # 5,307,930,723 parameters, in four bytes and in two
    expected = (
        "model='lumina2' with weights='random': its weights take 19.8 GiB in float32 (5.31 billion parameters in "
        "all), and 8.0 GiB are free on cpu. Use --diffbench-dtype=bfloat16, or pytest --diffbench-weights=plan"
    )
    with pytest.raises(PipelineError, match=re.escape(expected)):
        build_random(MODELS["lumina2"], torch.float32, "cpu")
    with pytest.raises(
        PipelineError, match=r"9\.9 GiB in bfloat16 .* free on cpu\. Use pytest --diffbench-weights=plan"
    ):
        build_random(MODELS["lumina2"], torch.bfloat16, "cpu")
    with pytest.raises(PipelineError, match=r"free on cuda:1\. Use --diffbench-offload=model, or"):
        build_random(MODELS["lumina2"], torch.bfloat16, "cuda:1")


def test_offloading_needs_the_largest_component_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"cpu": 64 << 30, "cuda": 8 << 30}
    monkeypatch.setattr(random_weights, "free_bytes", lambda device: free[device])
    components = placeholder_components(MODELS["flux"], torch.bfloat16)
    expected = (
        r"its transformer, the largest component, takes 22\.2 GiB .* 8\.0 GiB are free on cuda\. Use .*=sequential"
    )
    with pytest.raises(PipelineError, match=expected):
        random_weights.check_room("flux", components, "cuda", "model")
    random_weights.check_room("flux", components, "cuda", "sequential")
    free["cuda"] = 23 << 30
    random_weights.check_room("flux", components, "cuda", "model")
    free["cpu"] = 16 << 30
    with pytest.raises(PipelineError, match=r"31\.4 GiB .* 16\.0 GiB are free on cpu"):
        random_weights.check_room("flux", components, "cuda", "model")


def test_a_platform_without_figures_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "free_bytes", lambda _: None)
    random_weights.check_room("flux", placeholder_components(MODELS["flux"], torch.bfloat16, NARROW), "mps")


@pytest.mark.usefixtures("narrow_loads")
def test_the_loader_places_and_tunes_random_weights() -> None:
    def loaded(**changes: Any) -> Any:
        return loader.load(PipelineSpec(model="lumina2", weights="random", device="cpu", dtype="float32", **changes))

    plain = loaded()
    assert plain.dtype == torch.float32
    expected = image_of(plain)
    assert image_of(loaded(offload="group")).equal(expected)
    tuned = loaded(tuning=Tuning(vae_tiling=True, channels_last=True))
    assert tuned.vae.use_tiling
    assert tuned.vae.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert (image_of(tuned) - expected).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"quantize": "int8"}, "quantize='int8' works while pretrained weights are loaded, and weights='random'"),
        (
            {"cache": "first-block:0.1"},
            "cache='first-block:0.1' skips blocks whose output changes little.*pyramid, faster or taylorseer",
        ),
    ],
)
def test_options_with_weight_dependent_effects_are_refused(options: dict[str, Any], expected: str) -> None:
    spec = PipelineSpec(model="flux", weights="random", device="cpu", dtype="bfloat16", tuning=Tuning(**options))
    with pytest.raises(PipelineError, match=expected):
        loader.load(spec)


def test_a_model_without_a_configuration_is_named() -> None:
    with pytest.raises(PipelineError, match=r"model='flux': the package has no full-size configuration of it"):
        build_random(MODELS["flux"], torch.bfloat16, "cpu", parts={"lumina2": PARTS["lumina2"]})


def test_the_revision_names_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REVISION == "random-1"
    before = built("lumina2").transformer.x_embedder.weight
    monkeypatch.setattr(random_weights, "REVISION", "random-2")
    assert not built("lumina2").transformer.x_embedder.weight.equal(before)
