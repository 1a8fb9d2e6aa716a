"""What a test gets back from `diffbench(...)`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.records import Guidance, GuidanceStep

if TYPE_CHECKING:
    from PIL import Image

    from pytest_diffbench.judge.trace.entries import TraceView
    from pytest_diffbench.outputs.kinds import Kept
    from pytest_diffbench.records import Branch, LayerTimes, Memory, Observation, Output, Stage, Work
    from pytest_diffbench.records.artifacts import Artifacts


_Part = TypeVar("_Part")


class GuidedStep(GuidanceStep, frozen=True, kw_only=True):
    """What one step did, as a test asks for it."""

    @property
    def guided(self) -> bool:
        """Whether the scheduler's input mixes both branches, or several predictions."""
        return self.used in ("guided", "mixed")

    @property
    def branch(self) -> Branch:
        """The prediction that the scheduler's input is made of; `joint` is a mix of both.

        It is `cond` too where the difference of branches of an earlier step was added to it.
        """
        match self.used:
            case "guided":
                return "joint"
            case "reused":
                return "cond"
            case "mixed":
                return "unknown"
        return self.used


class GuidanceResult(Guidance, frozen=True, kw_only=True):
    """What guidance did, with steps that a test can ask."""

    steps: tuple[GuidedStep, ...]


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
        return self._required(self.observation.work, "work")

    @property
    def guidance(self) -> GuidanceResult:
        """What guidance did at each step."""
        record = self._required(self.observation.guidance, "guidance")
        steps = tuple(GuidedStep(**msgspec.structs.asdict(step)) for step in record.steps)
        return GuidanceResult(**msgspec.structs.asdict(record) | {"steps": steps})

    @property
    def output(self) -> Output:
        """Facts of the images and latents."""
        return self._required(self.observation.output, "output")

    @property
    def memory(self) -> Memory:
        """Peak memory by stage in bytes."""
        return self._required(self.observation.memory, "memory")

    @property
    def layers(self) -> LayerTimes:
        """Time of attention and of the other layers, from a pass of its own."""
        return self._required(self.observation.layers, "layer times")

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images of the first timed round."""
        from PIL import Image

        return tuple(Image.fromarray(array.squeeze()) for array in self.artifacts.images)

    @property
    def parts(self) -> tuple[Kept, ...]:
        """What the first timed round returned besides images: kind, name, shape, rate, and the kept arrays."""
        from pytest_diffbench.outputs.kinds import recorded

        facts = self.observation.output.parts if self.observation.output is not None else ()
        return tuple(recorded(part, arrays) for part, arrays in zip(facts, self.artifacts.parts, strict=True))

    @property
    def trace(self) -> TraceView:
        """What passed each place of the call, in order, with norm and moments; names as in `artifacts.Artifacts`."""
        from pytest_diffbench.judge.trace.entries import TraceView

        return TraceView(self.artifacts.trace)

    def _required(self, part: _Part | None, what: str) -> _Part:
        if part is None:
            why = "; ".join(self.observation.notes) or "the target doesn't expose it"
            raise MeasureError(f"{self.observation.case.id}: no {what} was observed: {why}.")
        return part
