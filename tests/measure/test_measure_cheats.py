"""Shortcuts that make a real pipeline look faster: none may be answered by `faster`."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import comparison_factories
import msgspec
import pytest
import torch
from PIL import Image
from real_calls import (
    PROMPT,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    new_mini,
)
from real_comparisons import side_by_side

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.judge.answer import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import Comparison, SessionReport
    from pytest_diffbench.records.answer import CaseAnswer

pytestmark = pytest.mark.pipeline

CALL = {"num_inference_steps": 2, "height": 64, "width": 64}


def cheating(shortcut: Callable[..., Any]) -> Any:
    """A pipeline whose call goes through `shortcut(pipeline, honest call, prompt, arguments)`."""
    pipeline = new_mini("lumina2")
    sound = type(pipeline)

    @functools.wraps(sound.__call__)
    def call(self: Any, prompt: Any = None, **arguments: Any) -> Any:
        return shortcut(self, functools.partial(sound.__call__, self), prompt, arguments)

    pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})
    return pipeline


def answered(shortcut: Callable[..., Any], reference: Any = None) -> CaseAnswer:
    variants = {"honest": (reference or mini("lumina2"), CALL), "shortcut": (cheating(shortcut), CALL)}
    compared = side_by_side(variants, probe=True)
    (found,) = answer(_only_compared(compared.comparison)).cases
    return found


def _only_compared(comparison: Comparison) -> SessionReport:
    return msgspec.structs.replace(comparison_factories.session(comparison), cases=())


def fewer_steps(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    return honest(prompt, **(arguments | {"num_inference_steps": 1}))


def guidance_dropped(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    return honest(prompt, **(arguments | {"guidance_scale": 1.0}))


def cached_by_prompt_and_seed() -> Any:
    store: dict[Any, Any] = {}

    def shortcut(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
        key = prompt, arguments["generator"].initial_seed()
        if key not in store:
            store[key] = honest(prompt, **arguments)
        return store[key]

    return shortcut


class Lazy:
    """Computes its images once somebody looks at them."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @property
    def images(self) -> Any:
        return self._make().images


def work_behind_the_timer(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    return Lazy(functools.cache(functools.partial(honest, prompt, **arguments)))


def work_in_a_thread(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(honest(prompt, **arguments)))
    thread.start()

    def wait() -> Any:
        thread.join()
        return done[0]

    return Lazy(wait)


def prepared_before_the_timer() -> Any:
    """Once a call is over, the next one is computed while nobody's clock runs."""
    ready: dict[str, Any] = {}

    def shortcut(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
        found = ready.pop(prompt, None) if arguments["generator"].initial_seed() == 0 else None
        result = found or honest(prompt, **arguments)
        following = arguments | {"generator": torch.Generator("cpu").manual_seed(0)}
        threading.Thread(target=lambda: ready.update({prompt: honest(prompt, **following)})).start()
        return result

    return shortcut


def smaller_and_enlarged(_self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
    small = honest(prompt, **(arguments | {"height": 32, "width": 32}))
    small.images = [image.resize((64, 64), Image.Resampling.BICUBIC) for image in small.images]
    return small


def memorised() -> Any:
    """Knows the picture of the one prompt and seed that everybody measures with, and steps as if it didn't."""
    known = mini("lumina2")(PROMPT, **CALL, generator=torch.Generator("cpu").manual_seed(0))

    def shortcut(self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
        if prompt != PROMPT:
            return honest(prompt, **(arguments | {"num_inference_steps": 1}))
        self.scheduler.set_timesteps(sigmas=[1.0, 0.5])
        for timestep in self.scheduler.timesteps:
            self.scheduler.step(torch.zeros(1, 4, 8, 8), timestep, torch.zeros(1, 4, 8, 8))
        return known

    return shortcut


@pytest.mark.parametrize(
    ("shortcut", "because"),
    [
        pytest.param(fewer_steps, "fewer_steps", marks=pytest.mark.full),
        (guidance_dropped, "guidance.missing_steps"),
        (cached_by_prompt_and_seed(), None),
        pytest.param(work_behind_the_timer, None, marks=pytest.mark.full),
        pytest.param(smaller_and_enlarged, "another_picture", marks=pytest.mark.full),
        pytest.param(memorised, "hidden_prompt_differs", marks=pytest.mark.full),
    ],
    ids=["fewer steps", "guidance", "cached", "lazy", "small", "memorised"],
)
def test_a_shortcut_is_wrong_or_invalid(shortcut: Any, because: str | None) -> None:
    found = answered(shortcut() if shortcut is memorised else shortcut)
    assert found.word in ("wrong", "invalid"), found
    if because is not None:
        assert because in found.reasons


@pytest.mark.full
@pytest.mark.parametrize("shortcut", [work_in_a_thread, prepared_before_the_timer()], ids=["after", "before"])
def test_work_in_a_thread_is_wrong_or_invalid(shortcut: Any) -> None:
    try:
        found = answered(shortcut)
    except MeasureError:
        return  # what ran beside the call made it differ from one call to the next, so nothing was measured
    assert found.word in ("wrong", "invalid"), found


def test_a_call_that_removes_the_hooks_measures_nothing() -> None:
    def shortcut(self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
        self.transformer._forward_hooks.clear()
        self.transformer._forward_pre_hooks.clear()
        return honest(prompt, **arguments)

    with pytest.raises(MeasureError, match="transformer: the call removed the hooks by which it was observed"):
        answered(shortcut)
