"""`diffbench diff`: what a reviewer is told of a change of baselines, from folders and from git."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import report_records

from pytest_diffbench.commands import main as cli
from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.output.loosening import history_with
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import Acceptance, ImageFacts, Memory
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_diffbench.records import Observation

PICTURE = np.random.default_rng(0).integers(30, 220, (128, 128, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def observed(name: str, pixels: NDArray[np.uint8] = PICTURE, **changed: Any) -> Observation:
    """A case that returned one image."""
    observation = report_records.flux(name)
    assert observation.output is not None
    facts = ImageFacts(width_px=128, height_px=128, mode="RGB", constant=False, digest=image_digest(pixels))
    output = msgspec.structs.replace(observation.output, images=(facts,))
    return msgspec.structs.replace(observation, output=output, **changed)


def later(observation: Observation, name: str, factor: float = 1.0) -> Observation:
    """Measured in another process, with other times."""
    rounds = tuple(
        msgspec.structs.replace(
            timed,
            total_s=timed.total_s * factor,
            stages_s={stage: value_s * factor for stage, value_s in timed.stages_s.items()},
            steps_s=tuple(value_s * factor for value_s in timed.steps_s),
        )
        for timed in observation.run.rounds
    )
    return msgspec.structs.replace(observation, run=msgspec.structs.replace(observation.run, id=name, rounds=rounds))


def save(
    root: Path, observation: Observation, pixels: NDArray[np.uint8] = PICTURE, *, same: bool = False, **more: Any
) -> None:
    store = Store(root)
    reference = store.find(observation.case, observation.run.environment)
    store.save(observation, Artifacts(images=(pixels,)), reference, same, **more)


def diff(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.main(["diff", *arguments]) == status
    return capsys.readouterr().out


def block(out: str, name: str) -> str:
    """The lines of one case."""
    return next(part for part in re.split(r"\n(?=\w)", out) if name in part)


def changed_folders(root: Path) -> tuple[Path, Path]:
    """Baselines before and after each kind of change."""
    before, after = root / "before", root / "after"
    for name in ("kept", "repainted", "slower", "redefined", "gone"):
        save(before, observed(name))
    shutil.copytree(before, after)
    shutil.rmtree(next(after.glob("*/*gone*")))
    save(after, observed("new"))
    painted = PICTURE.copy()
    painted[20:60, 20:60] //= 2
    work = observed("repainted").work
    assert work is not None
    fewer = msgspec.structs.replace(work, denoiser=work.denoiser[:0])
    note = Acceptance(
        accepted="2026-02-01T10:00:00+00:00",
        what="created",
        generation=1,
        run="r2",
        reason="new kernel",
        command="diffbench accept ci",
    )
    looser = functools.partial(history_with, Limits(output_reason="attention in int8", latents_machine_rel=0.5))
    memory = Memory(source="cuda_allocator", peak_bytes=3 << 30)
    save(
        after,
        later(observed("repainted", painted, work=fewer, memory=memory), "r2"),
        painted,
        tolerances=looser,
        acceptance=note,
    )
    save(after, later(observed("slower"), "r3", 1.25), same=True, new_times=True)
    definition = msgspec.structs.replace(observed("redefined").case.definition, seed=7)
    redefined = observed("redefined")
    case = msgspec.structs.replace(redefined.case, definition=definition)
    save(after, later(msgspec.structs.replace(redefined, case=case), "r4"))
    return before, after


def assert_change_named(out: str) -> None:
    """That every change stands there, with its figures."""
    assert "5 baselines differ: 1 added, 1 removed, 1 redefined, 1 new generation, 1 changed" in out
    assert "kept" not in out
    assert block(out, "new").startswith("added")
    assert block(out, "gone").startswith("removed")
    repainted = " ".join(block(out, "repainted").split())  # wherever a terminal's width breaks its lines
    for words in (
        "generation 1 -> 2",
        "worse output.differs: ",
        "PSNR ",
        "work.",
        "-> 3.00 GiB (",
        "latents_rel",
        "attention in int8",
        "new kernel (diffbench accept ci)",
    ):
        assert words in repainted, words
    slower = " ".join(block(out, "slower").split())
    assert "+1, now 2 with times" in slower
    assert "(+25 %)" in slower
    assert "times count anew from a run that is new" in slower
    assert "seed 0 -> 7" in block(out, "redefined") or "-> 7" in block(out, "redefined")


def test_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = changed_folders(tmp_path)
    out = diff(capsys, str(before), str(after), "--html", str(tmp_path / "diff.html"))
    assert_change_named(out)
    page = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert out.endswith(f"{tmp_path / 'diff.html'}\n")
    assert {*re.findall(r'<figure class="pane ?([a-z]*)">', page)} >= {"base", "now", "heat", "tile"}
    assert "this baseline was removed" in page
    assert diff(capsys, str(before), str(before), "--exit-code") == "no baseline differs\n"
    diff(capsys, str(before), str(after), "--exit-code", status=1)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the same change as its last commit."""
    before, after = changed_folders(tmp_path)
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    monkeypatch.chdir(root)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    git("init", "-q")
    for folder in (before, after):
        shutil.rmtree(root / "baselines", ignore_errors=True)
        # with times of their own: git takes a file of the same size and second for the one that it knows
        shutil.copytree(folder, root / "baselines", copy_function=shutil.copy)
        git("add", "-A")
        git("commit", "-qm", folder.name)
    return root


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def test_revisions(repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = diff(capsys, "HEAD~1", "HEAD", "--", "baselines")
    assert_change_named(out)
    assert diff(capsys, "HEAD~1", "HEAD") == out
    assert diff(capsys, "HEAD~1", "baselines") == out, "the working tree"
    assert diff(capsys, "HEAD~1") == out
    assert diff(capsys, "HEAD", "HEAD") == "no baseline differs\n"
    monkeypatch.chdir(repository / "sub")
    assert diff(capsys, "HEAD~1", "HEAD", "--", "../baselines") == out
    save(repository / "baselines", observed("not committed"))
    assert "1 baseline differs: 1 added" in diff(capsys, "HEAD", "../baselines")
    assert diff(capsys, "HEAD~1", "HEAD", "../baselines", "--html=page") == out + "page/index.html\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "HEAD"], "nowhere: is neither a folder nor a git revision"),
        (["HEAD", "--upload-pack=x"], "unrecognized arguments"),
        (["HEAD:x", "HEAD"], "neither"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_outside_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", "HEAD~1", "HEAD"]) == 2
    assert "not a git repository" in capsys.readouterr().err


def test_a_missing_picture_hides_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = changed_folders(tmp_path)
    for path in after.glob("*/*repainted*/*.png"):
        path.unlink()
    out = diff(capsys, str(before), str(after), "--html", str(tmp_path / "page.html"))
    assert "is missing" in block(out, "repainted")
    assert "-> 3.00 GiB (" in block(out, "repainted")
