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

import pytest_diffbench as api

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "pytest_diffbench"
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
LIBRARIES = frozenset({"torch", "diffusers", "transformers", "accelerate"})
LINES_AT_MOST = 450

OBSERVERS = frozenset({"placeholders", "pipelines", "measure", "plan", "invariants"})
"""The rooms that may import the libraries."""

DOOR = frozenset({"plugin", "hookspecs", "items", "settings", "session", "suite"})
"""The modules and rooms that may import pytest."""

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "stats": set(),
    "outputs": set(),
    "records": {"errors"},
    "placeholders": {"errors"},
    "pipelines": {"errors", "placeholders", "records"},
    "measure": {"errors", "outputs", "pipelines", "placeholders", "records", "stats"},
    "plan": {"measure", "placeholders", "records"},
    "invariants": {"errors", "measure", "records"},
    "store": {"errors", "outputs", "records"},
    "judge": {"errors", "outputs", "records", "stats"},
    "report": {"errors", "judge", "outputs", "records"},
    "hookspecs": {"records"},
    "items": set(),
    "settings": {"errors", "judge", "stats"},
    "workers": {"errors", "items", "judge", "records", "settings", "store"},
    "session": {
        *("errors", "invariants", "items", "judge", "measure", "outputs", "pipelines", "plan", "records", "report"),
        *("settings", "stats", "store", "workers"),
    },
    "plugin": {"hookspecs", "items", "session", "settings"},
    "commands": {
        *("errors", "invariants", "judge", "measure", "outputs", "pipelines", "plan", "records", "report", "session"),
        *("settings", "store", "workers"),
    },
    "suite": set(),
}
"""What each room or module at the root imports, from the bottom up: none imports one that stands below it here.

Data flows pipelines -> measure -> records -> judge -> report. Everybody may import the public names of the package.
"""


@dataclasses.dataclass(frozen=True)
class Import:
    """An import: the module's dotted name, the line, whether type checkers alone see it, and what it takes."""

    name: str
    line: int
    typing_only: bool
    names: tuple[str, ...] = ()

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
        taken: tuple[str, ...] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            # `from pytest_diffbench import judge` reaches into a room as `from pytest_diffbench.judge import x` does.
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == PACKAGE else [origin]
            taken = () if origin == PACKAGE else tuple(alias.name for alias in node.names)
        elif ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [
                argument.value
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
        for name in names:
            yield Import(name, node.lineno, id(node) in hidden, taken)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path) -> list[Import]:
    """The imports of a module of the package."""
    return list(imports_in(parsed(path), ".".join(path.relative_to(ROOT).with_suffix("").parts)))


def dotted(path: Path) -> str:
    """A module's dotted name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_imported(path: Path) -> set[str]:
    """The package's own modules that a module imports when it runs, now or later."""
    modules: set[str] = set()
    for imported in imports_of(path):
        if not imported.typing_only and imported.room is not None:
            inner = {f"{imported.name}.{name}" for name in imported.names}
            modules |= inner & BY_NAME.keys()
            if inner <= BY_NAME.keys() and inner:
                continue  # `from room import module` takes nothing of the room itself
            modules |= {imported.name} & BY_NAME.keys()
    return modules


def room_of(path: Path) -> str:
    """The room or the top-level module that a file belongs to."""
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


BY_NAME = {dotted(path): path for path in MODULES}
API = ROOT / PACKAGE / "__init__.py"

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


def test_every_kind_of_import_is_noticed() -> None:
    imports = list(imports_in(ast.parse(SAMPLE), f"{PACKAGE}.measure.sample"))
    assert {imported.top for imported in imports if imported.typing_only} == {"pytest", "diffusers"}
    assert {imported.top for imported in imports if not imported.typing_only} >= {
        "torch",
        "accelerate",
        "transformers",
    }
    assert [imported.room for imported in imports if imported.room] == ["measure", "store", "records", "judge"]


def test_the_root_keeps_rooms_and_five_modules() -> None:
    assert {room_of(path) for path in MODULES} == {*MAY_IMPORT, "__init__"}
    alone = {path.stem for path in MODULES if path.parent.name == PACKAGE}
    assert alone == {"__init__", "plugin", "hookspecs", "items", "errors"}


def test_what_pytest_and_commands_share_names_no_option_of_pytest_alone() -> None:
    offenders = [
        f"{name_of(path)}:{node.lineno} {node.value!r}"
        for path in MODULES
        if room_of(path) in ("store", "pipelines", "plan", "invariants")
        for tree in [ast.parse(path.read_text("utf-8"))]
        for documented in [{id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
        if "--diffbench-" in node.value.replace("pytest --diffbench-", "")
    ]
    assert offenders == [], "say errors.option(name), or `pytest --diffbench-...` where pytest alone can do it"


def test_no_room_may_import_a_room_above() -> None:
    order = list(MAY_IMPORT)
    upward = [
        (room, other) for room in order for other in MAY_IMPORT[room] if order.index(other) >= order.index(room)
    ]
    assert upward == []


def test_only_pipelines_and_measure_import_the_libraries() -> None:
    offenders = [
        f"{name_of(path)}:{imported.line} imports {imported.name}"
        for path in MODULES
        if room_of(path) not in OBSERVERS
        for imported in imports_of(path)
        if imported.top in LIBRARIES and not imported.typing_only
    ]
    assert offenders == []


def test_only_the_door_imports_pytest() -> None:
    offenders = [
        f"{name_of(path)}:{imported.line} imports {imported.name}"
        for path in MODULES
        if room_of(path) not in DOOR
        for imported in imports_of(path)
        if imported.top in ("pytest", "_pytest") and not imported.typing_only
    ]
    assert offenders == []


def test_rooms_import_only_allowed_rooms() -> None:
    # A type from a room further on would be a dependency on it too, so type checkers' imports count here.
    public = {*api.__all__, "__version__"}
    offenders = [
        f"{name_of(path)}:{imported.line} imports {imported.name}"
        for path in MODULES
        if path != API
        for imported in imports_of(path)
        if imported.room is not None and imported.room not in MAY_IMPORT[room_of(path)] | {room_of(path)} | public
    ]
    assert offenders == []


def test_the_table_allows_nothing_unused() -> None:
    used = {(room_of(path), imported.room) for path in MODULES for imported in imports_of(path)}
    assert [
        pair for room, others in MAY_IMPORT.items() for other in others if (pair := (room, other)) not in used
    ] == []


def test_there_is_no_circle() -> None:
    graph = {dotted(path): modules_imported(path) for path in MODULES if path != API}
    # modules that import nothing of what is left are taken away, until what is left are circles
    while free := {name for name, others in graph.items() if not others & graph.keys()}:
        graph = {name: others for name, others in graph.items() if name not in free}
    assert sorted(graph) == [], "each of these imports another one of them"


@pytest.mark.parametrize(
    "module",
    [
        "records",
        "judge.judging",
        "store.checking",
        "store.pictures",
        "report.terminal",
        "report.markdown",
        "report.session_json",
        "report.junit",
        "commands.main",
    ],
)
def test_the_package_is_imported_where_the_libraries_and_pytest_are_absent(module: str) -> None:
    absent = sorted({*LIBRARIES, "pytest", "_pytest"})
    code = f"import sys\nfor name in {absent}: sys.modules[name] = None\nimport {PACKAGE}.{module}\nprint('imported')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("imported\n", 0), done.stderr


def test_a_module_states_the_purpose() -> None:
    first_lines = {
        name_of(path): (ast.get_docstring(parsed(path)) or "").partition("\n")[0].strip() for path in MODULES
    }
    assert [name for name, words in first_lines.items() if not words] == []


def test_a_module_is_not_too_long() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    too_long = [f"{name} has {count} lines" for name, count in lines.items() if count > LINES_AT_MOST]
    assert too_long == [], f"{LINES_AT_MOST} at most: each is two modules"


WORDED = frozenset({"message", "changes", "why", "text", "remarks", "notes"})
"""Attributes that hold sentences."""


def test_no_sentence_is_parsed() -> None:
    offenders = []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            sides: list[ast.expr] = []
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
                sides = node.comparators
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                parses = node.func.attr in ("startswith", "endswith", "removeprefix", "removesuffix", "partition")
                sides = [node.func.value] if parses else []
            offenders += [
                f"{name_of(path)}:{node.lineno} parses {ast.unparse(side)}"  # type: ignore[attr-defined]
                for side in sides
                if isinstance(side, ast.Attribute) and side.attr in WORDED
            ]
    assert offenders == []


def test_records_hold_no_untyped_figures() -> None:
    untyped = [
        f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
        for path in MODULES
        if room_of(path) == "records"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.AnnAssign)
        and "Any" in ast.unparse(node.annotation)
        and ast.unparse(node.target) != "arguments"  # the user's own
    ]
    assert untyped == []
