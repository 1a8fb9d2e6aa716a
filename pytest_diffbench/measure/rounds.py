"""One call of the target after the other, each like the other, and the last word on what it returned."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.boundaries import Observer, observed
from pytest_diffbench.measure.definition import bind, parameters_of
from pytest_diffbench.measure.returned import Reader
from pytest_diffbench.measure.stages import BoundaryTimer
from pytest_diffbench.measure.state import changed, global_states, seed_everything
from pytest_diffbench.measure.values import rates_of
from pytest_diffbench.records import Round

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.state import GlobalStates

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


class Caller:
    """Calls a target with the same arguments and the same randomness every time.

    A target that takes a `generator` gets a new one on the host with the case's seed, so that the noise is the same
    on every device. Generators that the caller passed are rewound before each call, and by `close`. The global ones
    are seeded for targets that are handed none; for others they go on as they would for a user, who wouldn't seed
    them, and it is noted where a call draws from them all the same.
    """

    def __init__(
        self, target: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seed: int, clock: Clock
    ) -> None:
        self._target = target
        self._args = tuple(args)
        self._kwargs = dict(kwargs)
        self._seed = seed
        self._clock = clock
        arguments = bind(target, self._args, kwargs)
        self._makes_generator = "generator" in parameters_of(target) and "generator" not in arguments
        self._states = [(generator, generator.get_state()) for generator in _generators_in(list(arguments.values()))]
        self._reader = Reader(latents=arguments.get("output_type") == "latent", rates=rates_of(target, arguments))
        self._global_states: GlobalStates | None = None
        self._drew_from: set[str] = set()

    def prepare(self) -> None:
        """Bring randomness and garbage to the same point before each call."""
        import torch

        self.close()
        if self._makes_generator or self._states:
            self._global_states = global_states()
        else:
            seed_everything(self._seed)
        if self._makes_generator:
            self._kwargs["generator"] = torch.Generator("cpu").manual_seed(self._seed)
        gc.collect()
        self._clock.synchronize()

    def close(self) -> None:
        """Leave the caller's own generators where they were found."""
        for generator, state in self._states:
            generator.set_state(state)

    def call(self) -> Any:
        """Call the target and wait for the device."""
        output = self._target(*self._args, **self._kwargs)
        self._clock.synchronize()
        return output

    def returned(self, call: str, output: Any, last_step_output: Any = None) -> Returned:
        """Copy what a call returned to the host."""
        self._drew_from |= changed(self._global_states) if self._global_states is not None else set()
        return self._reader.read(call, output, last_step_output)

    @property
    def drew_from(self) -> tuple[str, ...]:
        """Global generators that a call drew from although it was handed one of its own."""
        return tuple(sorted(self._drew_from))


class TimedRound:
    """A timed call: `prepare`, then `run` (whose duration is the round's), then `finish`.

    Attributes:
        beside: another observer of the call, whose time counts; None for none, as where times are wanted.
    """

    def __init__(self, caller: Caller, sites: Sequence[Site], clock: Clock) -> None:
        self.beside: Observer | None = None
        self._caller = caller
        self._sites = sites
        self._clock = clock
        self._timer = BoundaryTimer(clock)
        self._output: Any = None
        self._total_s = 0.0

    def prepare(self) -> None:
        """Everything that must not be timed, and comes first."""
        self._timer = BoundaryTimer(self._clock)
        self._caller.prepare()

    def run(self) -> None:
        """The call, with marks at component boundaries, synchronised at its end."""
        collecting = gc.isenabled()
        gc.disable()  # a collection is not the pipeline's work, and comes at another place each time
        try:
            with observed(self._sites, self._timer if self.beside is None else _Both(self._timer, self.beside)):
                begin_ns = host.now_ns()
                self._timer.start()
                self._output = self._caller.call()
                self._total_s = (host.now_ns() - begin_ns) / 1e9
        finally:
            if collecting:
                gc.enable()

    def once(self, call: str) -> tuple[Round, Returned]:
        """All three, one after the other."""
        self.prepare()
        self.run()
        return self.finish(call)

    def finish(self, call: str) -> tuple[Round, Returned]:
        """Read the marks and let go of the output. `call` names it: `round 3`."""
        returned = self._caller.returned(call, self._output, self._timer.last_step_output)
        times = self._timer.times(self._total_s)
        self._output = None
        self._timer.last_step_output = None
        return (
            Round(
                total_s=self._total_s,
                stages_s=times.stages_s,
                steps_s=times.steps_s,
                output_digest=returned.digest,
            ),
            returned,
        )


class _Both:
    """Two observers of one call. The first is told first of an entrance and last of an exit."""

    def __init__(self, outer: Observer, inner: Observer) -> None:
        self._outer, self._inner = outer, inner

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._outer.enter(site, args, kwargs)
        self._inner.enter(site, args, kwargs)

    def leave(self, site: Site, output: Any) -> None:
        self._inner.leave(site, output)
        self._outer.leave(site, output)


def _generators_in(value: Any) -> list[torch.Generator]:
    import torch

    if isinstance(value, torch.Generator):
        return [value]
    if isinstance(value, (list, tuple)):
        return [generator for element in value for generator in _generators_in(element)]
    return []


def observe_once(
    caller: Caller, sites: Sequence[Site], observer: Observer, census: AbstractContextManager[object] | None = None
) -> Any:
    """Call the target once under an observer, within a census where one is given; returns its output."""
    caller.prepare()
    with observed(sites, observer), census or contextlib.nullcontext():
        return caller.call()


def drive_plainly(
    prepare: Callable[[], None], run: Callable[[], None], finish: Callable[[], None], rounds: int
) -> None:
    """Run the rounds one after the other."""
    for _ in range(rounds):
        prepare()
        run()
        finish()
