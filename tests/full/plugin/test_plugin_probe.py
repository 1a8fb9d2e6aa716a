"""Plain calls that are probed, in whole sessions: the answer to a faster one, and to one that knows its picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from paced_project import PACED, Paced

from pytest_diffbench.judge.answer import answer
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from warm_python import WarmPython

    from pytest_diffbench.records.answer import CaseAnswer

pytestmark = [pytest.mark.usefixtures("real_libraries", "quick_processes"), pytest.mark.pipeline]

PIPELINE = (
    f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2] / 'helpers')!r})\n"  # of fresh processes
    + PACED
    + '''
import functools
from tiny_pipelines import build_tiny

CALL = {"num_inference_steps": 2, "height": 32, "width": 32}

def paced(knows=()):
    """A pipeline of a class that is as fast as its process, and knows the picture of some prompts."""
    pipeline = build_tiny("lumina2")
    sound = type(pipeline)

    @functools.wraps(sound.__call__)
    def call(self, prompt=None, **arguments):
        if knows and prompt not in knows:
            prompt = "something else"
        return sound.__call__(self, prompt, **arguments)

    def think(*_):
        CLOCK.now_ns += round(0.025e9 * STATE["pace"])

    pipeline.transformer.register_forward_pre_hook(think)
    pipeline.__class__ = type(sound.__name__, (sound,), {"__call__": call, "__module__": sound.__module__})
    return pipeline
'''
)
HONEST = PIPELINE + "\ndef test_case(diffbench):\n    diffbench(paced(), 'a red circle', **CALL, probe=True)\n"
CHEAT = HONEST.replace("paced()", "paced(['a red circle'])").replace(", probe=True", "")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Paced:
    return Paced(pytester, monkeypatch, HONEST)


def answered(project: Paced) -> CaseAnswer:
    (case,) = answer(session_json.load(project.pytester.path / "session.json")).cases
    return case


def test_a_faster_call_is_believed_if_the_picture_is_the_baselines(project: Paced) -> None:
    project.run("--diffbench", paces=[0.5] * 6)
    assert answered(project).word == "faster", project.case().observation.notes
    assert project.case().suspicions == ()

    project.pytester.makepyfile(test_project=CHEAT)
    project.run("--diffbench", paces=[0.5] * 6)
    assert answered(project).reasons == ("time.faster", "not_probed"), "neither the test nor the option asks"
    project.run("--diffbench", "--diffbench-probe", paces=[0.5] * 6)
    answer = answered(project)
    assert answer.word == "wrong"
    assert {"prompt_ignored", "hidden_prompt_differs"} & set(answer.reasons)


def test_a_picture_of_a_different_environment_is_painted_again(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm_python: WarmPython
) -> None:
    other, nothing = warm_python.environment(tmp_path / "other"), tmp_path / "nothing"
    nothing.mkdir()
    project = Paced(pytester, monkeypatch, HONEST, saved=nothing)
    knows = "paced(() if \"/other/\" in sys.executable else ['a red circle'])"
    project.pytester.makepyfile(test_project=CHEAT.replace("paced(['a red circle'])", knows))
    how = ("--diffbench-probe", "--diffbench-pairs=1", "--diffbench-turns=processes", "--diffbench-rounds=2")
    project.run(f"--diffbench-against={other}", *how, paces=[1.0] * 9)
    probe = project.case().observation.probe
    assert probe is not None
    assert probe.repeated
    assert answered(project).word == "wrong", answered(project)
    assert "hidden_prompt_differs" in answered(project).reasons
