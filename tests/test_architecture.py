"""The rooms of the package and who may import whom, read from the source; and what works without torch."""

from __future__ import annotations

import ast
import dataclasses
import functools
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "pytest_diffbench"
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
LIBRARIES = frozenset({"torch", "diffusers", "transformers", "accelerate"})
LINES_AT_MOST = 450

OBSERVERS = frozenset({"pipelines", "measure"})
"""The rooms that may import the libraries."""

DOOR = frozenset(
    {
        "plugin",
        "session",
        "results",
        "child",
        "other_environment",
        "selftest",
        "saved_afresh",
        "options",
        "hookspecs",
        "naming",
        "bench",
        "suite",
    }
)
"""The modules and rooms that may import pytest."""

BARRED = {
    "pipelines": {"measure", "judge", "store", "report"},
    "measure": {"judge", "store", "report"},
    "judge": {"measure", "store", "report", "pipelines"},
    "store": {"measure", "judge", "report"},
    "report": {"measure", "store"},
    "processes": {"pipelines", "measure", "report"},
}
"""The way the data flows: pipelines -> measure -> records -> judge -> report, and never back."""


@dataclasses.dataclass(frozen=True)
class Import:
    """A module that is imported: its dotted name, the line, and whether type checkers alone see it."""

    name: str
    line: int
    typing_only: bool

    @property
    def top(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def room(self) -> str | None:
        """The part of this package that it reaches into, None for other packages."""
        return self.name.split(".")[1] if self.top == PACKAGE and "." in self.name else None


def imports_in(tree: ast.Module, module: str) -> Iterator[Import]:
    """Every import in a module's source, wherever it stands, `import_module("...")` included."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            # `from pytest_diffbench import judge` reaches into a room as `from pytest_diffbench.judge import x` does.
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == PACKAGE else [origin]
        elif ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [
                one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)
            ]
        for name in names:
            yield Import(name, node.lineno, id(node) in hidden)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path) -> list[Import]:
    """The imports of a module of the package."""
    return list(imports_in(parsed(path), ".".join(path.relative_to(ROOT).with_suffix("").parts)))


def room_of(path: Path) -> str:
    """The room or the top-level module that a file belongs to."""
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


SAMPLE = textwrap.dedent(
    """
    from __future__ import annotations
    import typing
    from typing import TYPE_CHECKING
    from importlib import import_module
    import torch.nn
    from . import siblings
    from ..store import Store
    from pytest_diffbench import records, judge
    if TYPE_CHECKING:
        import pytest
        from diffusers import DiffusionPipeline
    else:
        import accelerate
    def late():
        import_module("transformers")
    """
)


def test_every_kind_of_import_is_seen() -> None:
    found = list(imports_in(ast.parse(SAMPLE), f"{PACKAGE}.measure.sample"))
    assert {one.top for one in found if one.typing_only} == {"pytest", "diffusers"}
    assert {one.top for one in found if not one.typing_only} >= {"torch", "accelerate", "transformers"}
    assert [one.room for one in found if one.room] == ["measure", "store", "records", "judge"]


def test_all_rooms_are_known() -> None:
    rooms = {path.parent.name for path in MODULES if path.name == "__init__.py"} - {PACKAGE}
    assert rooms == set(BARRED) | {"suite", "records"}
    assert {room_of(path) for path in MODULES} >= OBSERVERS | DOOR


def test_only_pipelines_and_measure_import_the_libraries() -> None:
    offenders = [
        f"{name_of(path)}:{one.line} imports {one.name}"
        for path in MODULES
        if room_of(path) not in OBSERVERS
        for one in imports_of(path)
        if one.top in LIBRARIES and not one.typing_only
    ]
    assert offenders == []


def test_only_the_door_imports_pytest() -> None:
    offenders = [
        f"{name_of(path)}:{one.line} imports {one.name}"
        for path in MODULES
        if room_of(path) not in DOOR
        for one in imports_of(path)
        if one.top in ("pytest", "_pytest") and not one.typing_only
    ]
    assert offenders == []


def test_data_flows_one_way() -> None:
    # A type from a room further on would be a dependency on it too, so type checkers' imports count here.
    barred = {room: rooms | DOOR - {"options"} for room, rooms in BARRED.items()}
    barred["processes"] -= {"naming"}  # tests are named to other processes by their ids
    offenders = [
        f"{name_of(path)}:{one.line} imports {one.name}"
        for path in MODULES
        for one in imports_of(path)
        if one.room in barred.get(room_of(path), set())
    ]
    assert offenders == []


def test_records_rest_on_nothing_but_errors() -> None:
    for path in MODULES:
        if room_of(path) in ("records", "errors"):
            rooms = {one.room for one in imports_of(path) if one.top == PACKAGE}
            assert rooms <= {"errors", "records"} - ({"records"} if room_of(path) == "errors" else set())


@pytest.mark.parametrize(
    "module",
    ["records", "judge", "store", "report.terminal", "report.markdown", "report.session_json", "report.junit", "cli"],
)
def test_it_is_imported_where_the_libraries_and_pytest_are_absent(module: str) -> None:
    absent = sorted({*LIBRARIES, "pytest", "_pytest"})
    code = f"import sys\nfor name in {absent}: sys.modules[name] = None\nimport {PACKAGE}.{module}\nprint('imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("imported\n", 0), done.stderr


def test_a_module_says_what_it_is_for() -> None:
    first_lines = {
        name_of(path): (ast.get_docstring(parsed(path)) or "").partition("\n")[0].strip() for path in MODULES
    }
    assert [name for name, words in first_lines.items() if not words] == []


def test_a_module_is_not_too_long() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    too_long = [f"{name} has {count} lines" for name, count in lines.items() if count > LINES_AT_MOST]
    assert too_long == [], f"{LINES_AT_MOST} at most: each is two modules"
