"""Calls with inputs that nobody could prepare for: a prompt and seeds that are drawn once the target is fixed.

What is memorised, cached between calls, or done before the clock starts or after it stops, shows in them.
"""

from __future__ import annotations

import dataclasses
import random
import threading
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure.boundaries import observed
from pytest_diffbench.measure.components import sites_of
from pytest_diffbench.measure.definition import bind, parameters_of
from pytest_diffbench.measure.rounds import Caller
from pytest_diffbench.measure.state import preserved
from pytest_diffbench.outputs.excerpts import excerpts, films_in
from pytest_diffbench.records import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.returned import ReadPart

_COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple")
_SHAPES = ("circle", "square", "triangle", "ring", "star", "cross")
_SIZES = ("small", "large", "tiny", "huge")


@dataclasses.dataclass(frozen=True, slots=True)
class Hidden:
    """What is drawn: of one comparison all targets get the same.

    Attributes:
        prompt: of a kind that minis know.
        seeds: two, neither of which is the case's.
    """

    prompt: str
    seeds: tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Probed:
    """What was found, and what calls returned, of which a record holds sketches.

    Attributes:
        probe: without sketches of parts.
        images: of the call with the drawn prompt and the first drawn seed.
        parts: of that call, all that it returned besides images.
        repeated_parts: of the call with the reference's earlier prompt and seed; empty where there was none.
    """

    probe: Probe
    images: tuple[NDArray[np.uint8], ...]
    parts: tuple[ReadPart, ...] = ()
    repeated_parts: tuple[ReadPart, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    digest: str | None
    images: tuple[NDArray[np.uint8], ...]
    parts: tuple[ReadPart, ...]
    total_s: float
    steps: int
    late_calls: int
    threads: int


class _Behind:
    """Counts scheduler steps within a call, and calls of components once it is over."""

    def __init__(self) -> None:
        self.over = False
        self.steps = self.late_calls = 0

    def enter(self, site: Site, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        self.late_calls += self.over
        self.steps += site.role == "step" and not self.over

    def leave(self, _site: Site, _output: Any) -> None:
        """Nothing to note."""


def drawn(but_not: Sequence[object] = ()) -> Hidden:
    """Draw a prompt and two seeds from the system's own randomness, which no seed foretells."""
    chance = random.SystemRandom()
    while True:
        front, back = chance.sample(_COLOURS, 2)
        prompt = f"a {chance.choice(_SIZES)} {front} {chance.choice(_SHAPES)} on a {back} background"
        if prompt not in but_not:
            first, second = chance.sample(range(10**6, 2**31), 2)
            return Hidden(prompt, (first, second))


def probe(
    target: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    clock: Clock,
    hidden: Hidden,
    *,
    seed: int,
    threads: int | None = None,
    earlier: Probe | None = None,
) -> Probed:
    """Call a target with inputs that it hasn't seen: its prompt and the drawn one by a drawn seed, then another seed.

    Before those it is called once more as it was, by `seed`: what is kept of a call is still there by then.
    Where the reference was probed earlier, its prompt and seed are called as well. Raises whatever the target raises.
    """
    arguments = bind(target, tuple(args), kwargs)
    prompted = isinstance(arguments.get("prompt"), str)
    seeded = "generator" in parameters_of(target) and not {"generator", "latents"} & arguments.keys()
    other = dict(arguments) | ({"prompt": hidden.prompt} if prompted else {})
    first, second = hidden.seeds
    repeated = None
    with preserved(threads, collect=False):
        repeat = _call(target, arguments, seed, clock)
        known = _call(target, arguments, first, clock)
        fresh = _call(target, other, first, clock)
        again = _call(target, other, second, clock)
        if earlier is not None and earlier.seed is not None:
            prompt = {"prompt": earlier.prompt} if prompted and earlier.prompt is not None else {}
            repeated = _call(target, dict(arguments) | prompt, earlier.seed, clock)
    # a repeated output may come from a store, and is as fast as that
    times_s = [call.total_s for call in (fresh, again) if call is fresh or not _alike(call, fresh)]
    return Probed(
        Probe(
            prompt=hidden.prompt if prompted else None,
            seed=first,
            pictures=_pictures(fresh),
            repeated=_pictures(repeated) if repeated is not None else (),
            fresh_s=min(times_s),
            repeat_s=repeat.total_s,
            steps=fresh.steps,
            late_calls=max(call.late_calls for call in (known, fresh, again)),
            threads=max(call.threads for call in (known, fresh, again)),
            ignores_seed=_alike(fresh, again) if seeded else None,
            ignores_prompt=_alike(known, fresh) if prompted else None,
        ),
        fresh.images,
        fresh.parts,
        repeated.parts if repeated is not None else (),
    )


def painted(
    target: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    clock: Clock,
    seed: int,
    prompt: str,
    threads: int | None,
) -> tuple[NDArray[np.uint8], ...]:
    """The images of one call with another prompt. Raises whatever the target raises."""
    with preserved(threads, collect=False):
        return _call(target, bind(target, tuple(args), kwargs) | {"prompt": prompt}, seed, clock).images


def _pictures(call: _Call) -> tuple[bytes, ...]:
    """Excerpts of its images, and of its videos' first, middle and last frames."""
    films = films_in(part.kept.arrays for part in call.parts)
    frames = [film[number] for film in films for number in sorted({0, len(film) // 2, len(film) - 1})]
    return excerpts([*call.images, *frames])


def _alike(first: _Call, second: _Call) -> bool:
    return first.digest is not None and first.digest == second.digest


def _call(target: Any, arguments: Mapping[str, Any], seed: int, clock: Clock) -> _Call:
    caller = Caller(target, (), arguments, seed, clock)
    behind = _Behind()
    before = set(threading.enumerate())
    with observed(list(sites_of(target)), behind):
        caller.prepare()
        try:
            begin_ns = host.now_ns()
            output = caller.call()
            total_s = (host.now_ns() - begin_ns) / 1e9
            started = [thread for thread in threading.enumerate() if thread not in before and not _idles(thread)]
            behind.over = True
            returned = caller.returned("probe", output)
        finally:
            caller.close()
    return _Call(
        returned.digest,
        tuple(returned.pixels.arrays),
        returned.parts,
        max(total_s, 1e-9),
        behind.steps,
        behind.late_calls,
        len(started),
    )


def _idles(thread: threading.Thread) -> bool:
    """Progress bars have a thread that only waits, and pools keep theirs for the next call."""
    return "tqdm" in type(thread).__module__ or "ThreadPoolExecutor" in thread.name
