"""Images as packages of metrics take them: RGB, on a ground where they are transparent, and large enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.outputs.metrics.metric import ImagePair


def canvases(pair: ImagePair) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Reference and image as RGB, since the packages know no other: grey three times over, transparency on black and
    on white.

    A package that drops alpha takes two images for equal that are not. One canvas isn't enough: on a black one, black
    is as good as transparent.
    """
    import numpy as np

    images = [image.reshape(*image.shape[:2], -1) for image in (pair.reference, pair.image)]
    if images[0].shape[2] == 4:
        grounds = [[_on(image, ground) for image in images] for ground in (0, 255)]
    else:
        grounds = [[np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))) for image in images]]
    return [(reference, image) for reference, image in grounds]


def _on(image: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    import numpy as np

    alpha = image[..., 3:].astype(np.float64) / 255
    return np.rint(alpha * image[..., :3] + (1 - alpha) * ground).astype(np.uint8)


def mirrored(image: NDArray[Any], least_px: int) -> NDArray[Any]:
    """The image, continued by its mirror image to the right and to the bottom where a side is shorter."""
    import numpy as np

    missing = [(0, max(least_px - side_px, 0)) for side_px in image.shape[:2]]
    return np.pad(image, [*missing, (0, 0)], mode="symmetric") if any(after for _, after in missing) else image
