"""LPIPS with AlexNet, from weights that lie on this machine: nothing is downloaded, and no random number is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pytest_diffbench.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LEAST_PX = 64
"""AlexNet's last layers would have nothing to look at in smaller images."""

_LAYERS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Number of each convolution among torchvision's `features`: channels out, channels in, side."""

_GEOMETRY = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
"""Stride and padding."""

_POOLED_BEFORE = (3, 6)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of red, green and blue in [-1, 1], as LPIPS was trained with."""


class Lpips:
    """Distance of two images by what AlexNet sees: 0 for equal images, about 1 for unrelated ones.

    R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018, arXiv 1801.03924,
    equation 1, version .1 (with its linear layers). On the CPU in float32, whatever torch's defaults are.

    Args:
        backbone: a state dict of torchvision's `alexnet`, or of its `features` alone; `.safetensors`, or what
            `torch.save` wrote. No code in it is run.
        linear: the linear layers, as torchmetrics ships them in `alex.pth`.

    Raises:
        OptionError: a file that can't be read, or that holds something else.
    """

    def __init__(self, backbone: Path, linear: Path) -> None:
        weights = _read(backbone)
        prefix = "features." if any(name.startswith("features.") for name in weights) else ""
        shapes = {layer: (channels, before, side, side) for layer, (channels, before, side) in _LAYERS.items()}
        self._weights = {
            layer: _tensor(weights, f"{prefix}{layer}.weight", shape, backbone) for layer, shape in shapes.items()
        }
        self._biases = {
            layer: _tensor(weights, f"{prefix}{layer}.bias", shape[:1], backbone) for layer, shape in shapes.items()
        }
        heads = _read(linear)
        self._heads = [
            _tensor(heads, f"lin{number}.model.1.weight", (1, shape[0], 1, 1), linear)
            for number, shape in enumerate(shapes.values())
        ]

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
        """Compare two RGB images of one shape (height, width, 3), with sides of at least `LEAST_PX`.

        Raises:
            ValueError: an array isn't such an image.
        """
        for pixels in (reference, image):
            if (
                str(pixels.dtype) != "uint8"
                or pixels.ndim != 3
                or pixels.shape[2] != 3
                or min(pixels.shape[:2]) < LEAST_PX
            ):
                raise ValueError(
                    f"LPIPS takes uint8 RGB of at least {LEAST_PX} px, not {pixels.dtype} {pixels.shape}"
                )
        if reference.shape != image.shape:
            raise ValueError(f"images of shapes {reference.shape} and {image.shape} can't be compared")
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            total = torch.zeros((), dtype=torch.float64, device="cpu")
            for then, now, head in zip(self._features(reference), self._features(image), self._heads, strict=True):
                total += functional.conv2d((then - now).square(), head).mean(dtype=torch.float64)
            return float(total)

    def _features(self, image: NDArray[np.uint8]) -> list[Tensor]:
        """What each layer sees, with channels scaled to a length of 1 in each place."""
        pixels = torch.tensor(image, dtype=torch.float32, device="cpu").permute(2, 0, 1)[None] / 127.5 - 1
        shift, scale = (
            torch.tensor(values, dtype=torch.float32, device="cpu")[:, None, None] for values in (_SHIFT, _SCALE)
        )
        features = (pixels - shift) / scale
        normalised = []
        for layer, (stride, padding) in _GEOMETRY.items():
            if layer in _POOLED_BEFORE:
                features = functional.max_pool2d(features, 3, 2)
            features = functional.conv2d(features, self._weights[layer], self._biases[layer], stride, padding).relu()
            normalised.append(features / (features.square().sum(dim=1, keepdim=True) + 1e-8).sqrt())
        return normalised


def _read(path: Path) -> dict[str, Tensor]:
    remedy = "Give a state dict of torchvision's alexnet, saved by torch.save or as safetensors."
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path, device="cpu")
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what isn't meant for it makes torch's reader raise anything, KeyError among others
        why = next(iter(str(error).splitlines()), "")
        raise OptionError(f"{path}: no weights for LPIPS: {type(error).__name__}: {why}. {remedy}") from None
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise OptionError(
            f"{path}: no weights for LPIPS: expected a state dict, it holds {type(weights).__name__}. {remedy}"
        )
    return weights


def _tensor(weights: dict[str, Tensor], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    tensor = weights.get(name)
    if tensor is None or tuple(tensor.shape) != shape:
        what = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
        raise OptionError(
            f"{path}: no weights of AlexNet: {name} {what}, expected {shape}. "
            "Give a state dict of torchvision's alexnet."
        )
    if not tensor.isfinite().all():
        raise OptionError(f"{path}: {name} holds NaN or infinity, so LPIPS would, too. Give weights without them.")
    return tensor.to(torch.float32)
