"""`diffbench accept` leaves what `--diffbench-save` would have left, and takes nothing that a save refuses."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.measure import telemetry
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import SessionReport

pytestmark = pytest.mark.usefixtures("real_libraries")

TEST = """
import os

import numpy as np
import pytest
import torch

FAULT = os.environ.get("FAULT")
SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint(size=32):
    return [255 - SOUND if FAULT else SOUND]

def embed():
    return torch.arange(60.0).reshape(3, 20) * (2 if FAULT else 1)

@pytest.mark.diffbench(tolerance={"psnr_db": 35}, reason="drawn with other kernels")
def test_paint(diffbench):
    diffbench(paint)
    diffbench(embed, label="embed")
    assert not os.environ.get("BREAK")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    # On a busy machine a call of microseconds may wait for a processor, and then its times aren't kept.
    monkeypatch.setattr(telemetry, "waited_s", lambda *_: 0.0)
    pytester.makepyfile(test_paint=TEST)
    return pytester


def run(project: pytest.Pytester, name: str, *arguments: str) -> None:
    project.runpytest_inprocess(
        *("--diffbench", f"--diffbench-json={name}/session.json", f"--diffbench-images={name}/images"),
        *("--diffbench-rounds=2", "--diffbench-confirm=0", *arguments),
    )


def accept(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    status = cli.main(["accept", *arguments])
    return status, capsys.readouterr().out


def contents(root: Path) -> dict[str, Any]:
    """The files of all baselines: bytes, and of `baseline.json` what it holds."""
    files: dict[str, Any] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        files[str(path.relative_to(root))] = json.loads(data) if path.name == "baseline.json" else data
    return files


def without_notes(files: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in content.items() if key != "acceptances"}
        if isinstance(content, dict)
        else content
        for name, content in files.items()
    }


def notes(files: dict[str, Any]) -> list[dict[str, Any]]:
    return [note for content in files.values() if isinstance(content, dict) for note in content["acceptances"]]


def test_accepting_leaves_what_a_save_of_the_same_results_leaves(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, accepted = project.path / "saved", project.path / "accepted"
    for step, fault in enumerate(("", "1", "1", "")):
        monkeypatch.setenv("FAULT", fault)
        run(project, f"s{step}", "--diffbench-save", "--diffbench-baselines=saved")
        status, out = accept(capsys, f"s{step}", "--baselines", "accepted", "--reason", f"step {step}")
        assert status == 0, out
        assert "2 cases accepted, 0 kept, 0 refused" in out
        assert without_notes(contents(accepted)) == without_notes(contents(saved))
    assert cli.main(["check", str(accepted)]) == 0
    assert notes(contents(saved)) == []
    files = contents(accepted)
    assert {content["generation"] for content in files.values() if isinstance(content, dict)} == {3}
    what = ["created", "new_generation", "added", "new_generation"]
    assert [note["what"] for note in notes(files)] == 2 * what
    assert [note["reason"] for note in notes(files)][:4] == [f"step {step}" for step in range(4)]
    assert all(note["command"].startswith("diffbench ") for note in notes(files))


def test_what_is_measured_without_saving_makes_a_whole_baseline(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, "a", "--diffbench-save", "--diffbench-baselines=saved")
    run(project, "b", "--diffbench-baselines=accepted")
    assert accept(capsys, "b", "--baselines=accepted")[0] == 0
    saved, accepted = (contents(project.path / name) for name in ("saved", "accepted"))
    assert saved.keys() == accepted.keys()
    for name, content in saved.items():
        if not isinstance(content, dict):
            assert accepted[name] == content, name
            continue
        lacking = [key for key, value in content.items() if value and not accepted[name][key]]
        assert lacking == []
        for key in ("case", "generation", "guidance", "output", "tolerances"):
            if key != "tolerances":
                assert accepted[name][key] == content[key]
        assert [change["reason"] for change in accepted[name]["tolerances"]] == ["drawn with other kernels"]


@pytest.mark.full
def test_a_folder_of_the_page_is_enough(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--diffbench", "--diffbench-rounds=1", "--diffbench-confirm=0", "--diffbench-json=ci/s.json")
    project.runpytest_inprocess(*arguments, "--diffbench-save")
    monkeypatch.setenv("FAULT", "1")
    project.runpytest_inprocess(*arguments, "--diffbench-report=ci/page")
    shutil.move(str(project.path / "ci"), str(project.path / "artifact"))
    status, out = accept(capsys, "artifact", "-k", "paint and not embed")
    assert (status, out.count("new generation 2")) == (0, 1)
    assert accept(capsys, "artifact/s.json", "-k", "embed", "--images=artifact/page")[0] == 0
    project.runpytest_inprocess(*arguments).assert_outcomes(passed=1)
    # what is accepted twice is in the baseline once
    status, out = accept(capsys, "artifact")
    assert (status, out.count("this run is in the baseline already")) == (0, 2)


def changed(path: Path, **fields: Any) -> None:
    session: SessionReport = session_json.load(path)
    cases = tuple(msgspec.structs.replace(case, **fields) for case in session.cases)
    session_json.write(path, msgspec.structs.replace(session, cases=cases))


@pytest.mark.full
def test_what_a_save_refuses_is_refused(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BREAK", "1")
    run(project, "failed")
    monkeypatch.delenv("BREAK")
    run(project, "sound")
    project.makepyfile(test_paint=TEST.replace("255 - SOUND if FAULT else SOUND", "0 * SOUND"))
    run(project, "black")
    project.runpytest_inprocess("--diffbench", "--diffbench-json=bare/session.json", "--diffbench-rounds=1")
    shutil.copytree(project.path / "sound", project.path / "half")
    changed(project.path / "half" / "session.json", error="the device is gone")
    for name, words in {
        "failed": "refused: the test failed",
        "black": "refused: All pixels of image 0 are equal",
        "bare": "refused: its trace wasn't kept",
        "half": "refused: the measurement isn't complete",
    }.items():
        status, out = accept(capsys, name, "-k", "not embed")
        assert status == 1, name
        assert words in out
    assert not list(project.path.glob("baselines/*/*"))


@pytest.mark.parametrize("pattern", ["*.png", "trace-*", "[!t]*.safetensors"])
@pytest.mark.parametrize("damage", ["other bytes", "gone"])
def test_tampered_or_missing_files_are_refused(
    project: pytest.Pytester, capsys: pytest.CaptureFixture[str], pattern: str, damage: str
) -> None:
    run(project, "ci")
    for path in (project.path / "ci" / "images").glob(pattern):
        if damage == "gone":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[-20] ^= 1
            path.write_bytes(data)
    status, out = accept(capsys, "ci")
    assert status == 1
    assert ("aren't at hand" if damage == "gone" else "Copy it a") in out
    assert not list(project.path.glob("baselines/*/*")) or out.count("created") == 1


def test_a_folder_that_takes_no_files_is_named_with_the_option_of_the_command(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, "ci")
    monkeypatch.chdir(project.path)
    # Root may write into any folder but this one.
    for place, problem in {"/proc/self/none": "can't be written", "ci/session.json/below": "can't be "}.items():
        status, out = accept(capsys, "ci", f"--baselines={place}")
        text = " ".join(out.split())
        assert status == 1
        assert problem in text
        assert "give --baselines a" in text.lower()
        assert "--diffbench-baselines" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.json"], "nowhere.json: doesn't exist"),
        (["."], "has no file *.json"),
        (["ci", "-k", "lumina"], "no cases that match -k 'lumina'"),
        (["ci", "-k", "a and"], "a word is missing"),
        (["ci", "-k", "(a"], "a bracket isn't closed"),
        (["ci", "-k", "a b"], "'b' is too much"),
        (["ci", "--images", "nowhere"], "--images nowhere: isn't a folder"),
        (["ci", "--baselines", "ci/session.json"], "--baselines ci/session.json: isn't a folder"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import report_factories as make

    monkeypatch.chdir(tmp_path)
    session_json.write(tmp_path / "ci" / "session.json", make.all_pass())
    assert cli.main(["accept", *arguments]) == 2
    assert words in capsys.readouterr().err
