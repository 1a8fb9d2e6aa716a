"""Makes the image metrics of other packages that a test asks for, or says before anything runs why it can't."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pytest_diffbench.errors import OptionError
from pytest_diffbench.settings.options import flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.measure.lpips import Lpips
    from pytest_diffbench.outputs.image_extras import Extra, ExtraMetric, ExtraName
    from pytest_diffbench.settings.options import Settings

_MODULES = {"flip": "flip_evaluator", "ssimulacra2": "ssimulacra2", "lpips": "torchmetrics"}
_PACKAGES = {"flip": "flip-evaluator", "ssimulacra2": "ssimulacra2", "lpips": "torchmetrics"}
_LINEAR_LAYERS = Path("functional", "image", "lpips_models", "alex.pth")


class Asked(NamedTuple):
    """How metrics are asked for, for messages.

    Attributes:
        where: by whom.
        metrics: the ways to name them.
        backbone: the ways to name LPIPS's weights.
    """

    where: str
    metrics: str
    backbone: str


def metrics_of(settings: Settings, where: str) -> tuple[ExtraMetric, ...]:
    """The metrics that a test's settings ask for.

    Args:
        settings: of the test.
        where: the test's id, for messages.

    Raises:
        OptionError: a package is missing, or LPIPS's weights are.
    """
    asked = Asked(
        where,
        f"{flag('metrics')}, diffbench_metrics and the marker's metrics",
        f"{flag('lpips_backbone')} FILE, or diffbench_lpips_backbone in the ini file",
    )
    backbone = Path(settings.lpips_backbone) if settings.lpips_backbone is not None else None
    return metrics_named(settings.metrics, backbone, asked)


def metrics_named(names: Sequence[str], lpips_backbone: Path | None, asked: Asked) -> tuple[ExtraMetric, ...]:
    """Metrics by their names.

    Args:
        names: keys of `KINDS`.
        lpips_backbone: file with the weights of torchvision's AlexNet.
        asked: for messages.

    Raises:
        OptionError: a package is missing, or LPIPS's weights are.
    """
    metrics = []
    for name in names:
        package_at = _package(name, asked)
        if name != "lpips":
            metrics.append(_of_pixels(name))
            continue
        if lpips_backbone is None:
            raise OptionError(
                f"{asked.where}: metric lpips needs the weights of AlexNet, which are never downloaded. "
                f"Give a state dict of torchvision's alexnet with {asked.backbone}."
            )
        metrics.append(_lpips(lpips_backbone, package_at / _LINEAR_LAYERS))
    return tuple(metrics)


def _package(name: str, asked: Asked) -> Path:
    """Where the metric's package lies; it isn't imported yet."""
    spec = importlib.util.find_spec(_MODULES[name])
    if spec is None or spec.origin is None:
        raise OptionError(
            f"{asked.where}: metric {name} needs the package {_PACKAGES[name]}, which isn't installed. "
            f"Run: pip install 'pytest-diffbench[{name}]', or leave {name} out of {asked.metrics}."
        )
    return Path(spec.origin).parent


def _of_pixels(name: str) -> ExtraMetric:
    from pytest_diffbench.outputs.image_extras import Flip, Ssimulacra2

    return Flip() if name == "flip" else Ssimulacra2()


@functools.lru_cache(maxsize=1)
def _lpips(backbone: Path, linear: Path) -> ExtraMetric:
    from pytest_diffbench.measure.lpips import Lpips

    return LpipsOfImages(Lpips(backbone, linear))


class LpipsOfImages:
    """LPIPS of images as they are stored; smaller ones than AlexNet can see are continued by their mirror image."""

    name: ClassVar[ExtraName] = "lpips"

    def __init__(self, lpips: Lpips) -> None:
        self._lpips = lpips

    def __call__(self, reference: NDArray[np.uint8], image: NDArray[np.uint8], tile_size_px: int) -> Extra:  # noqa: ARG002  # it is of the whole image
        """See `ExtraMetric`."""
        from pytest_diffbench.measure.lpips import LEAST_PX
        from pytest_diffbench.outputs.image_extras import KINDS, Extra, canvases, mirrored

        distances = [
            self._lpips(*(mirrored(canvas, LEAST_PX) for canvas in pair)) for pair in canvases(reference, image)
        ]
        return Extra(name="lpips", value=KINDS["lpips"].worst(distances))
