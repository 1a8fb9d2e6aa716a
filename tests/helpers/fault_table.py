"""Faults of real pipelines, one a line: how it is planted, the gate that must see it, and the place it must name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import plants as plant
import plants_in_pieces as pieces
import torch
from image_damages import blurred, halved, seam_lines

if TYPE_CHECKING:
    from fault_subjects import Plant

    from pytest_diffbench.records import Gate

_CONDITIONAL = """\
                noise_pred_cond = self.transformer(
                    hidden_states=latents,
                    timestep=current_timestep,
                    encoder_hidden_states=prompt_embeds,
                    encoder_attention_mask=prompt_attention_mask,
"""
_WRONG_BRANCH = """\
                noise_pred_cond = self.transformer(
                    hidden_states=latents,
                    timestep=current_timestep,
                    encoder_hidden_states=negative_prompt_embeds if do_classifier_free_truncation else prompt_embeds,
                    encoder_attention_mask=(
                        negative_prompt_attention_mask if do_classifier_free_truncation else prompt_attention_mask
                    ),
"""
_TRUNCATED = "(i + 1) / num_inference_steps > cfg_trunc_ratio"
_MIX = "noise_pred_uncond + guidance_scale * (noise_pred_cond - noise_pred_uncond)"
_COND_NORM = "torch.norm(noise_pred_cond, dim=-1, keepdim=True)"
_NOISE_NORM = "torch.norm(noise_pred, dim=-1, keepdim=True)"
_RENORM = "noise_pred * (cond_norm / noise_norm)"
_GUIDED = "if self.do_classifier_free_guidance and not do_classifier_free_truncation:"
_GATED = "if self.do_classifier_free_guidance:"
_TRUE_CFG = "neg_noise_pred + true_cfg_scale * (noise_pred - neg_noise_pred)"
_JOINT_MIX = "noise_pred_uncond + self.guidance_scale * (noise_pred_text - noise_pred_uncond)"
_RESCALE = "rescale_noise_cfg(noise_pred, noise_pred_text, guidance_rescale=self.guidance_rescale)"
_HALVES = "noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)"
_DECODE = "image = self.vae.decode(latents, return_dict=False)[0]"
_SCALING = "(latents / self.vae.config.scaling_factor) + self.vae.config.shift_factor"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault, and what must be said of it.

    Attributes:
        name: what is wrong.
        subject: key of `SUBJECTS`.
        plant: breaks the pipeline.
        gate: the one that must call it worse.
        reasons: its reason codes, of which one must be given.
        place: of the trace, where the output gate must say that it parts; `BEHIND` it all; None for other gates, and
            where no trace is looked at.
        words: what the gate's message or changes must hold.
        green: gates that must not call it worse.
    """

    name: str
    subject: str
    plant: Plant
    gate: Gate
    reasons: tuple[str, ...]
    place: str | None = None
    words: str = ""
    green: tuple[Gate, ...] = ()


BEHIND = "after the decoder"

DOUBTED = ("work.operators", "work.python_calls")
"""Reasons that are `unsure`: what was planted may be meant."""


def guidance(name: str, subject: str, planted: Plant, reason: str, words: str) -> Fault:
    """A fault that the guidance gate must see."""
    return Fault(name, subject, planted, "guidance", (f"guidance.{reason}",), words=words)


def work(name: str, subject: str, planted: Plant, reason: str, words: str) -> Fault:
    """A fault that the work gate must see."""
    return Fault(name, subject, planted, "work", (f"work.{reason}",), words=words)


def output(
    name: str, subject: str, planted: Plant, place: str | None, reason: str = "differs", words: str = ""
) -> Fault:
    """A fault that the output gate must see, while the call does what its arguments say, with no more work.

    `slight`: of which the picture may show less than its limits; the trace must tell all the same.
    """
    reasons = ("output.trace", "output.differs") if reason == "slight" else (f"output.{reason}",)
    return Fault(name, subject, planted, "output", reasons, place, words, ("guidance", "work"))


def _repeat_a_step(scheduler: object) -> None:
    for name in ("timesteps", "sigmas"):
        values = getattr(scheduler, name)
        setattr(scheduler, name, torch.cat([values[:4], values[3:]]))


def _sigmas_shifted_by_index(scheduler: Any) -> None:
    sigmas = scheduler.sigmas
    scheduler.sigmas = torch.cat([sigmas[1:], sigmas[-1:]])


def _single_nan(tensor: torch.Tensor) -> torch.Tensor:
    broken = tensor.clone()
    broken.view(-1)[7] = float("nan")
    return broken


def _patch(image: plant.Pixels) -> plant.Pixels:
    broken = image.copy()
    broken[80:96, 72:88] = 0
    return broken


def _shift(image: plant.Pixels) -> plant.Pixels:
    return np.concatenate([image[:1], image[:-1]])


FAULTS: tuple[Fault, ...] = (
    # what the arguments ask for
    guidance("truncation ratio ignored", "lumina2", plant.line((_TRUNCATED, "False")), "extra_steps", "steps 3-5"),
    guidance(
        "truncation one step late",
        "lumina2",
        plant.line((_TRUNCATED, _TRUNCATED.replace("i + 1", "i"))),
        "extra_steps",
        "step 3",
    ),
    guidance(
        "truncation one step early",
        "lumina2",
        plant.line((_TRUNCATED, _TRUNCATED.replace("i + 1", "i + 2"))),
        "missing_steps",
        "step 2",
    ),
    guidance(
        "wrong branch in truncated steps",
        "lumina2",
        plant.line((_CONDITIONAL, _WRONG_BRANCH)),
        "wrong_branch",
        "steps 3-5",
    ),
    guidance(
        "branches in each other's place",
        "lumina2",
        plant.line((_MIX, "noise_pred_cond + guidance_scale * (noise_pred_uncond - noise_pred_cond)")),
        "wrong_branch",
        "steps 0-2",
    ),
    guidance(
        "negation lost",
        "lumina2",
        plant.line(("noise_pred = -noise_pred", "noise_pred = noise_pred.clone()")),
        "sign",
        "steps 0-5",
    ),
    guidance(
        "unconditional branch called in vain",
        "lumina2",
        plant.line(
            (_GUIDED, _GATED),
            (f"noise_pred = {_MIX}", f"noise_pred = noise_pred_cond if do_classifier_free_truncation else {_MIX}"),
        ),
        "wasted_call",
        "steps 3-5",
    ),
    guidance(
        "scale 2 % too high",
        "lumina2",
        plant.line((_MIX, _MIX.replace("guidance_scale", "1.02 * guidance_scale"))),
        "scale",
        "scale 4.08 (expected 4 ",
    ),
    guidance(
        "renorm dropped", "lumina2", plant.line(("if cfg_normalization:", "if False:")), "renorm_missing", "steps 0-2"
    ),
    guidance(
        "renorm over channels",
        "lumina2",
        plant.line((_COND_NORM, _COND_NORM.replace("-1", "1")), (_NOISE_NORM, _NOISE_NORM.replace("-1", "1"))),
        "renorm_wrong",
        "steps 0-2",
    ),
    guidance(
        "renorm of the whole tensor",
        "lumina2",
        plant.line((_COND_NORM, "torch.norm(noise_pred_cond)"), (_NOISE_NORM, "torch.norm(noise_pred)")),
        "renorm_wrong",
        "steps 0-2",
    ),
    guidance(
        "renorm upside down",
        "lumina2",
        plant.line((_RENORM, "noise_pred * (noise_norm / cond_norm)")),
        "renorm_wrong",
        "steps 0-2",
    ),
    guidance(
        "renorm though it is off",
        "lumina2, renorm off",
        plant.line(("if cfg_normalization:", "if True:")),
        "renorm_unasked",
        "steps 0-2",
    ),
    guidance(
        "gain of .9 on guided steps",
        "lumina2, renorm off",
        plant.line((_MIX, f"0.9 * ({_MIX})")),
        "gain",
        "steps 0-2",
    ),
    guidance(
        "true CFG 2 % too high",
        "flux, true CFG",
        plant.line((_TRUE_CFG, _TRUE_CFG.replace("true_", "1.02 * true_"))),
        "scale",
        "scale 3.06 (expected 3 ",
    ),
    guidance(
        "halves swapped",
        "sdxl",
        plant.line((_HALVES, "noise_pred_text, noise_pred_uncond = noise_pred.chunk(2)")),
        "wrong_branch",
        "steps 0-3",
    ),
    guidance("rescaling dropped", "sdxl", plant.line((_RESCALE, "noise_pred")), "renorm_missing", "not renormalised"),
    guidance("guidance dropped", "sd3", plant.line((_JOINT_MIX, "noise_pred_text")), "missing_steps", "steps 0-3"),
    guidance("a step repeated", "lumina2", plant.schedule(_repeat_a_step), "steps", "7 steps ran (6 requested)"),
    # the work
    work("truncation ratio ignored", "lumina2", plant.line((_TRUNCATED, "False")), "denoiser_calls", "steps 3-5"),
    work(
        "decoded twice",
        "lumina2",
        plant.line((_DECODE, f"image = self.vae.decode(latents, return_dict=False)[0]; {_DECODE}")),
        "component_calls",
        "vae.decode",
    ),
    # the same calls, shapes and FLOPs, in other pieces
    work(
        "masks of ones in attention",
        "flux",
        pieces.masks_all_true,
        "attention_mask",
        "transformer attention calls with a mask: 0 -> 36 of 36",
    ),
    work("results cast to double precision and back", "lumina2", pieces.cast_twice, "operators", "_to_copy"),
    work("all modules walked before each call", "lumina2", pieces.modules_walked, "python_calls", "transformer"),
    # the text
    output(
        "another prompt", "lumina2", plant.prompt(lambda text: text.replace("red", "blue")), "text/text_encoder/0"
    ),
    output("prompt truncated", "lumina2", plant.prompt(lambda text: text[: len(text) // 2]), "text/text_encoder/0"),
    output(
        "negative prompt lost",
        "lumina2",
        plant.argument("encode_prompt", lambda given: given | {"negative_prompt": None}),
        "text/text_encoder/1",
    ),
    output(
        "text encoder in bfloat16",
        "lumina2",
        plant.rounded("text_encoder", torch.bfloat16),
        "text/text_encoder/0",
        "slight",
    ),
    output(
        "T5 in bfloat16",
        "flux",
        plant.rounded("text_encoder_2", torch.bfloat16),
        "text/text_encoder_2/0",
        "slight",
        "output of text_encoder equal",
    ),
    output(
        "a head of the text encoder zeroed",
        "lumina2",
        plant.head_zeroed("text_encoder.layers.0.self_attn.o_proj.weight", 4),
        "text/text_encoder/0",
        "weights",
        "Weights differ from the baseline's: text_encoder",
    ),
    output(
        "wrong layer of the text encoder",
        "lumina2",
        plant.line(("hidden_states[-2]", "last_hidden_state"), method="_get_gemma_prompt_embeds"),
        "text/0",
    ),
    output(
        "pooled embedding lost", "flux", plant.embedding(1, torch.zeros_like), "text/1", words="all zeros in this run"
    ),
    # the denoiser
    output(
        "an attention head zeroed",
        "lumina2",
        plant.head_zeroed("transformer.layers.2.attn.to_out.0.weight", 5),
        "prediction/0/cond",
        "weights",
        "Weights differ from the baseline's: transformer",
    ),
    output(
        "an attention head zeroed",
        "flux",
        plant.head_zeroed("transformer.transformer_blocks.0.attn.to_out.0.weight", 4),
        "prediction/0/cond",
        "weights",
        "Weights differ from the baseline's: transformer",
    ),
    output("a layer skipped", "lumina2", plant.skipped("transformer.layers.3"), "prediction/0/cond"),
    output(
        "denoiser in bfloat16", "lumina2", plant.rounded("transformer", torch.bfloat16), "prediction/0/cond", "slight"
    ),
    output(
        "NaN in the unconditional prediction of step 2",
        "lumina2",
        plant.after("transformer.forward", _single_nan, call=5),
        "prediction/2/uncond",
        "not_finite",
        "unconditional prediction, step 2",
    ),
    output(
        "guidance embedding lost",
        "flux",
        plant.argument("transformer.forward", lambda given: given | {"guidance": 0 * given["guidance"]}),
        "prediction/0/cond",
    ),
    # the scheduler and the noise
    work("scheduler's shift 6 -> 3", "lumina2", plant.scheduler(shift=3.0), "schedule", "timesteps at steps"),
    work(
        "resolution's shift lost",
        "flux",
        plant.scheduler(use_dynamic_shifting=False, shift=1.0),
        "schedule",
        "sigmas at steps",
    ),
    work("sigmas off by one", "lumina2", plant.schedule(_sigmas_shifted_by_index), "schedule", "sigmas at steps"),
    output(
        "latents scaled by 1.02 in step 3",
        "lumina2",
        plant.after("scheduler.step", lambda latents: 1.02 * latents, call=3),
        "latents/3",
        "slight",
        "scaled by 1.02",
    ),
    output(
        "another seed",
        "lumina2",
        plant.argument_of_noise(lambda: torch.Generator().manual_seed(4711)),
        "prediction/0/cond",
    ),
    output(
        "noise scaled by 1.1",
        "lumina2",
        plant.after("prepare_latents", lambda latents: 1.1 * latents),
        "prediction/0/cond",
    ),
    output("unseeded noise", "lumina2", plant.sloppy_generator(), "prediction/0/cond", "nondeterministic"),
    # the decoder
    output(
        "scaling factor of the latents dropped",
        "lumina2",
        plant.line((_SCALING, "latents + self.vae.config.shift_factor")),
        "decoder_input",
    ),
    output(
        "shift of the latents dropped",
        "lumina2",
        plant.line((_SCALING, "latents / self.vae.config.scaling_factor")),
        "decoder_input",
        words="shifted by -0.116",
    ),
    output("tiles without overlap", "lumina2", plant.tiled(64), "decoded"),
    output(
        "NaN in the decoder",
        "lumina2",
        plant.after("vae.decode", _single_nan),
        "decoded",
        "not_finite",
        "decoder output",
    ),
    output(
        "contrast of the decoder's output",
        "lumina2",
        plant.after("vae.decode", lambda image: 0.95 * image),
        "decoded",
        words="scaled by 0.95",
    ),
    # the picture
    output("red for blue", "flux", plant.image(lambda image: np.ascontiguousarray(image[:, :, ::-1])), BEHIND),
    output(
        "gamma 1.1", "flux", plant.image(lambda image: plant.levels(image, lambda x: 255 * (x / 255) ** 1.1)), BEHIND
    ),
    output(
        "red +8", "flux", plant.image(lambda image: plant.levels(image, lambda x: x + np.array([8, 0, 0]))), BEHIND
    ),
    output("gain .92", "flux", plant.image(lambda image: plant.levels(image, lambda x: 0.92 * x)), BEHIND),
    output("black patch of 16 px in 128", "flux", plant.image(_patch), BEHIND, words="64 x 64 px at (64, 64)"),
    output("moved by one row", "flux", plant.image(_shift), BEHIND),
    output("JPEG, quality 75", "flux", plant.image(lambda image: plant.jpeg(image, 75)), BEHIND),
    output("seams of 6 levels", "flux", plant.image(seam_lines), BEHIND, words="repeated every 32 px"),
    output("half the size, enlarged", "flux", plant.image(halved), BEHIND),
    output("blur of 1 px", "flux", plant.image(blurred), BEHIND),
    output(
        "half the size",
        "flux",
        plant.image(lambda image: image[::2, ::2].copy()),
        None,
        "size",
        "Image 0 is 64 x 64 px; the baseline's is 128 x 128 px",
    ),
    output(
        "grey", "flux", plant.image(lambda image: image[:, :, 0].copy()), None, "mode", "mode L; the baseline has RGB"
    ),
    output("black", "flux", plant.image(np.zeros_like), None, "constant", "image 0 are equal"),
    output(
        "noise",
        "flux",
        plant.image(lambda image: np.random.default_rng(1).integers(0, 256, image.shape, np.uint8)),
        BEHIND,
    ),
)
