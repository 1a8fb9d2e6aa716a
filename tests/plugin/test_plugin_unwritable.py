"""Places that can't be read or written to are reported before anything is measured."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from pytest_diffbench.store.history import SCHEMA, History

pytestmark = pytest.mark.usefixtures("real_libraries")

NO_FILES = Path("/proc/self")
"""Takes no files, whoever asks."""

OPTIONS = {
    "--diffbench-json": ("--diffbench", "--diffbench-json={place}"),
    "--diffbench-report": ("--diffbench", "--diffbench-report={place}"),
    "--diffbench-profile": ("--diffbench", "--diffbench-profile={place}"),
    "--diffbench-images": ("--diffbench", "--diffbench-images={place}"),
    "--diffbench-history": ("--diffbench", "--diffbench-history={place}"),
    "--diffbench-save": ("--diffbench-save", "--diffbench-baselines={place}"),
}
PLACES = {
    "below a file": "file/new/there",
    "with a name that is too long": f"{'x' * 300}/there",
    "that takes no files": f"{NO_FILES}/new/there",
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    # Whatever is imported or called would leave a trace.
    pytester.makepyfile(test_paint="open('begun', 'w')\ndef test_paint(diffbench):\n    diffbench(lambda: [])\n")
    (pytester.path / "file").write_text("")
    return pytester


def assert_refused(project: pytest.Pytester, result: pytest.RunResult, message: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    names = {path.name for path in project.path.iterdir()}
    assert names == {"test_paint.py", "file"}, "something was begun, or left behind"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_unwritable_place_is_refused_before_anything_is_collected(
    project: pytest.Pytester, option: str, place: str
) -> None:
    if place.startswith(str(NO_FILES)) and not NO_FILES.is_dir():
        pytest.skip("needs a folder that takes no files")
    result = project.runpytest_inprocess(
        "-p", "no:cacheprovider", *(argument.format(place=place) for argument in OPTIONS[option])
    )
    assert_refused(project, result, f"*{option}: *{Path(place).name} can't be written: *. *ame *folder*")


def test_a_folder_in_place_of_a_file_is_refused(project: pytest.Pytester) -> None:
    (project.path / "file").unlink()
    project.mkdir("file")
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "--diffbench", "--diffbench-json=file")
    assert_refused(project, result, "*--diffbench-json: *file can't be written: it is a folder. Name a file in *")


def test_a_self_test_has_to_keep_the_figures(project: pytest.Pytester) -> None:
    (project.path / ".diffbench").write_text("")
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "--diffbench-selftest")
    (project.path / ".diffbench").unlink()
    assert_refused(project, result, "*--diffbench-selftest: *.diffbench can't be written: *isn't a folder. Make it *")


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("parallel", [(), pytest.param(("-n2",), id="xdist")])
def test_baselines_that_are_no_folder_are_refused(
    project: pytest.Pytester, place: str, parallel: tuple[str, ...]
) -> None:
    result = project.runpytest_inprocess(
        *("-p", "no:cacheprovider", "--diffbench", f"--diffbench-baselines={place}", *parallel)
    )
    assert_refused(
        project, result, f"*--diffbench-baselines: *{place} can't be read: *. Name a folder of baselines.*"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no database at all", "*file: file is not a database. Give --diffbench-history another file*"),
        ("CREATE TABLE t (a)", "*file: is a database of something else. Give --diffbench-history another file*"),
        (f"PRAGMA user_version = {SCHEMA + 1}", "*file: schema * is newer than *. Upgrade pytest-diffbench*"),
    ],
    ids=["no database", "of something else", "of a newer version"],
)
@pytest.mark.parametrize("parallel", [(), pytest.param(("-n2",), id="xdist")])
def test_a_file_that_is_no_history_is_refused(
    project: pytest.Pytester, content: bytes | str, message: str, parallel: tuple[str, ...]
) -> None:
    file = project.path / "file"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.unlink()
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute(content)
    before = file.read_bytes()
    result = project.runpytest_inprocess(
        "-p", "no:cacheprovider", "--diffbench", "--diffbench-history=file", *parallel
    )
    assert_refused(project, result, f"*--diffbench-history: {message}")
    assert file.read_bytes() == before


def test_a_history_that_cannot_be_added_to_is_refused(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.path / "file"
    History(file).close()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: may(path, mode) and (mode, Path(path)) != (os.W_OK, file))
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "--diffbench", "--diffbench-history=file")
    assert_refused(project, result, "*--diffbench-history: *file can't be written: it can only be read. Make it *")


def test_folders_are_not_created_before_the_first_use(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint="def test_paint(): ...\n")
    places = (
        f"{option}={name}/new" for option, name in (("--diffbench-profile", "a"), ("--diffbench-baselines", "b"))
    )
    project.runpytest_inprocess("--diffbench-save", *places).assert_outcomes(passed=1)
    assert not {"a", "b"} & {path.name for path in project.path.iterdir()}


def test_collecting_alone_and_idle_sessions_write_nothing(project: pytest.Pytester) -> None:
    for options in (("--diffbench", "--collect-only"), ()):
        result = project.runpytest_inprocess(*options, "--diffbench-json=file/there")
        assert result.ret == pytest.ExitCode.OK
