"""The package and all that it measures with, imported at once and in use, so that nothing is left to be paid."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def import_whole_package() -> None:
    """Import every module but the ready-made benchmarks, let two minis draw a step, and freeze the heap.

    What is frozen isn't looked at by the collections of garbage that each round of a measurement begins with.
    """
    import pytest_diffbench

    for module in pkgutil.walk_packages(pytest_diffbench.__path__, "pytest_diffbench."):
        if ".suite." not in module.name:  # tests, which are to be imported as such
            importlib.import_module(module.name)
    import hypothesis.strategies  # noqa: F401 - its plugin reads it in every run

    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import MODELS

    for name in ("lumina2", "flux"):
        pipeline: Any = build_mini(MODELS[name])
        pipeline.set_progress_bar_config(disable=True)
        pipeline("a", num_inference_steps=1, height=128, width=128)
        del pipeline
    gc.collect()
    gc.freeze()
    _count_frozen_at_once()


def _count_frozen_at_once() -> None:
    """Let `gc.get_freeze_count` answer without walking through all that is frozen: each measurement asks."""
    frozen = [True]

    def counted(call: Callable[[], None], *, leaves: bool) -> Callable[[], None]:
        def changed() -> None:
            call()
            frozen[0] = leaves

        return changed

    gc.freeze = counted(gc.freeze, leaves=True)
    gc.unfreeze = counted(gc.unfreeze, leaves=False)
    gc.get_freeze_count = lambda: int(frozen[0])
