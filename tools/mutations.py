"""Plants small defects in the package, and counts which of them the tests find.

    python tools/mutations.py plant FOLDER [--each 10] [--seed 1]   a copy of the checkout that holds all of them
    python tools/mutations.py record FOLDER [PYTEST ARGUMENTS]      which tests come by which defect
    python tools/mutations.py run FOLDER [--only N ...] [--tests PATH ...]   each, against the tests that met it

A defect is a comparison that lost or gained its edge, a sign or an operator turned round, a limit moved, a branch
that is never taken, `and` for `or`. Ten are drawn for each folder of the package by a fixed seed. All stand in the
copy at once, asleep; a variable wakes one, so that they needn't be installed one after the other.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "pytest_diffbench"
AT_FIRST = 40
"""Tests that a defect meets first; all others that came by it follow where these don't find it."""

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*"}

AT = '''"""Answers for each planted defect whether it is awake."""

import os

AWAKE = os.environ.get("MUTANT")
RECORD = os.environ.get("MUTANTS_RECORD")
_met = set()


def at(number, sound, defect):
    if AWAKE is None and RECORD is None:
        return defect() if os.environ.get("MUTANT") == str(number) else sound()
    if AWAKE == str(number):
        return defect()
    if RECORD is not None:
        met = (number, os.environ.get("MUTANTS_TEST", ""))
        if met not in _met:
            _met.add(met)
            with open(RECORD, "a") as file:
                file.write(f"{number}\\t{met[1]}\\n")
    return sound()


def pytest_runtest_protocol(item):
    os.environ["MUTANTS_TEST"] = item.nodeid


def pytest_runtest_makereport(item, call):
    if RECORD is not None and call.when == "call":
        with open(RECORD, "a") as file:
            file.write(f"cost\\t{item.nodeid}\\t{call.duration}\\n")
'''


class Defect(NamedTuple):
    """One defect.

    Attributes:
        path: of the file, from the checkout's root.
        line: where it starts.
        begin: first character of what is replaced, in bytes of the file.
        end: the one behind it.
        text: what stands there instead.
        at_import: whether it takes effect when the module is imported.
    """

    path: str
    line: int
    begin: int
    end: int
    text: str
    at_import: bool


def defects_in(path: Path) -> Iterator[Defect]:
    """All defects that could be planted in a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def make(node: ast.expr, text: str, *, at_import: bool) -> Defect:
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return Defect(path.relative_to(ROOT).as_posix(), node.lineno, begin, end, text, at_import)

    def visit(node: ast.AST, inside: bool) -> Iterator[Defect]:  # noqa: PLR0912 - one branch for each kind of defect
        if isinstance(node, ast.JoinedStr | ast.MatchValue) or _is_for_type_checkers(node):
            return
        if isinstance(node, ast.expr) and not _is_safe(node):
            return
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]) if inside:
                text = f"({ast.unparse(left)}) {COMPARISONS[type(operator)]} ({ast.unparse(right)})"
                yield make(node, text, at_import=False)
            case ast.BinOp(left=left, op=operator, right=right) if inside and type(operator) in OPERATORS:
                if not isinstance(left, ast.JoinedStr):
                    text = f"({ast.unparse(left)}) {OPERATORS[type(operator)]} ({ast.unparse(right)})"
                    yield make(node, text, at_import=False)
            case ast.BoolOp(op=operator, values=values) if inside:
                word = " or " if isinstance(operator, ast.And) else " and "
                yield make(node, word.join(f"({ast.unparse(value)})" for value in values), at_import=False)
            case ast.If(test=test) if inside and _is_safe(test):
                yield make(test, "False", at_import=False)
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as value):
                yield make(node, repr(value * 2 + 1), at_import=not inside)
        for name, field in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "slice", "keywords_"):
                continue
            within = inside or (isinstance(node, ast.FunctionDef) and name == "body")
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from visit(child, within)

    yield from visit(ast.parse(source), False)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _is_safe(node: ast.AST) -> bool:
    """Whether an expression means the same within a `lambda`."""
    unsafe = (ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await, ast.Starred)
    return not any(
        isinstance(part, unsafe) or (isinstance(part, ast.Name) and part.id in ("super", "locals"))
        for part in ast.walk(node)
    )


def draw(count: int, seed: int) -> list[Defect]:
    """Draw defects, as many for each folder of the package, no two of which overlap."""
    rooms: dict[str, list[Path]] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        inside = path.relative_to(ROOT / PACKAGE).parts
        rooms.setdefault(inside[0] if len(inside) > 1 else "", []).append(path)
    chosen: list[Defect] = []
    for room, paths in sorted(rooms.items()):
        possible = [defect for path in paths for defect in defects_in(path)]
        random.Random(f"{seed} {room}").shuffle(possible)
        room_defects: list[Defect] = []
        for defect in possible:
            if len(room_defects) < count and not any(
                other.path == defect.path and other.begin < defect.end and defect.begin < other.end
                for other in room_defects
            ):
                room_defects.append(defect)
        chosen += room_defects
    return chosen


def plant(folder: Path, count: int, seed: int) -> None:
    """Make a copy of the checkout with defects in it, and their list beside it."""
    defects = draw(count, seed)
    shutil.copytree(
        ROOT, folder / "tree", ignore=shutil.ignore_patterns(".venv", "__pycache__", ".git"), symlinks=True
    )
    (folder / "tree" / "mutants.py").write_text(AT, encoding="utf-8")
    for path in {defect.path for defect in defects}:
        source = (ROOT / path).read_bytes()
        there = sorted(
            (numbered for numbered in enumerate(defects) if numbered[1].path == path),
            key=lambda numbered: -numbered[1].begin,
        )
        for number, defect in there:
            sound = source[defect.begin : defect.end].decode()
            call = f'__import__("mutants").at({number}, lambda: ({sound}), lambda: ({defect.text}))'
            source = source[: defect.begin] + call.encode() + source[defect.end :]
        compile(source, path, "exec")
        (folder / "tree" / path).write_bytes(source)
    listed = [
        defect._asdict() | {"sound": (ROOT / defect.path).read_bytes()[defect.begin : defect.end].decode()}
        for defect in defects
    ]
    (folder / "defects.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")
    print(f"{len(defects)} defects in {folder / 'tree'}")


def environment_of(folder: Path, **variables: str) -> dict[str, str]:
    """Variables of a test run in the copy. A test that costs too much hasn't found anything."""
    own = {"PYTHONPATH": str(folder / "tree"), "OMP_NUM_THREADS": "1", "DIFFBENCH_TEST_LIMIT_S": "1000"}
    return os.environ | own | variables


def record(folder: Path, arguments: list[str]) -> int:
    """Run tests with every defect asleep, and keep which come by which."""
    variables = {"MUTANTS_RECORD": str(folder / "met.tsv")}
    command = [sys.executable, "-m", "pytest", "-p", "mutants", *arguments]
    return subprocess.run(
        command, cwd=folder / "tree", env=environment_of(folder, **variables), check=False
    ).returncode


def met(folder: Path) -> dict[int, list[str]]:
    """Tests that came by each defect, the quick ones first; all tests where it takes effect at an import."""
    defects = json.loads((folder / "defects.json").read_text(encoding="utf-8"))
    tests_by_defect: dict[int, set[str]] = {number: set() for number in range(len(defects))}
    costs: dict[str, float] = {}
    for line in (folder / "met.tsv").read_text(encoding="utf-8").splitlines():
        first, test, *rest = line.split("\t")
        if first == "cost":
            costs[test] = float(rest[0])
        elif test:
            tests_by_defect[int(first)].add(test)
    tests_by_defect |= {number: set(costs) for number, defect in enumerate(defects) if defect["at_import"]}
    # A room's own tests are the likeliest to find it: they go first among tests that cost about the same.
    return {
        number: sorted(
            tests,
            key=lambda test: (
                defects[number]["at_import"] and not _is_of(test, defects[number]["path"]),
                round(costs.get(test, 1.0), 1),
                not _is_of(test, defects[number]["path"]),
            ),
        )
        for number, tests in tests_by_defect.items()
    }


def _is_of(test: str, path: str) -> bool:
    """Whether a test stands in the folder, or the module, that is named after a file's room."""
    return Path(path).parts[1].removesuffix(".py") in test.split("::", maxsplit=1)[0].replace("_", "/").split("/")


def find(folder: Path, number: int, tests: list[str], python: str) -> str | None:
    """The first test that finds a defect, or how the run broke; None where none does."""
    for part in (tests[:AT_FIRST], tests[AT_FIRST:]):
        if not part:
            continue
        command = [
            python,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "mutants",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *part,
        ]
        variables = environment_of(folder, MUTANT=str(number))
        limit_s = 400 + len(part) // 2
        try:
            done = subprocess.run(
                command,
                cwd=folder / "tree",
                env=variables,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it ran for more than {limit_s} s"
        if done.returncode != 0:
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
            if not failed and (done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED or "not found:" in done.stderr):
                raise RuntimeError(f"no test was run: {done.stdout[-300:]}{done.stderr[-300:]}")
            return failed[-1] if failed else f"status {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"
    return None


def run(folder: Path, only: list[int], given: list[str], most: int, out: str) -> None:
    """Wake each defect, and say which test finds it."""
    defects = json.loads((folder / "defects.json").read_text(encoding="utf-8"))
    tests = dict.fromkeys(range(len(defects)), given) if given else met(folder)
    finders: dict[int, str | None] = {}

    def run_defect(number: int) -> None:
        chosen = tests[number][:most]
        # What takes effect at an import needs an interpreter that has imported nothing.
        python = sys.executable if defects[number]["at_import"] else str(warm.executable)
        finders[number] = find(folder, number, chosen, python)
        defect = defects[number]
        what = f"{defect['path']}:{defect['line']} `{defect['sound'][:60]}` -> `{defect['text'][:60]}`"
        said = finders[number] or "NOT FOUND"
        print(f"{number:3} {len(chosen):4} tests  {what}  {said[:200]}", flush=True)

    sys.path.insert(0, str(folder / "tree" / "tests" / "helpers"))
    from warm_python import WarmPython

    with tempfile.TemporaryDirectory(prefix="warm-") as scratch, concurrent.futures.ThreadPoolExecutor(2) as pool:
        warm = WarmPython.start(Path(scratch))
        list(pool.map(run_defect, only or range(len(defects))))
        warm.stop()
    (folder / out).write_text(json.dumps(finders, indent=1), encoding="utf-8")
    print(f"{sum(map(bool, finders.values()))} of {len(finders)} found")


def main() -> None:
    """Plant, record or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plant", "record", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="+", default=[])
    parser.add_argument("--tests", nargs="+", default=[])
    parser.add_argument("--most", type=int, default=10_000, help="tests that a defect meets at most, the cheapest")
    parser.add_argument("--out", default="found.json")
    options, rest = parser.parse_known_args()
    folder = options.folder.resolve()
    if options.what == "plant":
        plant(folder, options.each, options.seed)
    elif options.what == "record":
        sys.exit(record(folder, rest))
    else:
        run(folder, options.only, options.tests, options.most, options.out)


if __name__ == "__main__":
    main()
