"""Films, recordings, maps and tensors to be judged, and damages of them; made with numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_diffbench.measure.returned import ReadPart, facts_of
from pytest_diffbench.outputs.kinds import KINDS, Rates, Value, parts_of
from pytest_diffbench.records import Output, RerunNoise
from pytest_diffbench.records.artifacts import Artifacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = 12
AUDIO_HZ = 16000
VIDEO_HZ = 8.0


def film(frames: int = FRAMES, height_px: int = 48, width_px: int = 64) -> NDArray[np.float64]:
    """Waves that travel, floats from 0 to 1 of shape (frames, height, width, 3)."""
    y, x = np.mgrid[0:height_px, 0:width_px] / 16
    planes = [
        np.stack(
            [
                0.5 + 0.4 * np.sin(3 * x + 0.5 * number) * np.cos(2 * y),
                0.5 + 0.3 * np.cos(3 * y + 0.4 * number),
                0.5 + 0.4 * np.sin(x + y - 0.3 * number),
            ],
            axis=-1,
        )
        for number in range(frames)
    ]
    return np.stack(planes)


def recording(duration_s: float = 3.0) -> NDArray[np.float32]:
    """A rising tone on the left and one that fades on the right, with a little noise; shape (2, samples)."""
    noise = np.random.default_rng(0).normal(0, 0.05, (2, round(AUDIO_HZ * duration_s)))
    time_s = np.arange(noise.shape[1]) / AUDIO_HZ
    left = 0.5 * np.sin(2 * np.pi * (200 + 100 * time_s) * time_s)
    right = 0.4 * np.sin(2 * np.pi * 330 * time_s) * np.exp(-time_s / 2)
    return (np.stack([left, right]) + noise).astype(np.float32)


def depth(side_px: int = 64) -> NDArray[np.float64]:
    """A slope with hills, in metres, of shape (1, side, side, 1)."""
    y, x = np.mgrid[0:side_px, 0:side_px] / 16
    return np.asarray((2 + x + 0.5 * y + 0.3 * np.sin(4 * x) * np.cos(3 * y))[None, ..., None])


def normals(side_px: int = 32) -> NDArray[np.float64]:
    """Vectors of length 1, of shape (1, side, side, 3)."""
    drawn = np.random.default_rng(0).normal(size=(1, side_px, side_px, 3)) + np.array([0, 0, 3])
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))


def latents() -> NDArray[np.float32]:
    """Noise of shape (2, 4, 16, 16)."""
    return np.random.default_rng(0).normal(size=(2, 4, 16, 16)).astype(np.float32)


def read(field: str, content: Any, **value: Any) -> list[ReadPart]:
    """The parts in a field of what a call returned."""
    rates = value.pop("rates", Rates(video_hz=VIDEO_HZ, audio_hz=AUDIO_HZ))
    parts = list(parts_of(Value(name=field, content=content, rates=rates, **value)))
    kept = [(part, KINDS[part.kind].keep(part)) for part in parts]
    return [ReadPart(facts_of(whole, KINDS[part.kind].defects(part)), whole) for part, whole in kept]


def output_of(parts: list[ReadPart], **changed: Any) -> Output:
    """A record of a call that returned these and no images."""
    fields: dict[str, Any] = {
        "images": (),
        "parts": tuple(part.facts for part in parts),
        "finite": not any("not_finite" in part.facts.defects for part in parts),
        "rerun": RerunNoise(rounds=5, identical=True),
    }
    return Output(**(fields | changed))


def artifacts_of(parts: list[ReadPart]) -> Artifacts:
    """What is kept of them."""
    return Artifacts(parts=tuple(part.kept.arrays for part in parts))
