"""The stages of the training, in their order: each reads what those before it have left."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from minis import data, train_flow, train_vae
from minis.trainees import Flux, Lumina2, Wan
from minis.training import half_precision
from pytest_diffbench.pipelines import architectures
from pytest_diffbench.pipelines.mini import CHECKSUMS, build_mini
from pytest_diffbench.pipelines.registry import model_named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from minis import pictures

_PICTURES = 24_000
_SCENE_SEED = 21

_FILMS, _FILMS_AT_ONCE = 1_000, 10
_WAN_VAE_STEPS, _WAN_STEPS = 880, 1600
_WAN_VAE_MUON_LR = 1e-2
_WAN_LR_SCALE, _WAN_AVERAGE = 2.0, 0.99
"""For a training that is short."""

_FURTHER_STEPS, _FURTHER_VAE_STEPS = 400, 2000
"""Of a training that begins with the package's weights."""


def vae(options: argparse.Namespace) -> None:
    """Train the autoencoder, then scale its latents as the models' published settings say."""
    folder = options.folder / "vae"
    begin = _packaged("vae") if options.from_package else None
    steps = options.steps or (4200 if begin is None else _FURTHER_VAE_STEPS)
    train_vae.train(
        folder,
        _new_vae,
        train_vae.images(options.batch or 8, crop_share=0.7 if begin is None else 0.3),
        steps=steps,
        minutes=options.minutes,
        begin=begin,
    )
    trained = _new_vae()
    trained.load_state_dict(torch.load(folder / "state.pt", weights_only=True)["parts"][0])
    train_vae.rescale(trained)
    save_file(trained.state_dict(), options.folder / "vae.safetensors")


def decoder(options: argparse.Namespace) -> None:
    """Train the autoencoder's decoder further, on the latents that there are: denoisers needn't learn anew."""
    folder = options.folder / "decoder"
    train_vae.train(
        folder,
        _new_vae,
        train_vae.images(options.batch or 8, crop_share=0.0),
        steps=options.steps or _FURTHER_VAE_STEPS,
        minutes=options.minutes,
        begin=_weights(options, "vae"),
        decoder_alone=True,
    )
    weights = torch.load(folder / "state.pt", weights_only=True)["parts"][0]
    save_file(weights, options.folder / "vae.safetensors")


def wan_vae(options: argparse.Namespace) -> None:
    """Train the autoencoder of videos, then scale its latents as the published settings say."""
    folder = options.folder / "wan-vae"
    begin = _packaged("wan-vae") if options.from_package else None
    train_vae.train(
        folder,
        _new_wan_vae,
        train_vae.videos(options.batch or 4),
        steps=options.steps or _WAN_VAE_STEPS,
        minutes=options.minutes,
        begin=begin,
        muon_lr=_WAN_VAE_MUON_LR,
    )
    trained = _new_wan_vae()
    trained.load_state_dict(torch.load(folder / "state.pt", weights_only=True)["parts"][0])
    train_vae.rescale_video(trained)
    save_file(trained.state_dict(), options.folder / "wan-vae.safetensors")


def lumina2(options: argparse.Namespace) -> None:
    """Train Lumina's denoiser and text encoder; from the package, the denoiser alone: Neta reads the same encoder."""
    torch.manual_seed(0)
    trainee = Lumina2()
    further = _further(options, "lumina2", trainee, frozen=("text_encoder",))
    with _prepared(options, trainee, "flat", paler=True) as (autoencoder, drawn):
        loss_of = train_flow.flow_loss(trainee, drawn, options.batch or 64)
        _train(options, "lumina2", trainee, autoencoder, loss_of, **(further or {"steps": 8000}))


def neta_lumina(options: argparse.Namespace) -> None:
    """Fine-tune Lumina's denoiser to another style; the text encoder stays."""
    trainee = Lumina2()
    frozen = ("text_encoder",)
    settings = _further(options, "neta-lumina", trainee, frozen=frozen)
    if not settings:
        trainee.parts.load_state_dict(load_file(options.folder / "lumina2.safetensors"))
        settings = {"steps": 1200, "lr_scale": 0.5, "frozen": frozen}
    with _prepared(options, trainee, "outlined", paler=True) as (autoencoder, drawn):
        loss_of = train_flow.flow_loss(trainee, drawn, options.batch or 64)
        _train(options, "neta-lumina", trainee, autoencoder, loss_of, **settings)


def flux(options: argparse.Namespace) -> None:
    """Train FLUX's denoiser and text encoders, at a guidance scale of 1.

    The package's denoiser is the distilled one. Told a scale of 1 it is a beginning, but no teacher yet.
    """
    torch.manual_seed(0)
    trainee = Flux()
    further = _further(options, "flux", trainee, frozen=())
    with _prepared(options, trainee, "flat", paler=False) as (autoencoder, drawn):
        loss_of = train_flow.flow_loss(trainee, drawn, options.batch or 64)
        _train(options, "flux", trainee, autoencoder, loss_of, **(further or {"steps": 6000}))


def flux_distilled(options: argparse.Namespace) -> None:
    """Distil FLUX's guidance into one call; the text encoders stay.

    The package has no undistilled weights, so `flux` has to be trained first, be it from the package.
    """
    student, teacher = Flux(), Flux()
    for pipeline in (student, teacher):
        pipeline.parts.load_state_dict(load_file(options.folder / "flux.safetensors"))
    teacher.parts.requires_grad_(False)
    with _prepared(options, student, "flat", paler=False) as (autoencoder, drawn):
        loss_of = train_flow.distillation_loss(student, teacher, drawn, options.batch or 64)
        frozen = ("text_encoder", "text_encoder_2")
        _train(options, "flux-distilled", student, autoencoder, loss_of, steps=620, lr_scale=0.5, frozen=frozen)


def wan(options: argparse.Namespace) -> None:
    """Train Wan's denoiser and text encoder."""
    torch.manual_seed(0)
    trainee = Wan()
    further = _further(options, "wan", trainee, frozen=())
    autoencoder = _new_wan_vae()
    autoencoder.load_state_dict(_weights(options, "wan-vae"))
    autoencoder.eval().requires_grad_(False)
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (autoencoder.config.latents_mean, autoencoder.config.latents_std)
    )

    def encode(films: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = (autoencoder.encode(films).latent_dist.mean - mean) / deviation
        return scaled

    path = options.folder / "latents-films.safetensors"
    drawn = data.load_or_encode(
        path, encode, data.FILMS, count=_FILMS, seed=_SCENE_SEED, paler=True, batch=_FILMS_AT_ONCE
    )
    with _short_sequences(options, trainee):
        loss_of = train_flow.flow_loss(trainee, drawn, options.batch or 32)
        settings = further or {"steps": _WAN_STEPS, "lr_scale": _WAN_LR_SCALE}
        _train(options, "wan", trainee, autoencoder, loss_of, average=_WAN_AVERAGE, **settings)


def _further(options: argparse.Namespace, name: str, trainee: Any, *, frozen: Sequence[str]) -> dict[str, Any]:
    """Begin with the package's weights where that is asked for, and give the settings of such a training."""
    if not options.from_package:
        return {}
    trainee.parts.load_state_dict(_packaged(name))
    return {"steps": _FURTHER_STEPS, "lr_scale": 0.5, "frozen": frozen}


def _weights(options: argparse.Namespace, name: str) -> dict[str, torch.Tensor]:
    """Read what a stage has left in the folder; where it wasn't run, the package's weights, if that is asked for."""
    path = options.folder / f"{name}.safetensors"
    if path.exists() or not options.from_package:
        return load_file(path)
    return _packaged(name)


def _packaged(name: str) -> dict[str, torch.Tensor]:
    """Give the package's weights as a stage leaves them, in single precision."""
    model = {"vae": "lumina2", "wan-vae": "wan"}.get(name, name.removesuffix("-distilled"))
    pipeline: Any = build_mini(model_named(model))
    if name.endswith("vae"):
        parts = pipeline.vae
    else:
        names = ("text_encoder", "text_encoder_2") if name.startswith("flux") else ("text_encoder",)
        parts = torch.nn.ModuleDict({part: getattr(pipeline, part) for part in (*names, "transformer")})
    weights: dict[str, torch.Tensor] = parts.state_dict()
    return weights


@contextmanager
def _prepared(
    options: argparse.Namespace, trainee: Any, style: pictures.Style, *, paler: bool
) -> Iterator[tuple[Any, data.Data[pictures.Scene]]]:
    """The autoencoder and the pictures, and torch set for short sequences."""
    autoencoder = load_vae(options)
    path = options.folder / f"latents-{style}.safetensors"

    def encode(images: torch.Tensor) -> torch.Tensor:
        with half_precision():
            mean = autoencoder.encode(images).latent_dist.mean.float()
        scaled: torch.Tensor = (mean - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor
        return scaled

    world = data.pictures_of(style)
    drawn = data.load_or_encode(path, encode, world, count=_PICTURES, seed=_SCENE_SEED, paler=paler)
    with _short_sequences(options, trainee):
        yield autoencoder, drawn


@contextmanager
def _short_sequences(options: argparse.Namespace, trainee: Any) -> Iterator[None]:
    """Set torch so, and compile the denoiser's layers where that is asked for."""
    if options.compile:
        _compile_layers(trainee.parts["transformer"])
    # the fused kernel of processors is made for long sequences, and its backward pass is slow
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _train(options: argparse.Namespace, name: str, *about: Any, steps: int, **settings: Any) -> None:
    weights = train_flow.train(
        options.folder / name, *about, steps=options.steps or steps, minutes=options.minutes, **settings
    )
    save_file(weights, options.folder / f"{name}.safetensors")


def _compile_layers(transformer: Any) -> None:
    """Compile each layer by itself: the loops between them can't be."""
    for name in (
        "noise_refiner",
        "context_refiner",
        "layers",
        "transformer_blocks",
        "single_transformer_blocks",
        "blocks",
    ):
        for layer in getattr(transformer, name, ()):
            layer.compile(dynamic=True)


def load_vae(options: argparse.Namespace) -> Any:
    """Load the trained autoencoder."""
    trained = _new_vae()
    trained.load_state_dict(_weights(options, "vae"))
    return trained.eval().requires_grad_(False)


def _new_wan_vae() -> Any:
    """Build it so that it begins with single frames: none sees the others, and posteriors are narrow."""
    untrained = architectures.wan_vae(architectures.MINI)
    with torch.no_grad():
        for name, module in untrained.named_modules():
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size[0] > 1:
                assert module.bias is not None
                module.weight[:, :, :-1] = 0
                if name.endswith("time_conv"):
                    identity = torch.eye(module.in_channels).repeat(module.out_channels // module.in_channels, 1)
                    module.weight[:, :, -1, 0, 0] = identity
                    if module.bias is not None:
                        module.bias.zero_()
        untrained.quant_conv.bias[untrained.config.z_dim :] -= 5
    return untrained


def _new_vae() -> Any:
    return architectures.vae(architectures.MINI)


def export(options: argparse.Namespace) -> None:
    """Write the weights into the package, in half precision, with their checksums."""
    stages = ("vae", "lumina2", "neta-lumina", "flux-distilled", "wan-vae", "wan")
    trained = {name: _weights(options, name) for name in stages}
    files = {
        "vae": trained["vae"],
        "lumina2-text_encoder": _part(trained["lumina2"], "text_encoder"),
        "lumina2-transformer": _part(trained["lumina2"], "transformer"),
        "neta-lumina-transformer": _part(trained["neta-lumina"], "transformer"),
        "flux-text_encoder": _part(trained["flux-distilled"], "text_encoder"),
        "flux-text_encoder_2": _part(trained["flux-distilled"], "text_encoder_2"),
        "flux-transformer": _part(trained["flux-distilled"], "transformer"),
        "wan-vae": trained["wan-vae"],
        "wan-text_encoder": _part(trained["wan"], "text_encoder"),
        "wan-transformer": _part(trained["wan"], "transformer"),
    }
    options.package.mkdir(exist_ok=True)
    digests = {}
    for name, tensors in files.items():
        path = options.package / f"{name}.safetensors"
        path.write_bytes(save({key: _halved(name, key, value) for key, value in sorted(tensors.items())}))
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (options.package / CHECKSUMS).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def _part(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _halved(name: str, key: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.to(torch.float16)
    if not torch.isfinite(half).all():
        raise ValueError(f"{name}: {key} reaches {float(value.abs().max()):.3g}, beyond half precision")
    return half.contiguous()
