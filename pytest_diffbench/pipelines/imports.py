"""Imports the libraries that pipelines come from, at the least cost to the garbage collector."""

from __future__ import annotations

import contextlib
import gc
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_diffbench.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage inside: what an import leaves lives on, and collecting is a quarter of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def import_torch() -> None:
    """Import torch without collections, where it isn't yet."""
    with without_collections():
        import_module("torch")


def import_pipeline_class(name: str | None) -> None:
    """Import a class of diffusers with all that it needs, and keep what was imported out of collections to come.

    torch, transformers and diffusers leave half a million objects that are never given up, and each full collection
    would walk through all of them, for some .2 s. Where somebody froze the heap before, or a model exists already,
    nothing is kept out: that model would never be collected.

    Args:
        name: of the class; None for diffusers alone. A class that isn't there is left to whoever asks for it.

    Raises:
        PipelineError: the class is there, and something that it needs can't be imported.
    """
    import_torch()
    with without_collections():
        diffusers = import_module("diffusers")
        if name is not None:
            try:
                getattr(diffusers, name, None)
            except RuntimeError as error:  # diffusers' own, around whatever stopped the import
                raise PipelineError(
                    f"{name}: diffusers {diffusers.__version__} can't import it: {str(error).splitlines()[-1]} "
                    "Check with `pip check` that what diffusers needs is installed, in versions that fit."
                ) from error
    if gc.get_freeze_count() == 0 and not _any_model():
        gc.freeze()


def _any_model() -> bool:
    """Whether a module with weights is alive: the libraries themselves make some without any."""
    from torch.nn import Module

    # By its class, since an instance may be a proxy that warns when it is looked at.
    modules = (candidate for candidate in gc.get_objects() if issubclass(type(candidate), Module))
    return any(next(module.parameters(), None) is not None for module in modules)
