"""What is resident beside a confirming process, in whole sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paced_project import PACED, Paced

from pytest_diffbench.workers.launch import Launcher

if TYPE_CHECKING:
    import pytest

CONFTEST = """
import gc, os, weakref
import pytest
from pytest_diffbench.workers.launch import Launcher

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


def test_a_verdict_names_what_stayed_beside_the_confirming_process(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real_libraries: None, quick_processes: None
) -> None:
    pytester.makeconftest("")
    project = Paced(pytester, monkeypatch, PACED + STUBBORN)
    project.run("--diffbench", paces=[1.5, 1.0, 1.0, 1.0, 1.0]).assert_outcomes(passed=1)
    (note,) = [line for line in project.case().observation.notes if "beside the fresh process" in line]
    assert note == (
        "Stubborn stayed on its device beside the fresh process: ValueError: quantised weights stay where they are"
    )
