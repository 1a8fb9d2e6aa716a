"""What the ready-made suite costs and what for: saved into a folder of its own, and then compared with that.

    python benchmarks/suite_cost.py [--busy 2] [--cases] [--keep FOLDER] [TEST ...] [OPTIONS OF PYTEST]

Each session is a process of its own, under the plugin's defaults. `--busy` runs so many loops beside it, and ends
them. Prints a Markdown table of wall time and of the processor time of the session's own process, by part; `--cases`
adds the wall time of each test.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUITE = "pytest_diffbench.suite"
REST = "starting and ending"
_OUTPUT = "DIFFBENCH_SUITE_COST"
"""Variable that names the file which a measured session writes to."""

_NAMES = {
    "survey": "survey",
    "count": "count",
    "layers": "layers",
    "warm-up": "warm-up",
    "extra warm-up": "extra warm-ups",
    "round": "timed rounds",
    "block": "timed rounds",
}


class Parts:
    """Seconds by part. One part is under way at any time; `begin` ends the one before."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = collections.defaultdict(float)
        self.cpu_s: dict[str, float] = collections.defaultdict(float)
        self.calls: collections.Counter[str] = collections.Counter()
        self.tests_s: dict[str, float] = {}
        self._part = REST
        self._since = time.perf_counter(), time.process_time()

    def begin(self, part: str) -> str:
        """Turn to another part; returns the one that was under way."""
        now = time.perf_counter(), time.process_time()
        self.wall_s[self._part] += now[0] - self._since[0]
        self.cpu_s[self._part] += now[1] - self._since[1]
        before, self._part, self._since = self._part, part, now
        return before

    @contextlib.contextmanager
    def within(self, part: str) -> Iterator[None]:
        """A part inside another."""
        before = self.begin(part)
        try:
            yield
        finally:
            self.begin(before)

    def around(self, owner: Any, name: str, part: str) -> None:
        """Make a method's time a part."""
        original: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.within(part):
                return original(*args, **kwargs)

        setattr(owner, name, timed)


class Watch:
    """The plugin of a measured session."""

    def __init__(self) -> None:
        from pytest_diffbench.measure import runner
        from pytest_diffbench.session import session
        from pytest_diffbench.session.modes.stored import StoredBaselines
        from pytest_diffbench.session.progress_line import ProgressLine
        from pytest_diffbench.workers.launch import Launcher

        self.parts = parts = Parts()
        start = ProgressLine.start

        def begin_nothing(
            line: ProgressLine, name: str, label: str, test: str = ""
        ) -> Callable[[str, int, int], None]:
            tell = start(line, name, label, test)

            def both(phase: str, done: int, total: int) -> None:
                kind = re.sub(r" ?[\d/]+$", "", re.sub(r"^[\w.=-]+: |: [\w.=-]+$", "", phase))
                if kind in _NAMES:
                    parts.begin(_NAMES[kind])
                    parts.calls[_NAMES[kind]] += 1
                tell(phase, done, total)

            return both

        ProgressLine.start = begin_nothing  # type: ignore[method-assign, assignment]
        parts.around(session.DiffbenchSession, "pipeline_for", "loading pipelines")
        parts.around(session.DiffbenchSession, "_conclude", "judging and saving")
        parts.around(StoredBaselines, "wants_profile", "judging and saving")
        parts.around(runner, "profile_call", "profile")
        parts.around(Launcher, "launch", "fresh processes")

    def pytest_runtest_logstart(self, nodeid: str) -> None:  # noqa: ARG002 - pytest's
        """A test begins."""
        self._began_s = time.perf_counter()
        self.parts.begin("between tests and passes")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """It's over."""
        self.parts.tests_s[nodeid] = time.perf_counter() - self._began_s
        self.parts.begin("between tests and passes")

    def pytest_sessionfinish(self) -> None:
        """Leave what was seen."""
        self.parts.begin(REST)
        parts = self.parts
        Path(os.environ[_OUTPUT]).write_text(
            json.dumps([parts.wall_s, parts.cpu_s, parts.calls, parts.tests_s]), encoding="utf-8"
        )


def main() -> int:
    """Run both sessions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, default=0, help="processes that keep a core busy each, 0 by default")
    parser.add_argument("tests", nargs="*", default=[SUITE], help="files or modules in place of the whole suite")
    parser.add_argument("--cases", action="store_true", help="the wall time of each test, too")
    parser.add_argument("--keep", type=Path, help="folder of the baselines; one that is removed by default")
    parser.add_argument("--only", choices=("saved", "compared"), help="one session; compared needs --keep")
    options, more = parser.parse_known_args()
    words = ["--pyargs", *options.tests, *more]
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            kept = options.keep or Path(folder, "baselines")
            sessions = {
                name: _session([*words, word, f"--diffbench-baselines={kept.resolve()}"], folder)
                for name, word in (("saved", "--diffbench-save"), ("compared", "--diffbench"))
                if options.only in (None, name)
            }
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    _print(sessions)
    if options.cases:
        print()
        for name, (_, _, cost) in sessions.items():
            for test, took_s in cost[3].items():
                print(f"{name} {took_s:6.1f} s  {test}")
    return int(any(status for status, *_ in sessions.values()))


def _session(words: list[str], folder: str) -> tuple[int, float, list[dict[str, float]]]:
    """Exit status, wall seconds of the process, and what it left."""
    output = Path(folder, "parts.json")
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    began_s = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | {_OUTPUT: str(output)}, capture_output=True, text=True, check=False
    )
    wall_s = time.perf_counter() - began_s
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n")
    if not output.exists():
        raise SystemExit("the session left nothing")
    cost = json.loads(output.read_text(encoding="utf-8"))
    output.unlink()
    return done.returncode, wall_s, cost


def _print(sessions: dict[str, tuple[int, float, list[dict[str, float]]]]) -> None:
    print("| part |" + "".join(f" {name}: calls | wall | processor |" for name in sessions))
    print("|---|" + "---|---|---|" * len(sessions))
    parts = list(dict.fromkeys(part for _, _, cost in sessions.values() for part in cost[0]))
    for part in sorted(parts, key=lambda part: -sum(cost[0].get(part, 0.0) for _, _, cost in sessions.values())):
        cells = []
        for _, wall_s, (parts_s, cpu_s, calls, _) in sessions.values():
            # What comes before the first hook and after the last is the process's, too.
            rest_s = wall_s - sum(parts_s.values()) if part == REST else 0.0
            number = f"{calls[part]}" if part in calls and part in _NAMES.values() else ""
            cells.append(f" {number} | {parts_s.get(part, 0.0) + rest_s:.1f} s | {cpu_s.get(part, 0.0):.1f} s |")
        print(f"| {part} |{''.join(cells)}")
    whole = "".join(f" | {wall_s:.1f} s | {sum(cost[1].values()):.1f} s |" for _, wall_s, cost in sessions.values())
    print(f"| **all** |{whole}")


def _measured(words: list[str]) -> int:
    import pytest

    return int(pytest.main(words, plugins=[Watch()]))


if __name__ == "__main__":
    # A process of its own runs the session: the variable is for it alone, not for those that it starts.
    sys.exit(_measured(sys.argv[1:]) if _OUTPUT in os.environ else main())
