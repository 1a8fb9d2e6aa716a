"""LPIPS with AlexNet, from weights that lie on this machine; who has them binds what computes it."""

from __future__ import annotations

from pytest_diffbench.outputs.metrics.metric import ImageMetric, Package

METRIC = ImageMetric(
    name="lpips",
    label="LPIPS",
    # None was measured, for want of trained weights: a case that asks for LPIPS says itself what it allows.
    machine=0.0,
    drift=0.0,
    in_summary=True,
    package=Package("torchmetrics", "torchmetrics"),
)
