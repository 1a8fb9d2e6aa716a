"""What devices can do at most, as their makers publish it: for roofline times, which no run can beat."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_diffbench.errors import MeasureError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Peak:
    """Published peaks of a device.

    Attributes:
        name: of the device.
        flops_per_s_16: dense matrix products in bfloat16 or float16 with float32 sums, without sparsity.
        flops_per_s_32: float32 arithmetic, not TF32, which torch leaves off unless told otherwise.
        bytes_per_s: of its memory.
        memory_bytes: its size.
        source: where the figures stand.
        reported: what the driver calls it, where that differs from `name`.
    """

    name: str
    flops_per_s_16: float
    flops_per_s_32: float
    bytes_per_s: float
    memory_bytes: int
    source: str
    reported: tuple[str, ...] = ()

    def flops_per_s(self, dtype: str) -> float:
        """Peak of a dtype's arithmetic."""
        return self.flops_per_s_16 if dtype in ("bfloat16", "float16") else self.flops_per_s_32


_GB = 10**9


def _peak(
    name: str, tera_16: float, tera_32: float, tera_bytes: float, memory_gb: int, source: str, *reported: str
) -> Peak:
    return Peak(name, tera_16 * 1e12, tera_32 * 1e12, tera_bytes * 1e12, memory_gb * _GB, source, reported)


PEAKS: Mapping[str, Peak] = MappingProxyType(
    {
        peak.name: peak
        for peak in (
            _peak(
                "NVIDIA H100 SXM",
                989.4,
                66.9,
                3.35,
                80,
                "NVIDIA H100 Tensor Core GPU datasheet and whitepaper",
                "NVIDIA H100 80GB HBM3",
            ),
            _peak("NVIDIA H100 PCIe", 756.0, 51.2, 2.0, 80, "NVIDIA H100 Tensor Core GPU whitepaper"),
            _peak("NVIDIA H200 SXM", 989.4, 66.9, 4.8, 141, "NVIDIA H200 Tensor Core GPU datasheet", "NVIDIA H200"),
            _peak(
                "NVIDIA A100 SXM 80GB",
                312.0,
                19.5,
                2.039,
                80,
                "NVIDIA A100 Tensor Core GPU datasheet",
                "NVIDIA A100-SXM4-80GB",
            ),
            _peak(
                "NVIDIA A100 PCIe 80GB",
                312.0,
                19.5,
                1.935,
                80,
                "NVIDIA A100 Tensor Core GPU datasheet",
                "NVIDIA A100 80GB PCIe",
            ),
            _peak("NVIDIA L40S", 362.05, 91.6, 0.864, 48, "NVIDIA L40S datasheet"),
            _peak("NVIDIA L4", 121.0, 30.3, 0.3, 24, "NVIDIA L4 datasheet; half of the figures with sparsity"),
            _peak("NVIDIA GeForce RTX 4090", 165.2, 82.6, 1.008, 24, "NVIDIA Ada GPU Architecture whitepaper"),
            _peak(
                "NVIDIA GeForce RTX 3090", 71.0, 35.6, 0.936, 24, "NVIDIA Ampere GA102 GPU Architecture whitepaper"
            ),
        )
    }
)
"""By name."""


def peak_named(name: str) -> Peak:
    """Look a device up: case doesn't matter, nor does what others don't share ("h100" is the SXM one).

    Raises:
        MeasureError: no such device; the message names those there are, and the nearest.
    """
    words = name.lower().replace("-", " ").split()
    matches = [peak for peak in PEAKS.values() if words and all(word in peak.name.lower().split() for word in words)]
    if not matches:
        close = "".join(words)
        matches = [peak for peak in PEAKS.values() if close and close in peak.name.lower().replace(" ", "")]
    if matches:
        return matches[0]
    hint = did_you_mean(name, PEAKS, cutoff=0.4)
    raise MeasureError(f"device={name!r} isn't in the table of peaks{hint}. It has: {', '.join(PEAKS)}.")


def peak_reported(device: str) -> Peak | None:
    """The peaks of a device by the driver's name for it, exactly; None where the table hasn't got it."""
    return next((peak for peak in PEAKS.values() if device in (peak.name, *peak.reported)), None)


def matmul_fact(dtype: str) -> str:
    """Name of the environment's fact that holds a measured peak, in FLOP/s: that of one large matrix product."""
    return f"matmul_{dtype}_flops_per_s"
