"""From marks at component boundaries to the time of stages and steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.components import Role, Site
    from pytest_diffbench.records import Stage

STAGE_OF_ROLE: dict[Role, Stage] = {
    "text": "text_encode",
    "denoiser": "denoise",
    "step": "denoise",
    "vae_encode": "vae_encode",
    "vae_decode": "vae_decode",
}
"""The stage that a component's work belongs to; helpers belong to the stage around them."""


_CLOCK_DIGITS = 9
"""Clocks count nanoseconds; what subtraction leaves behind them is no measurement."""


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """Control entered or left a place, `at_s` seconds after the call began."""

    role: Role
    entered: bool
    at_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a call that belongs to one stage, in seconds since the call began."""

    stage: Stage
    begin_s: float
    end_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class StageTimes:
    """Time of the stages that were seen, `unattributed` among them, and of each scheduler step; all in seconds."""

    stages_s: dict[Stage, float]
    steps_s: tuple[float, ...]


class BoundaryTimer:
    """The observer of timed rounds: marks boundaries and does nothing else.

    Keeps the scheduler's last output, by reference, so that the latents of the timed call itself can be compared.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passages: list[tuple[Role, bool]] = []
        self._marks: list[object] = []
        self.last_step_output: Any = None

    def start(self) -> None:
        """Mark the beginning of the call."""
        self._marks.append(self._clock.mark())

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002 - Observer
        """Mark an entrance."""
        self._passages.append((site.role, True))
        self._marks.append(self._clock.mark())

    def leave(self, site: Site, output: Any) -> None:
        """Mark an exit."""
        self._passages.append((site.role, False))
        self._marks.append(self._clock.mark())
        if site.role == "step":
            self.last_step_output = output

    def times(self, total_s: float) -> StageTimes:
        """Stages and steps of the call that took `total_s`. Call it after the device was synchronised."""
        seconds = self._clock.seconds(self._marks)[1:]
        return attribute(
            [Passage(role, entered, at_s) for (role, entered), at_s in zip(self._passages, seconds, strict=True)],
            total_s,
        )


def attribute(passages: Sequence[Passage], total_s: float) -> StageTimes:
    """Share a call's time out to its stages.

    Time inside a component belongs to the component's stage. Between the first entrance to a denoiser and the last
    exit from the scheduler's step (or from the denoiser, where no scheduler was seen) what lies between components
    belongs to `denoise` too: guidance arithmetic, scheduling, callbacks. What lies between two calls of text encoders
    with nothing else between them belongs to `text_encode`: the next text is made ready. The rest is `unattributed`.

    Args:
        passages: in the order of their time, each entrance with its exit.
        total_s: duration of the call.
    """
    if not any(STAGE_OF_ROLE.get(passage.role) for passage in passages):
        return StageTimes({}, ())
    stages: dict[Stage, float] = {}
    for stretch in stretches(passages):
        if stretch.stage != "unattributed":
            stages[stretch.stage] = stages.get(stretch.stage, 0.0) + stretch.end_s - stretch.begin_s
    # Events and the host's clock differ by microseconds; a rounding below zero is no time at all.
    stages["unattributed"] = max(total_s - sum(stages.values()), 0.0)
    return StageTimes(
        {stage: round(time_s, _CLOCK_DIGITS) for stage, time_s in stages.items()},
        tuple(round(end_s - begin_s, _CLOCK_DIGITS) for begin_s, end_s in step_spans(passages)),
    )


def stretches(passages: Sequence[Passage]) -> Iterator[Stretch]:
    """The stages between one passage and the next, by the rules of `attribute`; the first begins with the call."""
    begin_s, end_s = _denoise_window(passages)
    inside: list[Role] = []
    last_s = 0.0
    last: Passage | None = None
    for passage in passages:
        stage = _stage(inside, begin_s <= last_s < end_s)
        if not inside and last is not None and last.role == passage.role == "text":
            stage = "text_encode"
        yield Stretch(stage, last_s, passage.at_s)
        last_s, last = passage.at_s, passage
        if passage.entered:
            inside.append(passage.role)
        else:
            inside.pop()


def step_spans(passages: Sequence[Passage]) -> Iterator[tuple[float, float]]:
    """Begin and end of each scheduler step, in seconds: it begins where the one before ended."""
    begin_s, _ = _denoise_window(passages)
    for passage in passages:
        if passage.role == "step" and not passage.entered and passage.at_s >= begin_s:
            yield begin_s, passage.at_s
            begin_s = passage.at_s


def _stage(inside: Sequence[Role], denoising: bool) -> Stage:
    for role in reversed(inside):
        stage = STAGE_OF_ROLE.get(role)
        if stage is not None:
            return stage
    return "denoise" if denoising else "unattributed"


def _denoise_window(passages: Sequence[Passage]) -> tuple[float, float]:
    begin_s = next(
        (passage.at_s for passage in passages if passage.role == "denoiser" and passage.entered), float("inf")
    )
    for role in ("step", "denoiser"):
        ends = [
            passage.at_s
            for passage in passages
            if passage.role == role and not passage.entered and passage.at_s >= begin_s
        ]
        if ends:
            return begin_s, ends[-1]
    return begin_s, begin_s
