"""Before a fresh process starts, this one gives the device's memory back, and afterwards it goes on as before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from paced_project import PACED, Paced

from pytest_diffbench.pipelines.aside import moved_aside
from pytest_diffbench.processes.launch import Launcher

CONFTEST = """
import gc, os, weakref
import pytest
from pytest_diffbench.processes.launch import Launcher

LOADED = []

class Painter:
    device = None

    def to(self, device):
        with open("moves.txt", "a") as file:
            file.write(f"{device}\\n")

    def __call__(self, shade=200):
        from test_project import paint
        return paint(shade)

def pytest_diffbench_load_pipeline(spec, config):
    painter = Painter()
    LOADED.append(weakref.ref(painter))
    return painter

def launch(self, items, **_):
    with open("alive.txt", "a") as file:
        file.write(f"{items[0].name}: {[one() is not None for one in LOADED]}\\n")
    raise OSError("not today")

Launcher.launch = launch
"""

TESTS = """
from types import SimpleNamespace

@pytest.fixture
def pipe(diffbench_pipeline):
    return diffbench_pipeline

@pytest.mark.diffbench(model="lumina2")
def test_first(diffbench, pipe):
    diffbench(pipe)

@pytest.fixture
def held(diffbench_pipeline):
    diffbench_pipeline.device = SimpleNamespace(type="cuda")
    yield diffbench_pipeline

@pytest.mark.diffbench(model="lumina2")
def test_held(diffbench, held):
    diffbench(held)

@pytest.mark.diffbench(model="lumina2")
def test_second(diffbench, diffbench_pipeline):
    diffbench(diffbench_pipeline)
"""


def test_the_resident_pipeline_is_gone_when_the_process_starts_and_is_loaded_again(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real_libraries: None
) -> None:
    monkeypatch.setattr(Launcher, "launch", Launcher.launch)  # put back what the conftest file replaces
    pytester.makeconftest(CONFTEST)
    project = Paced(pytester, monkeypatch, PACED + TESTS)
    project.run("--diffbench", paces=[1.5]).assert_outcomes(passed=3)
    # Each test had a pipeline of its own.
    assert (pytester.path / "alive.txt").read_text().splitlines() == [
        "test_first: [False]",
        "test_held: [False, True]",
        "test_second: [False, False, False]",
    ]
    # A fixture that waits for its teardown holds on to it, yet not on the device.
    assert (pytester.path / "moves.txt").read_text().splitlines() == ["cpu"]


class Pipeline:
    """Notes where it was moved to."""

    def __init__(self, device: str = "cuda:1", **attributes: Any) -> None:
        self.device = torch.device(device)
        self.moves: list[str] = []
        vars(self).update(attributes)

    def to(self, device: Any) -> None:
        self.moves.append(str(device))


class Quantised(Pipeline):
    """Can't be moved."""

    def to(self, device: Any) -> None:
        super().to(device)
        if str(device) == "cpu":
            raise ValueError("quantised weights stay where they are")


class Offloaded:
    """A component with accelerate's hook."""

    _hf_hook = object()


def test_a_pipeline_of_the_tests_own_goes_to_the_cpu_and_comes_back() -> None:
    pipeline = Pipeline()
    with moved_aside(pipeline) as problem:
        assert (problem, pipeline.moves) == (None, ["cpu"])
    assert pipeline.moves == ["cpu", "cuda:1"]


def test_it_comes_back_after_an_interruption_too() -> None:
    pipeline = Pipeline()
    with pytest.raises(KeyboardInterrupt), moved_aside(pipeline):
        raise KeyboardInterrupt
    assert pipeline.moves == ["cpu", "cuda:1"]


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        (Pipeline("cpu"), None),
        (Pipeline("meta"), None),
        (Pipeline(_all_hooks=["a hook"]), "it offloads by itself"),
        (Pipeline(hf_device_map={"": 0}), "it offloads by itself"),
        (Pipeline(components={"transformer": Offloaded()}), "it offloads by itself"),
    ],
)
def test_what_has_no_device_or_offloads_is_left_alone(pipeline: Pipeline, why: str | None) -> None:
    with moved_aside(pipeline) as problem:
        assert problem == why
    assert pipeline.moves == []


def test_what_cannot_be_moved_stays_and_is_told() -> None:
    pipeline = Quantised()
    with moved_aside(pipeline) as problem:
        assert problem == "ValueError: quantised weights stay where they are"
    assert pipeline.moves == ["cpu", "cuda:1"]


def test_a_callable_has_nothing_to_give() -> None:
    with moved_aside(lambda: None) as problem:
        assert problem is None


STUBBORN = """
from types import SimpleNamespace

class Stubborn:
    device = None

    def to(self, device):
        raise ValueError("quantised weights stay where they are")

    def __call__(self, shade=200):
        return paint(shade)

def test_case(diffbench):
    stubborn = Stubborn()
    diffbench(stubborn)
    stubborn.device = SimpleNamespace(type="cuda")  # now that it was measured without one
"""


def test_a_verdict_tells_what_stayed_beside_the_process_that_was_to_confirm_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real_libraries: None
) -> None:
    pytester.makeconftest("")
    project = Paced(pytester, monkeypatch, PACED + STUBBORN)
    project.run("--diffbench", paces=[1.5, 1.0, 1.0, 1.0, 1.0]).assert_outcomes(passed=1)
    (note,) = [one for one in project.case().observation.notes if "beside the fresh process" in one]
    assert note == (
        "Stubborn stayed on its device beside the fresh process: ValueError: quantised weights stay where they are"
    )
