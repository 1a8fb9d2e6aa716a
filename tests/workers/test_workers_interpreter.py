"""An interpreter that can't measure is refused at once, with the reason and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_environments import make_environment

from pytest_diffbench import __version__
from pytest_diffbench.errors import OptionError
from pytest_diffbench.workers.exchange import PROTOCOL
from pytest_diffbench.workers.interpreter import checked_interpreter

ANSWER = '#!/bin/sh\necho \'{"version": %s, "protocol": %s, "registered": %s, "problem": "No module named x"}\'\n'


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "python"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def test_the_current_environments_own_interpreter_is_accepted_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_environment(tmp_path / "base")
    assert checked_interpreter(str(base), Path.cwd()) == str(base)
    # Through the link that makes it the environment's, never to where that leads.
    assert checked_interpreter("base/bin/python", tmp_path) == str(base)
    monkeypatch.setenv("PATH", str(base.parent))
    assert checked_interpreter("python", Path("/")) == str(base)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere/python",
            "nowhere/python doesn't exist. Name the interpreter of another environment; `diffbench env",
        ),
        ("nowhere", "nowhere doesn't exist"),
        ("gone", "gone is a link to nowhere"),
        ("folder", "folder is a folder. Name the interpreter of another environment; `diffbench env"),
        ("base", "base is a folder. Name the interpreter of another environment: .*base/bin/python."),
        ("plain.txt", "plain.txt isn't executable"),
    ],
)
def test_what_is_no_program_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "gone").symlink_to(tmp_path / "never")
    (tmp_path / "base" / "bin").mkdir(parents=True)
    (tmp_path / "base" / "bin" / "python").touch()
    with pytest.raises(OptionError, match=f"^--diffbench-against: .*{message}"):
        checked_interpreter(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a program\n", "doesn't answer like Python 3.11 or newer|can't be run"),
        ("#!/bin/sh\necho 'unknown option -P' >&2; exit 2\n", r"newer \(unknown option -P\)\. Name the interpreter"),
        ("#!/bin/sh\nexit 0\n", r"\(it says nothing\)"),
        ("#!/bin/sh\necho '[1]'\n", "doesn't answer"),
        ("#!/nowhere/sh\n", "can't be run"),
        (
            ANSWER % ("null", "null", "false"),
            "has no pytest-diffbench .No module named x.. Install it: .*python -m pip",
        ),
        (
            ANSWER % ('"0.0.1"', "null", "true"),
            rf"has pytest-diffbench 0.0.1, this environment has {__version__}. .*pytest-diffbench=={__version__}",
        ),
        (
            ANSWER % (f'"{__version__}"', PROTOCOL + 1, "true"),
            f"protocol {PROTOCOL + 1}, not {PROTOCOL}.*install the same build there",
        ),
        (ANSWER % (f'"{__version__}"', "null", "true"), "protocol None"),
        (ANSWER % (f'"{__version__}"', PROTOCOL, "false"), "isn't installed there, so pytest doesn't find it"),
    ],
)
def test_a_program_unfit_for_measuring_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        checked_interpreter(script(tmp_path, text), tmp_path)


def test_an_environment_without_the_plugin_is_refused(tmp_path: Path) -> None:
    bare = make_environment(tmp_path / "bare", libraries=False)
    with pytest.raises(OptionError, match=r"has no pytest-diffbench \(No module named 'pytest'\)"):
        checked_interpreter(str(bare), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--diffbench-against=nowhere"], "*--diffbench-against: *nowhere doesn't exist*"),
        (
            ["--diffbench-against=~nobody-here/python"],
            "*--diffbench-against: ~nobody-here/python starts with the home*",
        ),
        (["--diffbench-confirm=-1"], "*--diffbench-confirm is a whole number, at least 0, not '-1'*"),
        (["--diffbench-pairs=0"], "*--diffbench-pairs is a whole number, at least 1*"),
        (["--diffbench-max-time=0"], "*--diffbench-max-time is a positive number of seconds*"),
        (["--diffbench-max-time=nan"], "*--diffbench-max-time is a positive number of seconds*"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[-1].partition("=")[0],
)
def test_what_cannot_be_used_is_a_usage_error(
    pytester: pytest.Pytester, arguments: list[str], message: str, real_libraries: None
) -> None:
    pytester.makepyfile("def test_it(diffbench): ...")
    result = pytester.runpytest_inprocess("--diffbench", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
