"""Real pipelines, really broken: a line of the pipeline's own source is changed and compiled in its place."""

from __future__ import annotations

import contextlib
import inspect
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONDITIONAL_CALL = """\
                noise_pred_cond = self.transformer(
                    hidden_states=latents,
                    timestep=current_timestep,
                    encoder_hidden_states=prompt_embeds,
                    encoder_attention_mask=prompt_attention_mask,
"""
_WRONG_BRANCH_CALL = """\
                noise_pred_cond = self.transformer(
                    hidden_states=latents,
                    timestep=current_timestep,
                    encoder_hidden_states=negative_prompt_embeds if do_classifier_free_truncation else prompt_embeds,
                    encoder_attention_mask=(
                        negative_prompt_attention_mask if do_classifier_free_truncation else prompt_attention_mask
                    ),
"""
_ENCODE = """\
        ) = self.encode_prompt(
            prompt,
"""
_ENCODE_OTHER = """\
        ) = self.encode_prompt(
            "a large yellow square on a green background",
"""
_DECODE = "            image = self.vae.decode(latents, return_dict=False)[0]\n"
_PREPARE = "        latents = self.prepare_latents(\n"

FAULTS: dict[str, tuple[str, str]] = {
    "ratio_ignored": ("(i + 1) / num_inference_steps > cfg_trunc_ratio", "False"),
    "renorm_dropped": ("if cfg_normalization:", "if False:"),
    "wrong_branch": (_CONDITIONAL_CALL, _WRONG_BRANCH_CALL),
    "extra_decode": (_DECODE, _DECODE * 2),
    "other_seed": (_PREPARE, "        generator = torch.Generator().manual_seed(4711)\n" + _PREPARE),
    "other_prompt": (_ENCODE, _ENCODE_OTHER),
    # the decoder's images lie between -1 and 1, so that a level of 255 is 2 / 255
    "noise": (
        _DECODE,
        _DECODE + "            image = torch.randn(image.shape, generator=torch.Generator().manual_seed(4711))\n",
    ),
    "twice_as_bright": (_DECODE, _DECODE + "            image = 2 * (image + 1) - 1\n"),
    "red_cast": (_DECODE, _DECODE + "            image[:, 0] += 8 * 2 / 255\n"),
    "black_patch": (_DECODE, _DECODE + "            image[..., 20:30, 20:30] = -1\n"),
    "black_image": (_DECODE, _DECODE + "            image = torch.full_like(image, -1)\n"),
    "nan_image": (_DECODE, _DECODE + "            image = torch.full_like(image, float('nan'))\n"),
    "nan_decoder": (_DECODE, "            latents = latents * float('nan')\n" + _DECODE),
    "raises": (_DECODE, "            raise ValueError('the decoder has had enough')\n"),
    "out_of_memory": (_DECODE, "            raise torch.OutOfMemoryError('tried to allocate 4.00 EiB')\n"),
    "interrupted": (_DECODE, "            raise KeyboardInterrupt\n"),
}
"""By name: a piece of `Lumina2Pipeline.__call__`'s source, and what it becomes."""


def broken_method(pipeline_class: type, method: str, *changes: tuple[str, str]) -> Any:
    """A method with pieces of its source replaced, each of which must stand in it exactly once."""
    function = inspect.unwrap(getattr(pipeline_class, method))
    source = inspect.getsource(function)
    for before, after in changes:
        assert source.count(before) == 1, f"{pipeline_class.__name__}.{method} has changed: {before!r}"
        source = source.replace(before, after)
    scope = dict(vars(sys.modules[pipeline_class.__module__]))
    exec(compile(textwrap.dedent(source), f"<broken {pipeline_class.__name__}>", "exec"), scope)
    return scope[method]


@contextlib.contextmanager
def planted(fault: str | None, pipeline: Any) -> Iterator[None]:
    """Change a `Lumina2Pipeline` for a while.

    Args:
        fault: a name from `FAULTS`; `slow_denoiser`, by which each denoiser call takes half as long again;
            `channels_last`, which is none: weights lie in another order in memory; or None.
        pipeline: what is changed.
    """
    if not fault:
        yield
    elif fault == "channels_last":
        with channels_last(pipeline.vae, pipeline.transformer):
            yield
    elif fault == "slow_denoiser":
        with slowed(pipeline.transformer, 0.5):
            yield
    else:
        sound = type(pipeline)
        call = broken_method(sound, "__call__", FAULTS[fault])
        pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})
        try:
            yield
        finally:
            pipeline.__class__ = sound


@contextlib.contextmanager
def channels_last(*modules: Any) -> Iterator[None]:
    """Lay out the weights of convolutions by pixels and channels. Another kernel then sums in another order."""
    for module in modules:
        module.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for module in modules:
            module.to(memory_format=torch.contiguous_format)


@contextlib.contextmanager
def slowed(module: Any, share: float) -> Iterator[None]:
    """Make each call of a module take longer by `share` of what it takes, without any further work in it."""
    forward = module.forward

    def slow(*args: Any, **kwargs: Any) -> Any:
        begin_s = time.perf_counter()
        output = forward(*args, **kwargs)
        end_s = time.perf_counter()
        while time.perf_counter() - end_s < share * (end_s - begin_s):
            pass
        return output

    module.forward = slow
    try:
        yield
    finally:
        del module.forward
