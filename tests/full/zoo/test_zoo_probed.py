"""Sessions of a pipeline that returns audio, probed beside the baseline of another session: honest or shortcuts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.judge.answer import answer
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

TEST = '''
import functools
import os

import zoo_outputs as zoo


def honest(call, prompt, arguments):
    return call(prompt, **arguments)


def in_half_digits(call, prompt, arguments):
    found = call(prompt, **arguments)
    found.audios = found.audios.half().float()
    return found


def seed_ignored(call, prompt, arguments):
    generator = arguments["generator"].manual_seed(0)
    return call(prompt, **(arguments | {"generator": generator}))


def other_prompts(change):
    def shortcut(call, prompt, arguments):
        found = call(prompt, **arguments)
        if prompt != "a red circle":
            found.audios = change(found.audios)
        return found

    return shortcut


def first_result():
    """What it returned first is all that it ever returns."""
    results = []

    def shortcut(call, prompt, arguments):
        found = call(prompt, **arguments)
        results.append(found.audios.clone())
        found.audios = results[0].clone()
        return found

    return shortcut


SHORTCUTS = {
    "honest": honest,
    "in half digits": in_half_digits,
    "first result": first_result(),
    "seed ignored": seed_ignored,
    "silence": other_prompts(lambda audios: 0 * audios),
    "shorter": other_prompts(lambda audios: audios[..., ::2]),
    "fewer samples": other_prompts(lambda audios: audios[..., ::2].repeat_interleave(2, dim=-1)),
}


def test_it(diffbench):
    pipeline = zoo.build("audio")
    sound = type(pipeline)

    @functools.wraps(sound.__call__)
    def call(self, prompt=None, **arguments):
        return SHORTCUTS[os.environ["SHORTCUT"]](functools.partial(sound.__call__, self), prompt, arguments)

    pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})
    diffbench(pipeline, **zoo.arguments("audio"), probe=True)
'''


@pytest.fixture(autouse=True)
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a millisecond: a busy machine's time is none of these tests' business."""
    ticks = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks))


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Whose baseline is that of the honest call."""
    pytester.makepyfile(TEST)
    monkeypatch.setenv("SHORTCUT", "honest")
    assert run(pytester, "--diffbench-save").observation.probe is not None
    return pytester


def run(project: pytest.Pytester, mode: str) -> CaseReport:
    how = ("--diffbench-gates=output", "--diffbench-rounds=1", "--diffbench-threads=1")
    project.runpytest_inprocess(mode, *how, "--diffbench-json=session.json")
    (case,) = session_json.load(project.path / "session.json").cases
    return case


@pytest.mark.parametrize("name", ["honest", "in half digits"])
def test_an_honest_call_is_not_suspected(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SHORTCUT", name)
    case = run(project, "--diffbench")
    assert case.suspicions == ()
    probe = case.observation.probe
    assert probe is not None
    assert [part.kind for part in probe.repeated_parts] == ["audio"]


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("first result", "hidden_prompt_differs"),
        ("seed ignored", "seed_ignored"),
        ("silence", "hidden_prompt_differs"),
        ("shorter", "hidden_prompt_differs"),
        ("fewer samples", "hidden_prompt_differs"),
    ],
)
def test_a_shortcut_is_wrong(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, because: str
) -> None:
    monkeypatch.setenv("SHORTCUT", name)
    run(project, "--diffbench")
    (found,) = answer(session_json.load(project.path / "session.json")).cases
    assert found.word == "wrong", found
    assert because in found.reasons
