"""Shortcuts that make a real pipeline look faster: none may be answered by `faster`."""

from __future__ import annotations

import dataclasses
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
from real_comparisons import answer_beside, baseline_by, side_by_side

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.judge.answer import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records import Comparison, SessionReport
    from pytest_diffbench.records.answer import CaseAnswer
    from pytest_diffbench.records.artifacts import Reference

pytestmark = pytest.mark.pipeline

CALL: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}


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
    (answer_of_case,) = answer(_only_compared(compared.comparison)).cases
    return answer_of_case


@functools.cache
def baseline() -> Reference:
    return baseline_by(mini("lumina2"), CALL)


def answered_alone(target: Any) -> CaseAnswer:
    return answer_beside(baseline(), target, CALL)


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
        prepared = ready.pop(prompt, None) if arguments["generator"].initial_seed() == 0 else None
        result = prepared or honest(prompt, **arguments)
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


SHORTCUTS: dict[str, tuple[Callable[[], Any], str | None, str | None]] = {
    "fewer steps": (lambda: fewer_steps, "fewer_steps", "fewer_steps"),
    "guidance": (lambda: guidance_dropped, "guidance.missing_steps", "guidance.missing_steps"),
    "cached": (cached_by_prompt_and_seed, None, None),
    "lazy": (lambda: work_behind_the_timer, None, "fewer_steps"),
    "small": (lambda: smaller_and_enlarged, "another_picture", "hidden_prompt_differs"),
    "memorised": (memorised, "hidden_prompt_differs", "hidden_prompt_differs"),
}
"""What makes each, and what gives it away among variants, and beside a baseline."""


def tiers(*quick: str) -> list[Any]:
    """All shortcuts, those that aren't named here in the full tier."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.full) for name in SHORTCUTS]


@pytest.mark.parametrize("name", tiers("guidance", "cached"))
def test_a_shortcut_is_wrong_or_invalid(name: str) -> None:
    make, because, _ = SHORTCUTS[name]
    answer_of_case = answered(make())
    assert answer_of_case.word in ("wrong", "invalid"), answer_of_case
    if because is not None:
        assert because in answer_of_case.reasons


@pytest.mark.parametrize("name", tiers("fewer steps"))
def test_a_plain_shortcut_is_wrong_or_invalid(name: str) -> None:
    make, _, because = SHORTCUTS[name]
    answer_of_case = answered_alone(cheating(make()))
    assert answer_of_case.word in ("wrong", "invalid"), answer_of_case
    if because is not None:
        assert because in answer_of_case.reasons


def test_a_plain_case_both_faster_and_right_is_faster() -> None:
    assert answered_alone(new_mini("lumina2")).word == "faster"


def test_a_plain_case_without_a_probed_baseline_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    unprobed = dataclasses.replace(baseline(), baseline=msgspec.structs.replace(baseline().baseline, probe=None))
    monkeypatch.setitem(globals(), "baseline", lambda: unprobed)
    answer_of_case = answered_alone(new_mini("lumina2"))
    assert (answer_of_case.word, answer_of_case.reasons) == ("invalid", ("time.faster", "not_probed"))


@pytest.mark.full
@pytest.mark.parametrize(
    "ask", [answered, lambda shortcut: answered_alone(cheating(shortcut))], ids=["variant", "alone"]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("make", [lambda: work_in_a_thread, prepared_before_the_timer], ids=["after", "before"])
def test_work_in_a_thread_is_wrong_or_invalid(make: Any, ask: Any) -> None:
    try:
        answer_of_case = ask(make())
    except Exception:
        return  # what ran beside the call made it differ from one call to the next, or fail: nothing was measured
    assert answer_of_case.word in ("wrong", "invalid"), answer_of_case


def test_a_call_removing_the_hooks_measures_nothing() -> None:
    def shortcut(self: Any, honest: Any, prompt: Any, arguments: Any) -> Any:
        self.transformer._forward_hooks.clear()
        self.transformer._forward_pre_hooks.clear()
        return honest(prompt, **arguments)

    with pytest.raises(MeasureError, match="transformer: the call removed the hooks by which it was observed"):
        answered(shortcut)
