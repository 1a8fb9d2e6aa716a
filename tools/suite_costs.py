"""What a test run's seconds are made of: imports, processes, pipelines, inner sessions, rounds, waiting.

    python -m pytest -p suite_costs --suite-costs costs.jsonl
    python tools/suite_costs.py costs.jsonl

The first writes one line a test and one for every Python process that a test starts; the second prints tables.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pytest

HEAVY = ("torch", "diffusers", "transformers", "scipy", "numpy", "accelerate")
TABLE_KEYS = (
    "wall_s",
    "processor_s",
    "import_s",
    "processes",
    "process_s",
    "inner_sessions",
    "pipelines",
    "calls",
    "call_s",
)
TARGETS = {
    "pytest_diffbench.measure.rounds": {"Caller.call": "calls", "TimedRound.run": "calls"},
    "diffusers.pipelines.pipeline_utils": {"DiffusionPipeline.register_modules": "pipelines"},
    "pytest_diffbench.pipelines.mini": {"build_mini": "pipelines"},
}


class Counters:
    """Counts and wall seconds of this process, nested ones counted once a kind."""

    def __init__(self) -> None:
        self.values: collections.Counter[str] = collections.Counter()
        self._depth: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def timed(self, count: str, seconds: str) -> Iterator[None]:
        """Count what runs inside, and add its wall time where it isn't inside another of its kind."""
        self._depth[seconds] += 1
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._depth[seconds] -= 1
            if not self._depth[seconds]:
                self.values[count] += 1
                self.values[seconds] += time.perf_counter() - begin  # type: ignore[assignment]  # seconds are a float

    def wrap(self, function: Callable[..., Any], count: str, seconds: str) -> Callable[..., Any]:
        """A function that counts its calls."""

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.timed(count, seconds):
                return function(*args, **kwargs)

        return counted


def count_imports(counters: Counters) -> None:
    """Time every outermost import that isn't answered from `sys.modules`."""
    import _frozen_importlib as bootstrap

    bootstrap._find_and_load = counters.wrap(  # type: ignore[attr-defined]  # where every kind of import passes
        bootstrap._find_and_load,  # type: ignore[attr-defined]  # as above
        "imports",
        "import_s",
    )


def watch_process(file: str) -> None:
    """In a process that a test started: leave one line at its end."""
    counters = Counters()
    count_imports(counters)
    begin = time.perf_counter()

    def leave() -> None:
        spent = os.times()
        line = {
            "process": os.getpid(),
            "wall_s": time.perf_counter() - begin,
            "processor_s": spent.user + spent.system,
            "argv": [*map(str, sys.argv[:4])],
            "heavy": [name for name in HEAVY if name in sys.modules],
            **counters.values,
        }
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    atexit.register(leave)


class Costs:
    """Writes one line a test."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counters = Counters()
        self._patched: set[str] = set()
        count_imports(self._counters)
        self._count_processes()

    def _count_processes(self) -> None:
        import subprocess

        self._counters_of(subprocess.Popen, "__init__", "processes", "process_start_s")
        self._counters_of(subprocess.Popen, "wait", "process_waits", "process_s")
        self._counters_of(subprocess.Popen, "communicate", "process_waits", "process_s")
        from _pytest.pytester import Pytester

        self._counters_of(Pytester, "inline_run", "inner_sessions", "inner_session_s")
        time.sleep = self._counters.wrap(time.sleep, "sleeps", "sleep_s")

    def _counters_of(self, owner: Any, name: str, count: str, seconds: str) -> None:
        setattr(owner, name, self._counters.wrap(getattr(owner, name), count, seconds))

    def _patch_loaded(self) -> None:
        for module, names in TARGETS.items():
            if module in sys.modules and module not in self._patched:
                self._patched.add(module)
                for name, count in names.items():
                    owner: Any = sys.modules[module]
                    *outer, last = name.split(".")
                    for attribute in outer:
                        owner = getattr(owner, attribute, None)
                    if owner is not None and hasattr(owner, last):
                        self._counters_of(owner, last, count, f"{count[:-1]}_s")

    @staticmethod
    def _processor_s() -> float:
        spent = os.times()
        return spent.user + spent.system + spent.children_user + spent.children_system

    def begin(self) -> tuple[float, float, collections.Counter[str]]:
        self._patch_loaded()
        return time.perf_counter(), self._processor_s(), self._counters.values.copy()

    def end(self, nodeid: str, begun: tuple[float, float, collections.Counter[str]]) -> None:
        wall, processor, before = begun
        line = {
            "test": nodeid,
            "wall_s": time.perf_counter() - wall,
            "processor_s": self._processor_s() - processor,
            **{name: value - before[name] for name, value in self._counters.values.items() if value != before[name]},
        }
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite-costs", metavar="FILE", help="write what each test's seconds are made of")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--suite-costs")
    if not file:
        return
    path = Path(config.invocation_params.dir, file).resolve()
    if not hasattr(config, "workerinput"):
        path.unlink(missing_ok=True)
        _watch_children(path)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.register(_Hooks(Costs(path)))


def _watch_children(path: Path) -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="suite-costs-"))
    code = (
        f"import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import suite_costs\n"
        "sys.path.pop(0)\n"
        f"suite_costs.watch_process({str(path)!r})\n"
    )
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def _hook(**options: bool) -> Callable[[Any], Any]:
    """As `pytest.hookimpl` does it, without pytest: this module is imported by every process that a test starts."""

    def mark(function: Any) -> Any:
        function.pytest_impl = {
            "hookwrapper": False,
            "optionalhook": False,
            "trylast": False,
            "specname": None,
        } | options
        return function

    return mark


class _Hooks:
    def __init__(self, costs: Costs) -> None:
        self._costs = costs

    @_hook(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Write a test's line."""
        begun = self._costs.begin()
        returned = yield
        self._costs.end(item.nodeid, begun)
        return returned


def folder_of(nodeid: str) -> str:
    """The folder of a test below `tests/`, or its file where it lies in `tests/` itself."""
    return nodeid.partition("::")[0].split("/")[1] if "/" in nodeid else nodeid.partition("::")[0]


def table(lines: Iterable[Mapping[str, Any]], key: Callable[[str], str]) -> None:
    """Print sums of tests by a key, the dearest first."""
    sums: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in lines:
        group = sums[key(line["test"])]
        group["tests"] += 1
        for name in TABLE_KEYS:
            group[name] += line.get(name, 0)
    print(f"{'':<58}{'tests':>7}" + "".join(f"{name:>15}" for name in TABLE_KEYS))
    for name, group in sorted(sums.items(), key=lambda pair: -pair[1]["wall_s"])[:40]:
        print(f"{name[-57:]:<58}{group['tests']:>7}" + "".join(f"{group[key]:>15.1f}" for key in TABLE_KEYS))


def main() -> None:
    """Print the tables of a file of costs."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=Path)
    lines = [json.loads(line) for line in parser.parse_args().file.read_text(encoding="utf-8").splitlines()]
    tests = [line for line in lines if "test" in line]
    processes = [line for line in lines if "process" in line]
    table(tests, lambda _: "all")
    table(tests, folder_of)
    table(tests, lambda test: test.partition("::")[0])
    table(tests, lambda test: test)
    kinds: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for line in processes:
        kinds[" ".join(line["heavy"]) or "none"].append(line)
    print("\nprocesses, by what they had imported at their end")
    for kind, of_kind in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        sums = [sum(row.get(name, 0) for row in of_kind) for name in ("wall_s", "processor_s", "import_s")]
        print(f"  {kind:<60} {len(of_kind):>5}  wall {sums[0]:.0f} s, own {sums[1]:.0f} s, imports {sums[2]:.0f} s")


if __name__ == "__main__":
    main()
