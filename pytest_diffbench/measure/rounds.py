"""One call of the target after the other, each like the other, and the last word on what it returned."""

from __future__ import annotations

import dataclasses
import gc
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.boundaries import Observer, observed
from pytest_diffbench.measure.definition import bind, parameters_of
from pytest_diffbench.measure.stages import BoundaryTimer
from pytest_diffbench.measure.state import seed_everything
from pytest_diffbench.measure.trace import first_tensor, to_numpy
from pytest_diffbench.pixels import Pixels, image_digest, to_uint8_arrays
from pytest_diffbench.records import Round

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.components import Site


@dataclasses.dataclass(frozen=True, slots=True)
class Returned:
    """What one call left behind.

    Attributes:
        pixels: its images, empty where the target returned none.
        latents: the scheduler's last output as float32, None where no scheduler was seen.
        no_images: why what was returned isn't images, None where it is.
    """

    pixels: Pixels
    latents: NDArray[np.float32] | None
    no_images: str | None = None

    @property
    def digest(self) -> str | None:
        """Digest over all images; None without images."""
        return "-".join(image_digest(array) for array in self.pixels.arrays) or None


class Caller:
    """Calls a target with the same arguments and the same randomness every time.

    A target that takes a `generator` gets a new one on the host with the case's seed, so that the noise is the same
    on every device; for others the global generators are seeded. Generators that the caller passed are rewound before
    each call, and by `close`.
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

    def prepare(self) -> None:
        """Bring randomness and garbage to the same point before each call."""
        import torch

        seed_everything(self._seed)
        self.close()
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

    def returned(self, output: Any, last_step_output: Any) -> Returned:
        """Copy what a call returned to the host."""
        latents = first_tensor(last_step_output)
        pixels, no_images = pixels_of(output)
        return Returned(pixels, to_numpy(latents) if latents is not None else None, no_images)


class TimedRound:
    """A timed call: `prepare`, then `run` (whose duration is the round's), then `finish`."""

    def __init__(self, caller: Caller, sites: Sequence[Site], clock: Clock) -> None:
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
            with observed(self._sites, self._timer):
                begin_ns = host.now_ns()
                self._timer.start()
                self._output = self._caller.call()
                self._total_s = (host.now_ns() - begin_ns) / 1e9
        finally:
            if collecting:
                gc.enable()

    def finish(self) -> tuple[Round, Returned]:
        """Read the marks and let go of the output."""
        returned = self._caller.returned(self._output, self._timer.last_step_output)
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


def _generators_in(value: Any) -> list[torch.Generator]:
    import torch

    if isinstance(value, torch.Generator):
        return [value]
    if isinstance(value, (list, tuple)):
        return [generator for one in value for generator in _generators_in(one)]
    return []


def pixels_of(output: Any) -> tuple[Pixels, str | None]:
    """The images in what a target returned: `.images`, the first of a tuple, or the value itself.

    A target that returns no images (latents, text, None) gives no pixels, and the reason.
    """
    images = getattr(output, "images", output)
    if images is output and isinstance(output, tuple) and output:
        images = output[0]
    try:
        return to_uint8_arrays(images), None
    except (TypeError, ValueError) as error:
        return Pixels(arrays=(), finite=True, modes=()), str(error)


def observe_once(caller: Caller, sites: Sequence[Site], observer: Observer) -> Any:
    """Call the target once under an observer; returns its output."""
    caller.prepare()
    with observed(sites, observer):
        return caller.call()
