"""What the program decides, recorded while its tests run, and two such records compared.

    python -m pytest -p decision_record --decision-record before.jsonl tests/judge tests/faults
    python tools/decision_record.py before.jsonl after.jsonl [--unstable again.jsonl] [--time-figures]

The first writes one line a verdict: the test, gate, decision, reason code and every number in its details. The second
lists what differs: tests that decided otherwise, and figures that moved. `--unstable` names a second record of the
older program; what differs between the two was never the same twice and isn't compared. Ends with 1 where decisions
differ. Figures of time and memory are measured, so they are compared only where `--time-figures` asks for it.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

Entry = dict[str, Any]
_RENAMED = {"guidance.truncation_ignored": "guidance.extra_steps"}
_RECORDED = {
    "pytest_diffbench.judge.reasons": ("verdict",),
    "pytest_diffbench.judge": ("judge", "judge_pairs"),
}
"""Functions that return verdicts, by the module that defines or exports them."""


# -- the plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the file."""
    parser.addoption("--decision-record", metavar="FILE", help="write every verdict that a test makes to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record where a file was named. Inner sessions of tests have the plugin, and no file."""
    if path := config.getoption("--decision-record", default=None):
        worker = getattr(config, "workerinput", {}).get("workerid", "")
        config.pluginmanager.register(Recorder(Path(f"{path}{worker and '.'}{worker}")))


class Recorder:
    """Writes verdicts, by test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._test = ""
        self._path.write_text("", encoding="utf-8")
        self._wrapped = False

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Note which test runs; an inner session's tests belong to the outer one, which has this object alone."""
        drawn = item.get_closest_marker("hypothesis") is not None  # its examples are others each time
        self._test = "" if drawn else item.nodeid
        if not self._wrapped:
            self._wrapped = True
            for module, names in _RECORDED.items():
                for name in names:
                    _replace_everywhere(module, name, self._recording)

    def _recording(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def recording(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if not self._test:
                return result
            with self._path.open("a", encoding="utf-8") as file:
                for verdict in result if isinstance(result, tuple) else (result,):
                    entry = {"test": self._test, "by": function.__name__} | _entry(verdict)
                    file.write(json.dumps(entry, sort_keys=True) + "\n")
            return result

        return recording


def _replace_everywhere(module: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put a wrapped function in the place of the original in each module that has it."""
    __import__(module)
    original = getattr(sys.modules[module], name)
    wrapped = wrap(original)
    for package_module in [module for key, module in sys.modules.items() if key.startswith("pytest_diffbench")]:
        for attribute, value in list(vars(package_module).items()):
            if value is original:
                setattr(package_module, attribute, wrapped)


def _entry(verdict: Any) -> Entry:
    import msgspec

    details = msgspec.to_builtins(verdict.details)
    return {
        "gate": verdict.gate,
        "decision": verdict.decision,
        "reason": verdict.reason,
        "figures": dict(_numbers("", details)),
    }


def _numbers(name: str, value: object) -> Iterator[tuple[str, float | str]]:
    """Every number in nested details, by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _numbers(f"{name}[{at}]", inner)
    elif isinstance(value, bool):
        yield name, str(value)
    elif isinstance(value, int | float):
        yield name, float(value) if math.isfinite(value) else str(value)


# -- the comparison


def load(path: Path) -> dict[str, list[Entry]]:
    """Verdicts by test: of a file, and of those that xdist's workers wrote beside it."""
    record: dict[str, list[Entry]] = {}
    for file in sorted(path.parent.glob(f"{path.name}*")):
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            # a test is known by its file's name and its own: folders may change
            record.setdefault(entry["test"].rpartition("/")[2], []).append(entry)
    return record


def decisions(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """What a test decided, in order."""
    return [(entry["by"], entry["decision"], _RENAMED.get(entry["reason"], entry["reason"])) for entry in entries]


def moved(before: Entry, after: Entry) -> list[str]:
    """Figures that aren't what they were, by more than rounding."""
    old, new = before["figures"], after["figures"]
    lines = [f"{name} is gone" for name in old if name not in new]
    for name in old.keys() & new.keys():
        old_figure, new_figure = old[name], new[name]
        if isinstance(old_figure, str) or isinstance(new_figure, str):
            same = old_figure == new_figure
        else:
            same = math.isclose(old_figure, new_figure, rel_tol=1e-9, abs_tol=1e-12)
        if not same:
            lines.append(f"{name}: {old_figure} -> {new_figure}")
    return sorted(lines)


def main(argv: list[str] | None = None) -> int:
    """Compare two records and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--unstable", type=Path, help="a second record of the older program")
    parser.add_argument("--time-figures", action="store_true", help="compare figures of time and memory too")
    options = parser.parse_args(argv)
    before, after = load(options.before), load(options.after)
    again = load(options.unstable) if options.unstable else before
    unstable = {test for test in before if decisions(before[test]) != decisions(again.get(test, []))}
    common = [test for test in before if test in after and test not in unstable]
    differing = [test for test in common if decisions(before[test]) != decisions(after[test])]
    shifted: dict[str, list[str]] = {}
    compared = 0
    for test in common:
        if test in differing:
            continue
        for old_verdict, new_verdict in zip(before[test], after[test], strict=True):
            if old_verdict["gate"] in ("time", "memory") and not options.time_figures:
                continue
            compared += len(old_verdict["figures"])
            if lines := moved(old_verdict, new_verdict):
                shifted.setdefault(test, []).extend(f"{old_verdict['reason']}: {line}" for line in lines)
    for test in differing:
        print(f"{test}\n  before {decisions(before[test])}\n  after  {decisions(after[test])}")
    for test, lines in shifted.items():
        print(test, *(f"  {line}" for line in dict.fromkeys(lines)), sep="\n")
    verdicts = sum(len(before[test]) for test in common)
    print(
        f"{len(common)} tests with {verdicts} verdicts compared: {len(differing)} tests decide otherwise; "
        f"{compared} figures: {len(shifted)} tests have others. "
        f"Only before: {len(before.keys() - after.keys())}, only after: {len(after.keys() - before.keys())}, "
        f"never the same twice: {len(unstable)}."
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
