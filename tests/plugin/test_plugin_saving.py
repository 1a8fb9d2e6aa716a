"""What is saved, and what a session says of results that disagree or are gone: through pytest, as a user sees it."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_diffbench.records import CaseReport

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TARGET = """
import os

import numpy as np
import pytest

FAULT = os.environ.get("FAULT")
SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint(size=32):
    return [SOUND]
"""
PLAIN_TEST = "def test_paint(diffbench):\n    diffbench(paint)\n"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(test_paint=TARGET + PLAIN_TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-json=session.json", *arguments)


def cases(project: pytest.Pytester) -> list[CaseReport]:
    return list(session_json.load(project.path / "session.json").cases)


def reasons(case: CaseReport) -> dict[str, str]:
    return {verdict.gate: verdict.reason for verdict in case.verdicts}


def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take longer than the one before, and now and then much longer."""
    pace = itertools.cycle([50_000_000, 90_000_000, 50_000_000, 240_000_000, 60_000_000])

    def ticks() -> Iterator[int]:
        now = 1
        for step in pace:
            now += step
            yield now

    clock = ticks()
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(clock))


@pytest.mark.parametrize("gates", [(), ("--diffbench-gates=work,guidance,output",)], ids=["all", "without time"])
def test_a_restless_machine_keeps_nothing_but_the_times_from_being_saved(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, gates: tuple[str, ...]
) -> None:
    with monkeypatch.context() as patch:
        restless(patch)
        result = run(project, "--diffbench-save", *gates)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 created*", "not timed     test_paint.py::test_paint: *stead*"])
    result.stdout.no_fnmatch_line("not saved *")
    (case,) = cases(project)
    assert saved_text(case.saved) == "created"
    assert case.times_left_out is not None

    run(project, "--diffbench", *gates).assert_outcomes(passed=1)
    (case,) = cases(project)
    assert reasons(case)["output"] == "output.same_bits"
    if not gates:
        assert reasons(case)["time"] == "time.no_baseline"


def test_variants_are_saved_together(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(
        test_paint=TARGET
        + "def test_paint(diffbench):\n"
        + "    diffbench.compare(paint, variants={'a': {}, 'b': {'size': 16}}, precision_rel=9)\n"
    )
    with monkeypatch.context() as patch:
        restless(patch)
        run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert [saved_text(case.saved) for case in cases(project)] == ["created", "created"]


@pytest.mark.parametrize(
    ("gone", "reason", "words"),
    [
        ("None", "output.lost", "NoneType isn't an image"),
        ("[]", "output.lost", "it is empty"),
        ("'a picture'", "output.lost", "str isn't an image"),
        ("SOUND.astype(float)", "output.lost", "The baseline has 1 image, this run tensor '0' (32 x 32 x 3)"),
        ("SOUND[None, None].astype('float32') / 255", "output.lost", "this run video '0' (1 frame of 32 x 32 px)"),
        ("{'result': 3}", "output.lost", "isn't an image"),
        ("[SOUND, SOUND]", "output.count", "The baseline has 1 image, this run 2 images"),
    ],
)
def test_a_missing_image_is_red(project: pytest.Pytester, gone: str, reason: str, words: str) -> None:
    run(project, "--diffbench-save", "--diffbench-rounds=1").assert_outcomes(passed=1)
    project.makepyfile(test_paint=TARGET + f"def paint(size=32):\n    return {gone}\n" + PLAIN_TEST)
    run(project, "--diffbench", "--diffbench-rounds=1").assert_outcomes(failed=1)
    (case,) = cases(project)
    assert reasons(case)["output"] == reason
    assert words in next(verdict.message for verdict in case.verdicts if verdict.gate == "output")


def test_a_test_without_a_run_is_a_single_sentence(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "async def later():\n    return [SOUND]\n" + PLAIN_TEST.replace("paint)", "later)")
    )
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*returned a coroutine, which hasn't run: nothing of it was measured*"])
    assert not (project.path / "baselines").exists()


@pytest.mark.parametrize("differing", ["first", "last", "every other"])
def test_disagreeing_calls_are_red_and_named(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, differing: str
) -> None:
    wrong = {"first": "n == 1", "last": "n >= 5", "every other": "n % 2 == 0"}[differing]
    project.makepyfile(
        test_paint=TARGET
        + "calls = []\n"
        + "def changing():\n"
        + "    calls.append(0)\n"
        + "    n = len(calls)\n"
        + f"    return [255 - SOUND if FAULT and {wrong} else SOUND]\n"
        + "def test_paint(diffbench):\n    calls.clear()\n    diffbench(changing)\n"
    )
    gates = "--diffbench-gates=output"
    run(project, "--diffbench-save", gates).assert_outcomes(passed=1)
    monkeypatch.setenv("FAULT", "1")
    result = run(project, "--diffbench", gates)
    result.assert_outcomes(failed=1)
    (case,) = cases(project)
    (verdict,) = case.verdicts
    assert verdict.reason == "output.nondeterministic"
    words = {"first": "the first (survey) differs from", "last": "round", "every other": "warm-up 1, round 2"}[
        differing
    ]
    assert words in verdict.message
    # at the first save it is said as well
    for path in sorted((project.path / "baselines").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    run(project, "--diffbench-save", gates)
    (case,) = cases(project)
    assert any("disagree" in change for verdict in case.verdicts for change in verdict.changes)


def test_parallel_processes_save_all_but_their_times(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save", "-n2", "--diffbench-rounds=1").assert_outcomes(passed=1)
    (case,) = cases(project)
    assert (saved_text(case.saved), case.times_left_out) == (
        "created",
        "2 test processes ran at once and slowed each other down.",
    )


SLIDING = """
import os

import numpy as np

FRACTIONS = np.random.default_rng(0).random((64, 64, 3))

def paint(size=64):
    base = np.tile(np.arange(64)[:, None, None] * 2, (1, 64, 3))
    return [np.floor(base + FRACTIONS + float(os.environ["SHIFT"])).astype(np.uint8)]

def test_paint(diffbench):
    diffbench(paint)
"""


@pytest.mark.full
def test_a_slide_by_accepted_steps_is_reported_when_saved(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(test_paint=SLIDING)
    done = []
    for step in range(7):
        monkeypatch.setenv("SHIFT", str(0.9 * step))
        result = run(pytester, "--diffbench-save", "--diffbench-rounds=1")
        result.assert_outcomes(passed=1)
        (case,) = cases(pytester)
        done.append((saved_text(case.saved), case.slid is not None))
    assert [said for _, said in done] == [False] * 4 + [True] * 3, done
    assert [what for what, _ in done[::2]] == ["created", *(f"new generation {n}" for n in (2, 3, 4))]
    assert all((what or "").startswith(("added run", "kept")) for what, _ in done[1::2]), done
    assert case.slid is not None
    assert case.slid.startswith("since generation 1 (20")
    assert "colour shift of image 0 at least 5.4/255 (limit per step 1)" in case.slid
    result.stdout.fnmatch_lines(["slid          test_paint.py::test_paint: since generation 1 (*"])

    # what a person who means it is told to do
    assert case.baseline_path is not None
    assert f"delete {case.baseline_path} and save" in case.slid
    shutil.rmtree(case.baseline_path)
    run(pytester, "--diffbench-save", "--diffbench-rounds=1")
    (case,) = cases(pytester)
    assert (saved_text(case.saved), case.slid) == ("created", None)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [(Path.unlink, "is missing"), (lambda path: os.truncate(path, path.stat().st_size // 2), "is cut short")],
    ids=["missing", "cut short"],
)
def test_an_unusable_image_that_nothing_needed_is_told_of(
    project: pytest.Pytester, damage: Callable[[Path], None], problem: str
) -> None:
    run(project, "--diffbench-save", "--diffbench-rounds=1")
    (image,) = project.path.glob("baselines/*/*/image-0.png")
    damage(image)
    result = run(project, "--diffbench", "--diffbench-rounds=1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["damaged *test_paint.py::test_paint: *"])
    (case,) = cases(project)
    assert reasons(case)["output"] == "output.same_bits"
    assert case.baseline_damage is not None
    assert case.baseline_damage.startswith(f"{image} {problem}")
    assert "No verdict needed it" in case.baseline_damage
    assert "Restore it from version control" in case.baseline_damage
    project.makepyfile(test_paint=TARGET.replace("* 5", "* 4") + PLAIN_TEST)
    shutil.rmtree(image.parent)
    run(project, "--diffbench-save", "--diffbench-rounds=1")
    run(project, "--diffbench", "--diffbench-rounds=1").assert_outcomes(passed=1)
    assert cases(project)[0].baseline_damage is None


def test_images_are_kept_for_judging_later(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "new"):
        project.runpytest_inprocess(
            "--diffbench",
            "--diffbench-rounds=1",
            f"--diffbench-json={name}/session.json",
            f"--diffbench-images={name}/images",
        )
        project.makepyfile(test_paint=TARGET.replace("* 5", "* 4") + PLAIN_TEST)
    assert [len(list((project.path / name / "images").glob("*.png"))) for name in ("old", "new")] == [1, 1]
    monkeypatch.chdir(project.path)
    gates = ["--gates", "output"]
    assert cli.main(["judge", "old/session.json", "old/session.json", *gates]) == 0
    assert cli.main(["judge", "new/session.json", "old/session.json", *gates]) == 1
    shutil.rmtree("old/images")
    assert cli.main(["judge", "new/session.json", "old/session.json", *gates]) == 3


def test_unkeepable_images_fail_the_test(project: pytest.Pytester) -> None:
    # After the session has looked, and found that it could be written to.
    project.makeconftest("def pytest_collection_finish():\n    open('taken', 'w').close()\n")
    result = run(project, "--diffbench-save", "--diffbench-images=taken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*taken: can't be written*Make it writable, or name another folder*"])
