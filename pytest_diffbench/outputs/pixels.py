"""What a pipeline calls its images, as plain uint8 arrays, and their digest."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

_LEAST, _MOST = -0.5, 1.5
"""Overshoot beyond [0, 1] that is clipped. Latents and images in [-1, 1] go further, and are no images here."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pixels:
    """Images as they are stored and compared.

    Attributes:
        arrays: uint8 arrays of shape (height, width) for mode `L`, else (height, width, channels); values 0 to 255.
            They are copies: C-contiguous, and sharing no memory with what they were made from.
        finite: False where a value was NaN or infinite; it became 0.
        modes: `L`, `RGB` or `RGBA`, one an array.
    """

    arrays: tuple[NDArray[np.uint8], ...]
    finite: bool
    modes: tuple[str, ...]


def to_uint8_arrays(images: Any) -> Pixels:
    """Turn what a pipeline returned into uint8 arrays, rounding as diffusers' image processor does.

    Taken are:

    - a PIL image; palette, one-bit and other 8-bit modes are converted to `L`, `RGB` or `RGBA`;
    - a numpy array of shape HW, HWC or NHWC, floating point in [0, 1] or uint8;
    - a torch tensor of shape HW, CHW or NCHW, floating point in [0, 1] or uint8, on any device (synchronises);
    - lists and tuples of these, nested at will, and an object that holds any of them in `.images`.

    C is 1, 3 or 4. Floating-point values become `round(255 x)`, halves to even, after a small overshoot of [0, 1] is
    clipped.

    Args:
        images: see above.

    Returns:
        The images in their order. An empty list gives no images.

    Raises:
        TypeError: something that is no image, such as a text or None.
        ValueError: an array whose shape, dtype or range is no image's, such as latents.
    """
    converted = [_converted(image) for image in _flat(images)]
    return Pixels(
        arrays=tuple(array for array, _ in converted),
        finite=all(finite for _, finite in converted),
        modes=tuple(_MODES[1 if array.ndim == 2 else array.shape[2]] for array, _ in converted),
    )


def image_digest(array: NDArray[Any]) -> str:
    """Digest of an array: equal digests, equal shape, dtype and bits.

    Returns:
        BLAKE2b over shape, dtype (with byte order) and the bytes in C order, as 16 hexadecimal digits.
    """
    import numpy as np

    digest = hashlib.blake2b(f"{array.shape} {array.dtype.str} ".encode(), digest_size=8)
    # As bytes, since buffers of several dimensions and of size 0 aren't hashed.
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _flat(images: Any) -> Iterator[Any]:
    """Single images and batches, lists undone."""
    if isinstance(images, (list, tuple)):
        for image in images:
            yield from _flat(image)
    elif _is_pil(images):
        yield images
    elif hasattr(images, "detach"):  # torch.Tensor, without importing torch
        yield from _split(_channels_last(_host_array(images)))
    elif _is_numpy(images):
        yield from _split(images)
    elif hasattr(images, "images"):
        yield from _flat(images.images)
    else:
        raise TypeError(f"{type(images).__name__} isn't an image; expected PIL images, numpy arrays or torch tensors")


def _is_pil(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, Image.Image)


def _is_numpy(value: Any) -> bool:
    import numpy as np

    return isinstance(value, np.ndarray)


def _host_array(tensor: Any) -> NDArray[Any]:
    host = tensor.detach().cpu()
    if "complex" in str(host.dtype):
        raise ValueError(f"dtype {host.dtype} isn't one of an image; expected floating point in [0, 1] or uint8")
    # bfloat16 has no counterpart in numpy; integers are told apart before they could pass for floats.
    array: NDArray[Any] = (host.float() if host.is_floating_point() else host).numpy()
    return array


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if array.ndim in (3, 4):
        if array.shape[-3] not in _MODES:
            raise ValueError(
                f"tensor of shape {array.shape} isn't an image; expected CHW or NCHW with C of 1, 3 or 4"
            )
        return np.moveaxis(array, -3, -1)
    return array


def _split(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The images of a batch."""
    if array.ndim not in (2, 3, 4) or (array.ndim > 2 and array.shape[-1] not in _MODES) or not array.size:
        raise ValueError(f"array of shape {array.shape} isn't an image; expected HW, HWC or NHWC with C of 1, 3 or 4")
    yield from array if array.ndim == 4 else (array,)


def _converted(image: Any) -> tuple[NDArray[np.uint8], bool]:
    """An image as its own uint8 array, and whether it was finite."""
    if _is_numpy(image):
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        return _quantised(image)
    return _from_pil(image), True


def _from_pil(image: Any) -> NDArray[np.uint8]:
    import numpy as np

    if image.mode in _DEEP_MODES:
        raise ValueError(f"PIL image of mode {image.mode} has more than 8 bits per channel; expected L, RGB or RGBA")
    if 0 in image.size:
        raise ValueError(f"PIL image of size {image.size} has no pixels")
    if image.mode not in _MODES.values():
        if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
        else:
            image = image.convert("L" if image.mode == "1" else "RGB")
    return np.array(image, dtype=np.uint8, order="C")


def _quantised(array: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
    import numpy as np

    if array.dtype == np.uint8:
        return np.array(array, order="C"), True
    if array.dtype.kind != "f":
        raise ValueError(f"array of dtype {array.dtype} isn't an image; expected floating point in [0, 1] or uint8")
    # float16 has too few digits for 255 x; float64 is kept, since diffusers keeps it.
    values = np.array(array, dtype=np.promote_types(array.dtype, np.float32), order="C")
    bad = ~np.isfinite(values)
    finite = not bad.any()
    if not finite:
        values[bad] = 0
    low, high = float(values.min()), float(values.max())
    if low < _LEAST or high > _MOST:
        raise ValueError(f"values from {low:.4g} to {high:.4g} aren't those of an image; expected 0 to 1")
    return (values.clip(0, 1) * 255).round().astype(np.uint8), finite


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, `10 log10(255² / mean squared difference)`, in dB; infinite for equal images.

    Args:
        a: an image of any shape.
        b: one of the same shape.

    Raises:
        ValueError: shapes differ, or an array isn't uint8.
    """
    import numpy as np

    if a.shape != b.shape or {a.dtype, b.dtype} != {np.dtype(np.uint8)}:
        raise ValueError(f"not two uint8 images of one shape: {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    # uint8 wraps around where it is subtracted
    difference = np.subtract(a, b, dtype=np.int16)
    squares = int(np.square(difference, dtype=np.int32).sum(dtype=np.int64))
    return math.inf if squares == 0 else 10 * math.log10(255**2 * difference.size / squares)
