"""Time inside the denoiser by kind of layer, from the survey or a pass of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.boundaries import Hook
from pytest_diffbench.measure.components import attention_modules, denoisers_of, modules_of
from pytest_diffbench.pipelines.tuned import is_compiled
from pytest_diffbench.records import LayerTimes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.rounds import Caller


class LayerTimer:
    """Brackets every attention layer and every denoiser call with marks."""

    def __init__(self, denoisers: dict[str, nn.Module], clock: Clock) -> None:
        self._denoisers = list(denoisers.values())
        self._attention = [layer for module in self._denoisers for layer in attention_modules(module)]
        self._clock = clock
        self._marks: list[object] = []
        self._spans: dict[str, list[tuple[int, int]]] = {"denoiser": [], "attention": []}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Hook the layers for the length of one call."""
        with contextlib.ExitStack() as undo:
            self._marks.append(self._clock.mark())
            for kind, modules in (("denoiser", self._denoisers), ("attention", self._attention)):
                for module in modules:
                    before, after = self._hooks(kind)
                    undo.callback(module.register_forward_pre_hook(Hook(before)).remove)
                    undo.callback(module.register_forward_hook(Hook(after)).remove)
            yield

    def times(self) -> LayerTimes | None:
        """Sums over the call; None when no denoiser was called. Call it after the device was synchronised."""
        if not self._spans["denoiser"]:
            return None
        seconds = self._clock.seconds(self._marks)
        total_s, attention_s = (
            sum(seconds[last] - seconds[first] for first, last in self._spans[kind])
            for kind in ("denoiser", "attention")
        )
        return LayerTimes(
            attention_s=attention_s,
            other_s=max(total_s - attention_s, 0.0),
            attention_layers=len(self._attention) if self._spans["attention"] else 0,
        )

    def _hooks(self, kind: str) -> tuple[Any, Any]:
        begun: list[int] = []

        def mark() -> int:
            self._marks.append(self._clock.mark())
            return len(self._marks) - 1

        def before(*_: Any) -> None:
            begun.append(mark())

        def after(*_: Any) -> None:
            self._spans[kind].append((begun.pop(), mark()))

        return before, after


def timer_for_survey(target: Any, device: str, clock: Clock) -> LayerTimer | None:
    """What times layers while a call is surveyed, which does nothing within a denoiser; install it first.

    None where the layers need a call of their own: other devices than a processor are waited for by a survey, which
    shows within the denoiser all the same, and where something is compiled the survey makes two calls.
    """
    on_processor = device.partition(":")[0] == "cpu"
    if not on_processor or any(is_compiled(module) for module in modules_of(target).values()):
        return None
    return LayerTimer(denoisers_of(target), clock)


def call_by_layers(caller: Caller, target: Any, clock: Clock) -> tuple[LayerTimes | None, float, Returned]:
    """A call of its own for the layers: their times, how many seconds it took, and what it returned."""
    timer = LayerTimer(denoisers_of(target), clock)
    caller.prepare()
    with timer.installed():
        begin_ns = host.now_ns()
        output = caller.call()
        took_s = (host.now_ns() - begin_ns) / 1e9
    return timer.times(), took_s, caller.returned("layers", output)
