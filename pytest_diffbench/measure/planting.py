"""Makes a pipeline's denoiser slower by a known share of its time, for the self-test alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import attention_modules, denoisers_of
from pytest_diffbench.pipelines.devices import device_of

if TYPE_CHECKING:
    from collections.abc import Callable


def plant(pipeline: Any, slowdown: str) -> None:
    """Slow a pipeline down for good. What it computes stays as it is.

    Args:
        pipeline: with a denoiser.
        slowdown: `delay:SHARE`, each denoiser call takes longer by a share of its time; `attention:SHARE`, each of
            its attention layers does; `calls:MORE/OF`, so many of so many denoiser calls are made twice.

    Raises:
        MeasureError: there is no such kind, or nothing in the pipeline that it could slow down.
    """
    kind, _, size = slowdown.partition(":")
    denoisers = list(denoisers_of(pipeline).values())
    device = device_of(pipeline) or "cpu"
    modules: list[Any] = denoisers
    if kind == "attention":
        modules = [layer for module in denoisers for layer in attention_modules(module)]
    if not modules:
        raise MeasureError(f"{slowdown!r} can't be planted: {type(pipeline).__name__} has no {kind} to slow down.")
    if kind == "calls":
        more, of = map(int, size.split("/"))
        repeated = _repeats(more, of)
        for module in modules:
            module.forward = _twice(module.forward, lambda: next(repeated))
    elif kind in ("delay", "attention"):
        for module in modules:
            module.forward = _longer(module.forward, float(size), device)
    else:
        raise MeasureError(f"{slowdown!r} can't be planted: use delay, attention or calls.")


def _repeats(more: int, of: int) -> itertools.cycle[bool]:
    """Which calls are made twice: `more` of each `of`, evenly spread."""
    return itertools.cycle([(i + 1) * more // of > i * more // of for i in range(of)])


def _twice(forward: Callable[..., Any], now: Callable[[], bool]) -> Callable[..., Any]:
    def slow(*args: Any, **kwargs: Any) -> Any:
        if now():
            forward(*args, **kwargs)
        return forward(*args, **kwargs)

    return slow


def _longer(forward: Callable[..., Any], share: float, device: str) -> Callable[..., Any]:
    clock = clock_for(device)

    def elapsed_s(since: object) -> float:
        clock.synchronize()
        until = clock.mark()
        clock.synchronize()
        return clock.seconds([since, until])[1]

    def slow(*args: Any, **kwargs: Any) -> Any:
        clock.synchronize()
        begin = clock.mark()
        output = forward(*args, **kwargs)
        wanted_s = (1 + share) * elapsed_s(begin)
        while elapsed_s(begin) < wanted_s:
            pass
        return output

    return slow
