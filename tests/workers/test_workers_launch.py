"""A measuring process is started with the root folder, ini file and options of its session, on its tests' files."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_diffbench.session.modes.worker import Worker
from pytest_diffbench.settings import options
from pytest_diffbench.workers import exchange
from pytest_diffbench.workers.exchange import Done, Outcome
from pytest_diffbench.workers.launch import Launcher, ProcessResult, _python
from pytest_diffbench.workers.process import Ended

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def items(*paths: Path) -> Any:
    return [SimpleNamespace(path=path, nodeid=f"{path}::test") for path in paths]


def command(config: pytest.Config, folder: Path, *paths: Path, interpreter: str | None = None) -> list[str]:
    return Launcher(config).command(items(*paths), folder, interpreter)


def test_the_session_is_repeated_for_a_single_file(pytester: pytest.Pytester, tmp_path: Path) -> None:
    ini = pytester.makeini("[pytest]\naddopts = -n 2 --strict-markers\n")
    test = pytester.makepyfile("def test(): ...")
    config = pytester.parseconfig("-k", "name", "--diffbench-save", "--diffbench-rounds=7", "-p", "no:anyio", "tests")
    words = command(config, tmp_path, test, test)
    assert words[0] == sys.executable
    assert words[words.index("-m") :][:3] == ["-m", "pytest", "--diffbench"]
    assert words[-1] == str(test)
    assert words.count(str(test)) == 1
    assert {"--strict-markers", "--diffbench-rounds=7", "no:anyio", "name", "--capture=no", "addopts="} < set(words)
    assert {"-n", "--diffbench-save", "tests", "--pyargs"}.isdisjoint(words)
    assert words[words.index("-c") + 1] == str(ini)
    assert f"--rootdir={pytester.path}" in words
    assert f"cache_dir={tmp_path / 'cache'}" in words


def test_without_an_ini_file_none_is_looked_for(pytester: pytest.Pytester, tmp_path: Path) -> None:
    config = pytester.parseconfig("--rootdir", str(pytester.path), "-p", "no:cacheprovider")
    words = command(config, tmp_path, pytester.makepyfile("def test(): ..."))
    assert config.inipath is None
    assert words[words.index("-c") + 1] == str(tmp_path / "pytest.ini")
    assert f"--confcutdir={pytester.path}" in words
    assert not any(word.startswith("cache_dir=") for word in words), (
        "which would be an unknown key without its plugin"
    )


def test_a_markers_path_is_the_same_in_a_process_of_a_project_without_an_ini_file(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    test = pytester.mkpydir("inner").joinpath("test_it.py")
    test.touch()
    config = pytester.parseconfig(str(test))
    assert config.inipath is None
    marker = {"lora": "weights.safetensors"}
    own = options.resolve(config, marker, "test").lora
    words = command(config, tmp_path, test)
    child = pytester.parseconfig(*words[words.index("pytest") + 1 :])
    assert child.inipath == tmp_path / "pytest.ini"
    assert child.rootpath == config.rootpath
    assert options.resolve(child, marker, "test").lora == own == str(config.rootpath / "weights.safetensors")


def test_installed_tests_go_by_their_modules_name(pytester: pytest.Pytester, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "engine" / "tests"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    words = command(pytester.parseconfig(), tmp_path, package / "test_speed.py")
    assert words[-2:] == ["--pyargs", "engine.tests.test_speed"]

    editable = tmp_path / "editable"
    editable.mkdir()
    (editable / "__init__.py").touch()
    words = command(pytester.parseconfig("--pyargs", "editable"), tmp_path, editable / "test_speed.py")
    assert words[-2:] == ["--pyargs", "editable.test_speed"]
    words = command(pytester.parseconfig(), tmp_path, editable / "test_speed.py")
    assert words[-1] == str(editable / "test_speed.py")


def test_a_different_interpreter_inherits_nothing_of_the_current_environment(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "COV_CORE_SOURCE"):
        monkeypatch.setenv(name, "x")
    words = command(pytester.parseconfig(), tmp_path, pytester.makepyfile(""), interpreter="/other/python")
    # -P, or the shell's folder would stand before all that is installed there.
    assert words[:4] == ["/other/python", "-P", "-m", "pytest"]
    own, other = (Launcher._environment(tmp_path, interpreter) for interpreter in (None, "/other/python"))
    assert own["PYTHONPATH"] == "x"
    assert {"PYTHONPATH", "VIRTUAL_ENV"}.isdisjoint(other)
    for environment in (own, other):
        assert environment["PYTEST_DIFFBENCH_TASK"] == str(tmp_path)
        assert {"PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "COV_CORE_SOURCE"}.isdisjoint(environment)


def result_of(tmp_path: Path, *outcomes: Outcome) -> ProcessResult:
    return ProcessResult(("t.py::test",), tmp_path, Ended(0, 60.0, ""), (), outcomes, Done(tests=(), modules={}))


def test_a_missing_case_is_explained_by_the_failed_collection(tmp_path: Path) -> None:
    broken = Outcome(test="t.py", when="collect", outcome="failed", text="SyntaxError: oops")
    other = Outcome(test="t.py::test_other", when="call", outcome="failed", text="assert False")
    assert result_of(tmp_path, other, broken).case("t.py::test") == "the test wasn't found there: SyntaxError: oops"
    assert result_of(tmp_path, other).case("t.py::test") == "there is no such test"


def test_the_current_interpreter_keeps_options_and_adds_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[str] = []
    monkeypatch.setattr("subprocess._args_from_interpreter_flags", lambda: list(flags))
    monkeypatch.setattr(sys, "path", ["/somewhere"])
    assert _python(None, tmp_path) == [sys.executable, "-P"]
    flags.append("-P")
    assert _python(None, tmp_path) == [sys.executable, "-P"]
    monkeypatch.setattr(sys, "path", ["/somewhere", str(tmp_path)])
    flags.clear()
    assert _python(None, tmp_path) == [sys.executable]


def test_a_measuring_process_leaves_out_all_tests_but_the_named_tests(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.give(tmp_path, exchange.Task(tests=("test_it.py::test_b",)))
    monkeypatch.setenv(exchange.VARIABLE, str(tmp_path))
    items = pytester.getitems("def test_a(): ...\ndef test_b(): ...\ndef test_c(): ...\n")
    config = items[0].config
    left_out: list[str] = []
    monkeypatch.setattr(config.hook, "pytest_deselected", lambda items: left_out.extend(item.name for item in items))
    identities = {f"{item.path.name}::{item.name}": item for item in items}
    monkeypatch.setattr("pytest_diffbench.session.modes.worker.case_id", lambda item, _: f"test_it.py::{item.name}")
    assert len(identities) == 3
    Worker.from_environment().pytest_collection_modifyitems(config, items)
    assert exchange.VARIABLE not in os.environ  # so that a test which runs pytest itself starts no worker
    assert [item.name for item in items] == ["test_b"]
    assert left_out == ["test_a", "test_c"]
