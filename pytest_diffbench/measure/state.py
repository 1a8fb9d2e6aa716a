"""Putting the process's state back as it was, whatever a measurement does."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import random
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.pipelines.devices import active_kinds, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def preserved(threads: int | None = None, *, collect: bool = True) -> Iterator[None]:
    """Restore the random number generators of Python, numpy and torch, the garbage collector and torch's threads.

    Inside, what exists already is kept out of collections, so that one before each round costs next to nothing.

    Args:
        threads: torch's threads on the CPU inside; None leaves them as they are.
        collect: collect garbage before all else, which takes some tenths of a second; not where nothing has happened
            since that was done.
    """
    import numpy as np
    import torch

    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    accelerators = _accelerator_generators()
    collecting = gc.isenabled()
    threads_before = torch.get_num_threads()
    freezing = (
        gc.get_freeze_count() == 0
    )  # else somebody froze the heap on purpose, and we couldn't tell theirs from ours
    if collect:
        gc.collect()
    if freezing:
        gc.freeze()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(threads_before)
        if freezing:
            gc.unfreeze()
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        for put_back in accelerators:
            put_back()
        if collecting:
            gc.enable()
        else:
            gc.disable()


def seed_everything(seed: int) -> None:
    """Seed the global generators, for targets that draw from them instead of taking a generator."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        # It also queues a call, with its whole traceback, for each kind of accelerator that isn't there: 10 ms and a
        # leak each time.
        torch.default_generator.manual_seed(seed)


def _accelerator_generators() -> list[Callable[[], None]]:
    """How the generators of the accelerators that `torch.manual_seed` seeds come back to what they are now."""
    import torch

    restorers: list[Callable[[], None]] = [
        functools.partial(backend.set_rng_state_all, list(backend.get_rng_state_all()))
        for backend in (torch.cuda, torch.xpu)
        if backend.is_initialized()  # asking another for its state would initialise it
    ]
    for kind in active_kinds():
        backend = backend_of(kind)
        if kind not in ("cuda", "xpu") and hasattr(backend, "get_rng_state"):
            restorers.append(functools.partial(backend.set_rng_state, backend.get_rng_state()))
    return restorers


GlobalStates: TypeAlias = "dict[str, bytes]"
"""A digest of each global generator's state, by its name in a sentence."""


def global_states() -> GlobalStates:
    """Where the global generators stand. Costs some 20 microseconds, and waits for no device."""
    import numpy as np
    import torch

    name, keys, *rest = np.random.get_state()
    states = {
        "Python's random": repr(random.getstate()).encode(),
        "numpy": np.asarray(keys).tobytes() + repr((name, rest)).encode(),
        "torch on the CPU": torch.get_rng_state().numpy().tobytes(),
    }
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            for number, state in enumerate(backend.get_rng_state_all()):
                states[f"torch on {backend.__name__.rpartition('.')[2]}:{number}"] = state.numpy().tobytes()
    return {name: hashlib.blake2b(state, digest_size=8).digest() for name, state in states.items()}


def changed(before: GlobalStates) -> set[str]:
    """Names of the global generators that somebody has drawn from, or seeded, since."""
    return {name for name, state in global_states().items() if before.get(name, state) != state}
