"""What is kept of an image where a whole one is too much: the image in small, and its middle as it is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MOST_PX = 128
"""Longest side of an excerpt. What minis paint is kept whole."""


def films_in(parts: Iterable[Mapping[str, NDArray[Any]]]) -> tuple[NDArray[np.uint8], ...]:
    """Frames of each video among what is kept of parts, uint8 of shape (frames, height, width, channels)."""
    return tuple(
        arrays["sketches"]
        for arrays in parts
        if "sketches" in arrays and arrays["sketches"].dtype == "uint8" and arrays["sketches"].ndim == 4
    )


def excerpts(images: Iterable[NDArray[np.uint8]]) -> tuple[bytes, ...]:
    """PNGs of at most `MOST_PX` a side, without loss: each image, and where it is larger, its means over squares and
    its middle, which shows whether details were computed or enlarged.

    Args:
        images: uint8 of shape (height, width) or (height, width, channels), with 1, 3 or 4 channels.
    """
    from PIL import Image

    kept = []
    for array in images:
        whole = Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
        factor = -(-max(whole.size) // MOST_PX)
        if factor == 1:
            kept.append(whole)
            continue
        left, top = ((side - min(side, MOST_PX)) // 2 for side in whole.size)
        middle = (left, top, left + min(whole.width, MOST_PX), top + min(whole.height, MOST_PX))
        kept += [whole.reduce(factor), whole.crop(middle)]
    return tuple(_png(picture) for picture in kept)


def decoded(pictures: Iterable[bytes]) -> tuple[NDArray[np.uint8], ...]:
    """The arrays of what `excerpts` gave."""
    import numpy as np
    from PIL import Image

    return tuple(np.array(Image.open(io.BytesIO(picture), formats=["PNG"])) for picture in pictures)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
