"""Functions that return videos, audio and what nobody knows: through pytest, as a user sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Verdict

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TEST = """
import os

import numpy as np

FAULT = os.environ.get("FAULT")
FRAMES = np.random.default_rng(0).random((6, 24, 32, 3))
SAMPLES = np.sin(np.arange(8000) / 20).astype(np.float32)

def make(size=32):
    frames = FRAMES.copy()
    if FAULT == "frozen":
        frames[3:] = frames[3]
    samples = -SAMPLES if FAULT == "polarity" else SAMPLES
    return {{"frames": frames, "fps": 12 if FAULT == "rate" else 8, "audio": samples, "sampling_rate": 16000}}

def text(size=32):
    return ["a", "b"]

def black(size=32):
    return np.zeros((16, 16, 3), np.uint8)

def test_it(diffbench):
    result = diffbench({target})
    if result.output.parts:
        film, sound = result.parts
        assert film.arrays["sketches"].shape == (6, 24, 32, 3)
        assert (sound.kind, sound.shape, sound.rate_hz) == ("audio", (1, 8000), 16000)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return pytester


def run(project: pytest.Pytester, *arguments: str, gates: str = "output", session: str = "session") -> CaseReport:
    project.runpytest_inprocess(
        f"--diffbench-gates={gates}", "--diffbench-rounds=1", f"--diffbench-json={session}.json", *arguments
    )
    (case,) = session_json.load(project.path / f"{session}.json").cases
    return case


def output_of(case: CaseReport) -> Verdict:
    return next(verdict for verdict in case.verdicts if verdict.gate == "output")


@pytest.mark.saved_afresh
def test_a_film_with_sound_is_saved_compared_and_red(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(TEST.format(target="make"))
    saved = run(project, "--diffbench-save")
    assert saved.saved is not None
    assert saved.saved.what == "created"
    assert not saved.saved.refuted
    assert saved.observation.output is not None
    assert [(part.kind, part.rate_hz) for part in saved.observation.output.parts] == [("video", 8), ("audio", 16000)]
    (folder,) = (path.parent for path in project.path.glob("**/baseline.json"))
    assert {path.name for path in folder.iterdir()} >= {"returned-0-sketches.png", "returned-1.png"}
    assert output_of(run(project, "--diffbench")).reason == "output.same_bits"
    for fault, reason, words in (
        ("frozen", "output.differs", "It is frozen from frame 3 (375 ms) on: frames 4-5 repeat it"),
        ("polarity", "output.differs", "polarity is inverted"),
        ("rate", "output.rate", "Video 'frames' has 12 per second"),
    ):
        monkeypatch.setenv("FAULT", fault)
        verdict = output_of(run(project, "--diffbench"))
        assert (verdict.reason, verdict.decision) == (reason, "worse")
        assert words in verdict.message


def test_sessions_are_judged_by_what_was_kept(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.makepyfile(TEST.format(target="make"))
    run(project, "--diffbench", "--diffbench-images=old", session="before")
    monkeypatch.setenv("FAULT", "frozen")
    run(project, "--diffbench", "--diffbench-images=new", session="after")
    files = [str(project.path / f"{name}.json") for name in ("after", "before")]
    assert cli.main(["judge", *files, "--gates", "output"]) == 1
    assert "It is frozen from frame 3" in " ".join(capsys.readouterr().out.split())
    for path in Path("old").iterdir():
        path.unlink()
    assert cli.main(["judge", *files, "--gates", "output"]) == 3
    assert "values were not kept" in " ".join(capsys.readouterr().out.split())


def test_what_is_not_recognised_is_said_at_save_and_at_check(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.format(target="text"))
    for mode in ("--diffbench-save", "--diffbench"):
        result = project.runpytest_inprocess(mode, "--diffbench-gates=output", "--diffbench-rounds=1")
        result.stdout.fnmatch_lines(["*output.unrecognised*", "*(list of 2 str): nothing of it is judged*"])
        result.assert_outcomes(passed=1)
    strict = project.runpytest_inprocess(
        "--diffbench", "--diffbench-strict", "--diffbench-gates=output", "--diffbench-rounds=1"
    )
    strict.assert_outcomes(failed=1)


def test_a_save_is_refused_only_for_a_requested_gate(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.format(target="black"))
    refused = run(project, "--diffbench-save", gates="output").saved
    assert refused is not None
    assert refused.what == "refused"
    created = run(project, "--diffbench-save", gates="work").saved
    assert created is not None
    assert created.what == "created"
