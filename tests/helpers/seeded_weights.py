"""Seeded weights for tiny pipelines: a function of seed and parameter name alone, scaled so that they behave.

Behaves means: activations keep their size from layer to layer, what a component is told shows in what it says, and a
small difference stays small over all steps of a sampler.
"""

from __future__ import annotations

import hashlib
import math
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_BIAS_STD = 0.02
_NORM_STD = 0.1
_ROUGHNESS = 0.3
"""Standard deviation of a convolution's random taps against that of its low-pass part."""


def fill(
    module: torch.nn.Module,
    seed: str,
    *,
    gains: Mapping[str, float] = MappingProxyType({}),
    zero_centred_norms: bool = False,
) -> None:
    """Fill all parameters in place.

    Each parameter has a generator of its own, seeded by `seed` and its name, so neither the order of parameters nor
    other draws matter. Draws are uniform: unlike normal ones their bits don't depend on a CPU's vector units.

    Matrices get a standard deviation of `1 / sqrt(fan_in)`, embeddings 1, biases a small one, and gains of norms lie
    around 1. Convolutions are mostly low-pass, since the eye reads patches of colour better than noise.

    Args:
        module: on the CPU.
        seed: any text.
        gains: factors for the weights whose name contains the key; biases and embeddings stay as they are.
        zero_centred_norms: the module's norms add 1 to their gain, as Gemma's do.
    """
    import torch

    generator = torch.Generator("cpu")
    embeddings = {id(child.weight) for child in module.modules() if isinstance(child, torch.nn.Embedding)}
    for name, parameter in module.named_parameters():
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator.manual_seed(int.from_bytes(digest[:8], "big"))
        # a uniform variable on [0, 1) has mean 1/2 and variance 1/12
        draw = (torch.rand(parameter.shape, generator=generator, dtype=torch.float32) - 0.5) * math.sqrt(12.0)
        gain = math.prod(factor for part, factor in gains.items() if part in name)
        if id(parameter) in embeddings:
            values = draw
        elif parameter.ndim == 4 and parameter.shape[-1] == 3:
            values = gain * _smooth(draw)
        elif parameter.ndim >= 2:
            values = gain * draw / math.sqrt(parameter[0].numel())
        elif name.endswith("weight"):
            values = gain * ((0.0 if zero_centred_norms else 1.0) + _NORM_STD * draw)
        else:
            values = _BIAS_STD * draw
        parameter.data.copy_(values)


def _smooth(draw: torch.Tensor) -> torch.Tensor:
    """Turn draws for 3x3 kernels into kernels that mostly blur and keep the size of a smooth signal."""
    import torch

    taps = torch.tensor([0.25, 0.5, 0.25])
    blur = torch.outer(taps, taps)
    mix = draw[..., 1:2, 1:2]
    fan_in = draw.shape[1]
    return (mix * blur + _ROUGHNESS * draw / 3.0) / math.sqrt(fan_in)


def oppose_input(output: torch.nn.Linear, embedder: torch.nn.Linear, *, sign: int, strength: float) -> None:
    """Let a denoiser's last layer undo part of its input, as trained ones do: noise fades, and with it rounding.

    Adds `sign * strength * pinv(E)` to the output's weight, with the embedder's matrix E of shape (width, patch). Its
    entries are independent of variance `1 / patch`, so `E^T E` is close to `width / patch` times the identity, and
    the pseudo-inverse close to `E^T * patch / width`.

    Args:
        output: from `width` to `patch` features.
        embedder: from `patch` to `width` features, in the same order.
        sign: 1 where the denoiser predicts noise minus image, -1 where it predicts the opposite.
        strength: share of the input per unit of time.
    """
    width, patch = embedder.weight.shape
    output.weight.data += sign * strength * embedder.weight.data.T * (patch / width)
