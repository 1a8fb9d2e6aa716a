"""`--diffbench-report`: the page that a session leaves, with the pictures of both sides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pytest_diffbench.commands import main as cli
from pytest_diffbench.store.history import History

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries")

TEST = """
import os

import numpy as np

PICTURE = (np.mgrid[0:64, 0:64][0] * 3).astype(np.uint8)[..., None].repeat(3, 2)

def paint():
    picture = PICTURE.copy()
    if os.environ.get("FAULT"):
        picture[20:40, 10:50] = 0
    return picture

def test_it(diffbench):
    diffbench(paint)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-gates=output", "--diffbench-rounds=1", *arguments)


def panes(page: Path) -> list[str]:
    """What is shown of the picture."""
    return re.findall(r'<figure class="pane ?([a-z]*)">', page.read_text(encoding="utf-8"))


def test_both_sides_are_shown_also_of_a_save(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(project, "--diffbench-save", "--diffbench-report=first.html")
    result.stdout.fnmatch_lines([f"report *{project.path / 'first.html'}"])
    assert panes(project.path / "first.html") == ["now"]

    monkeypatch.setenv("FAULT", "1")
    run(project, "--diffbench", "--diffbench-report=red").assert_outcomes(failed=1)
    assert panes(project.path / "red" / "index.html") == ["base", "now", "heat", "tile"]
    assert (project.path / "red" / "data").is_dir()

    run(project, "--diffbench-save", "--diffbench-report=accepted.html").assert_outcomes(passed=1)
    assert panes(project.path / "accepted.html") == ["base", "now", "heat", "tile"], "the baseline that it replaced"

    run(project, "--diffbench", "--diffbench-report=green.html").assert_outcomes(passed=1)
    assert panes(project.path / "green.html") == [""]
    assert not list(project.path.glob(".*pictures"))


@pytest.mark.parametrize("side_px", [64, 128], ids=["one tile", "several tiles"])
def test_no_picture_is_encoded_twice(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, side_px: int) -> None:
    project.makepyfile(TEST.replace("0:64, 0:64", f"0:{side_px}, 0:{side_px}").replace("* 3", f"* {192 // side_px}"))
    run(project, "--diffbench-save")
    monkeypatch.setenv("FAULT", "1")
    encoded: list[tuple[str, tuple[int, int], bytes]] = []
    save = Image.Image.save

    def counted(picture: Image.Image, *arguments: Any, **options: Any) -> None:
        encoded.append((picture.mode, picture.size, picture.tobytes()))
        save(picture, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", counted)
    run(project, "--diffbench", "--diffbench-report=red", "--diffbench-images=images").assert_outcomes(failed=1)
    assert panes(project.path / "red" / "index.html") == ["base", "now", "heat", "tile"]
    assert [(mode, size) for mode, size, _ in encoded].count(("RGB", (side_px, side_px))) == 2
    assert len(set(encoded)) == len(encoded)
    shown = [np.array(Image.open(path)) for path in (project.path / "red" / "data").iterdir()]
    (kept,) = (project.path / "images").glob("*.png")
    assert any(np.array_equal(picture, np.array(Image.open(kept))) for picture in shown)


def test_stored_results_make_the_same_page(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, "--diffbench-save")
    monkeypatch.setenv("FAULT", "1")
    run(project, "--diffbench", "--diffbench-json=s.json", "--diffbench-images=images", "--diffbench-report=r.html")
    files = (str(project.path / "s.json"), str(project.path / "baselines"))
    assert cli.main(["report", files[0], "--baselines", files[1], "-o", "again.html"]) == 0
    assert cli.main(["judge", *files, "--gates=output", "--report=judged.html"]) == 1
    assert "judged.html" in capsys.readouterr().out
    for name in ("r.html", "again.html", "judged.html"):
        assert panes(project.path / name) == ["base", "now", "heat", "tile"], name


def test_an_unwritable_page_fails_the_session(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makeconftest("import pathlib\ndef pytest_sessionstart(): pathlib.Path('r.html').mkdir()")
    result = run(project, "--diffbench-save", "--diffbench-report=r.html")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*--diffbench-report: *r.html: can't be written*"])


def test_a_session_is_added_to_a_history(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save", "--diffbench-history=h/history.sqlite").assert_outcomes(passed=1)
    project.makeini("[pytest]\ndiffbench_history = h/history.sqlite\n")
    run(project, "--diffbench").assert_outcomes(passed=1)
    with History(project.path / "h" / "history.sqlite", create=False) as history:
        first, second = history.runs()
    assert (first.saved, second.saved) == ("created", None)
    assert second.figures["output.psnr_db"] == second.figures["origin.psnr_db"] == 200.0
    project.makeconftest(
        "import pathlib\ndef pytest_sessionstart(): pathlib.Path('h/history.sqlite').write_text('x' * 4096)"
    )
    result = run(project, "--diffbench")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*--diffbench-history: *history.sqlite: file is not a database*"])
