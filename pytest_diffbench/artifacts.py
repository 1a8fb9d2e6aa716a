"""What travels beside the records: the arrays of a measurement, and a stored baseline as the judges see it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Baseline, Distance


@dataclasses.dataclass(frozen=True, slots=True)
class Artifacts:
    """The arrays of a measurement or a baseline.

    Attributes:
        images: uint8 arrays of shape (height, width) or (height, width, channels), values 0 to 255.
        trace: float32 arrays by name. `latents/final` is the scheduler's last output, whole or, above 1 MiB, left
            out; `latents/<step>` and `text/<n>` are sketches of shape (SKETCH_SIZE,).
    """

    images: tuple[NDArray[np.uint8], ...] = ()
    trace: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A stored baseline as the judges see it.

    Attributes:
        baseline: the record.
        distance: how near the machine that it was measured on is to this one.
        path: the baseline's folder, for messages.
        artifacts: reads the stored images and trace when they are needed; raises BaselineError.
    """

    baseline: Baseline
    distance: Distance
    path: str
    artifacts: Callable[[], Artifacts]
