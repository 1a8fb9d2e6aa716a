"""What a test gets back from `diffbench(...)`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from pytest_diffbench.errors import MeasureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pytest_diffbench.artifacts import Artifacts
    from pytest_diffbench.records import Guidance, LayerTimes, Memory, Observation, Output, Stage, Work


_Part = TypeVar("_Part")


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """A measured case.

    Parts that weren't seen (the work of a plain function, say) raise MeasureError when they are asked for, and say
    why; `observation` holds the same data with None in their place.
    """

    observation: Observation
    artifacts: Artifacts

    @property
    def median_s(self) -> float:
        """Median wall time of the timed rounds in seconds."""
        return self.observation.run.median_s

    @property
    def rounds_s(self) -> tuple[float, ...]:
        """Wall time of each timed round in seconds."""
        return self.observation.run.totals_s

    @property
    def stages_s(self) -> dict[Stage, float]:
        """Median time of each stage in seconds."""
        return self.observation.run.stage_medians_s

    @property
    def steps_s(self) -> tuple[float, ...]:
        """Median time of each scheduler step in seconds."""
        return self.observation.run.step_medians_s

    @property
    def work(self) -> Work:
        """What was computed: calls, shapes, FLOPs, parameters."""
        return self._seen(self.observation.work, "work")

    @property
    def guidance(self) -> Guidance:
        """What guidance did at each step."""
        return self._seen(self.observation.guidance, "guidance")

    @property
    def output(self) -> Output:
        """Facts of the images and latents."""
        return self._seen(self.observation.output, "output")

    @property
    def memory(self) -> Memory:
        """Peak memory by stage in bytes."""
        return self._seen(self.observation.memory, "memory")

    @property
    def layers(self) -> LayerTimes:
        """Time of attention and of the other layers, from a pass of its own."""
        return self._seen(self.observation.layers, "layer times")

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images of the first timed round."""
        from PIL import Image

        return tuple(Image.fromarray(array.squeeze()) for array in self.artifacts.images)

    @property
    def trace(self) -> dict[str, NDArray[np.float32]]:
        """Sketches of embeddings and latents, and the final latents: see `artifacts.Artifacts`."""
        return self.artifacts.trace

    def _seen(self, part: _Part | None, what: str) -> _Part:
        if part is None:
            why = "; ".join(self.observation.notes) or "this target doesn't show it"
            raise MeasureError(f"{self.observation.case.id}: no {what} was seen: {why}.")
        return part
