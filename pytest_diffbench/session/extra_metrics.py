"""Finds the image metrics of other packages that a test asks for, or says before anything runs why it can't."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_diffbench.errors import OptionError
from pytest_diffbench.settings.options import flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.measure.lpips import Lpips
    from pytest_diffbench.outputs.metrics import ImageMetric, ImagePair
    from pytest_diffbench.settings.options import Settings

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


def metrics_of(settings: Settings, where: str) -> tuple[ImageMetric, ...]:
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


def metrics_named(names: Sequence[str], lpips_backbone: Path | None, asked: Asked) -> tuple[ImageMetric, ...]:
    """Metrics by their names.

    Args:
        names: of `outputs.metrics.OPTIONAL`.
        lpips_backbone: file with the weights of torchvision's AlexNet.
        asked: for messages.

    Raises:
        OptionError: a package is missing, or LPIPS's weights are.
    """
    from pytest_diffbench.outputs.metrics import METRICS

    metrics = []
    for name in names:
        metric = METRICS[name]
        package_at = _package(metric, asked)
        if metric.measure is not None:
            metrics.append(metric)
            continue
        if lpips_backbone is None:
            raise OptionError(
                f"{asked.where}: metric {name} needs the weights of AlexNet, which are never downloaded. "
                f"Give a state dict of torchvision's alexnet with {asked.backbone}."
            )
        metrics.append(_lpips(lpips_backbone, package_at / _LINEAR_LAYERS))
    return tuple(metrics)


def _package(metric: ImageMetric, asked: Asked) -> Path:
    """Where the metric's package lies; it isn't imported yet."""
    assert metric.package is not None  # only such metrics can be asked for
    name = metric.name
    spec = importlib.util.find_spec(metric.package.module)
    if spec is None or spec.origin is None:
        raise OptionError(
            f"{asked.where}: metric {name} needs the package {metric.package.distribution}, which isn't installed. "
            f"Run: pip install 'pytest-diffbench[{name}]', or leave {name} out of {asked.metrics}."
        )
    return Path(spec.origin).parent


@functools.lru_cache(maxsize=1)
def _lpips(backbone: Path, linear: Path) -> ImageMetric:
    from pytest_diffbench.measure.lpips import Lpips

    return lpips_of_images(Lpips(backbone, linear))


def lpips_of_images(network: Lpips) -> ImageMetric:
    """LPIPS of images as they are stored; smaller ones than AlexNet can see are continued by their mirror image."""
    from pytest_diffbench.measure.lpips import LEAST_PX
    from pytest_diffbench.outputs.metrics import METRICS, Measurement
    from pytest_diffbench.outputs.metrics.canvases import canvases, mirrored

    metric = METRICS["lpips"]

    def measure(pair: ImagePair) -> Measurement:
        values = [network(*(mirrored(pixels, LEAST_PX) for pixels in canvas)) for canvas in canvases(pair)]
        return Measurement(value=metric.worst(values))

    return metric.measured_by(measure)
