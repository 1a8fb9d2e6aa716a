"""Other pytest plugins and pytest's own options beside this one: what holds of a small project's benchmarks.

    python benchmarks/beside_plugins.py [--only NAME ...] [--environments DIR]

Each plugin is installed into an environment of its own, whose packages stand before this one's; DIR keeps them for
the next time. A project of five cases, whose target is a plain callable, is measured and saved without the plugin,
and then held against that with it. The table says what was typed, the exit status, how many cases the session's file
has, and in which reasons the verdicts differ from those without the plugin, but for what a restless machine makes of
times. Exits with 1 where a row isn't as its entry in `ROWS` expects it. `docs/plugins.md` has the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.report import session_json
from pytest_diffbench.workers.environment import make_environment

PROJECT = """
import numpy as np
import pytest

SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))
attempts = []


def paint(size=32):
    return [SOUND[:size]]


@pytest.mark.parametrize("size", [8, 32])
def test_size(diffbench, size):
    diffbench(paint, size=size)


def test_twice(diffbench):
    diffbench(paint, label="large")
    diffbench(paint, size=16, label="small")


class TestGroup:
    def test_method(self, diffbench):
        diffbench(paint)


def test_plain():
    assert SOUND.any()
"""
CASES = 5
FAILS_FIRST = (
    "def test_again(diffbench):\n    attempts.append(1)\n    diffbench(paint)\n    assert len(attempts) > 1\n"
)
FAILS = "def test_fails():\n    assert False\n"


@dataclasses.dataclass(frozen=True)
class Row:
    """A plugin or an option, how it is tried, and what is expected.

    Attributes:
        name: of the plugin; of an option what is typed.
        arguments: for pytest.
        more: tests behind those of the project. They are saved with the plugin.
        first: arguments of a session before, whose cache this one reads.
        installed: whether this environment has the plugin already, or needs none.
        cases: expected in the session's file.
        status: expected exit status.
        differs: reasons that other verdicts have than without the plugin, in place of which there.
        remark: what to know, for a reader.
    """

    name: str
    arguments: str = ""
    more: str = ""
    first: str | None = None
    installed: bool = False
    cases: int = CASES
    status: int = 0
    differs: str = ""
    remark: str = ""


TRACED = "`time.traced`"
PARALLEL = "`time.parallel`"
ASYNC = "async def test_async(diffbench):\n    diffbench(paint)\n"

PLUGINS = (
    Row("pytest-xdist", "-n2", installed=True, differs=PARALLEL, remark="measure time without `-n`"),
    Row(
        "pytest-benchmark", "--benchmark-json=benchmark.json", installed=True, remark="shows the rounds in its table"
    ),
    Row("pytest-random-order", "--random-order", installed=True),
    Row(
        "hypothesis",
        installed=True,
        more="from hypothesis import given, strategies\n"
        "@given(strategies.integers())\ndef test_given(number):\n    pass\n",
        remark="beside it; a benchmark within `@given` would be measured again for each example, which is refused",
    ),
    Row(
        "anyio",
        installed=True,
        more=f"@pytest.mark.anyio\n@pytest.mark.parametrize('anyio_backend', ['asyncio'])\n{ASYNC}",
        cases=6,
        remark="asynchronous tests may call `diffbench` with a target that isn't",
    ),
    Row(
        "pytest-rerunfailures", "--reruns=2", more=FAILS_FIRST, cases=6, remark="the last attempt counts, and is told"
    ),
    Row("pytest-retry", "--retries=2", more=FAILS_FIRST, cases=6, remark="the same"),
    Row("flaky", "--force-flaky", more=FAILS_FIRST, cases=6, remark="the same"),
    Row("pytest-repeat", "--count=2", cases=2 * CASES, remark="repeats are one case, each is judged"),
    Row("pytest-timeout", "--timeout=60"),
    Row("pytest-timeout", "--timeout=60 --timeout-method=thread"),
    Row("pytest-cov", "--cov=. --cov-report=", differs=TRACED, remark="measure time without `--cov`"),
    Row(
        "pytest-testmon",
        "--testmon",
        differs=TRACED,
        remark="it is coverage; tests that it leaves out aren't measured",
    ),
    Row("pytest-profiling", "--profile", differs=TRACED),
    Row("pytest-memray", "--memray", remark="slows allocations down, which isn't seen: measure time without it"),
    Row("pytest-monitor", status=1, remark="fails in plain tests too, with this pytest: `Module` has no `_nodeid`"),
    Row("pytest-leaks"),
    Row("pytest-resource-usage"),
    Row("pytest-randomly", "-p randomly"),
    Row("pytest-reverse", "--reverse"),
    Row("pytest-order", more="@pytest.mark.order(1)\ndef test_first(): ...\n"),
    Row("pytest-dependency", more="@pytest.mark.dependency()\ndef test_first(): ...\n"),
    Row("pytest-split", "--splits=2 --group=1", cases=4, remark="one part of the cases"),
    Row("pytest-shard", "--num-shards=1"),
    Row("pytest-picked", "--picked", cases=0, status=5, remark="picks by git, and here nothing has changed"),
    Row("pytest-forked", "--forked", cases=0, status=1, remark="fails in plain tests too, with this pytest"),
    Row(
        "pytest-run-parallel",
        "--parallel-threads=2",
        remark="benchmarks run in one thread: they are marked `thread_unsafe`",
    ),
    Row(
        "pytest-parallel", "--workers=2", cases=0, status=3, remark="doesn't start with this pytest: `py.log` is gone"
    ),
    Row(
        "pytest-flakefinder",
        "--flake-finder --flake-runs=2",
        cases=2 * CASES,
        status=1,
        differs="`memory.no_baseline`, `output.no_baseline`, `time.no_baseline`",
        remark="its repeats have names of their own, and no baseline: use pytest-repeat",
    ),
    Row("pytest-asyncio", "--asyncio-mode=auto", more=ASYNC, cases=6),
    Row(
        "pytest-mock",
        more="def test_mocked(diffbench, mocker):\n"
        "    painted = mocker.Mock(return_value=[SOUND])\n    diffbench(lambda: painted())\n",
        cases=6,
        remark="a mock itself is no target, since it seems to have every component: call it in a function",
    ),
    Row(
        "pytest-freezer",
        more="def test_frozen(diffbench, freezer):\n    diffbench(paint)\n",
        status=1,
        remark="stops the clock that measures: a benchmark within it is refused",
    ),
    Row(
        "time-machine",
        more="def test_frozen(diffbench, time_machine):\n"
        "    time_machine.move_to(0, tick=False)\n    diffbench(paint)\n",
        cases=6,
        remark="leaves that clock alone",
    ),
    Row("pytest-subtests"),
    Row("pytest-check", more="def test_checks():\n    from pytest_check import check\n    check.equal(1, 1)\n"),
    Row("pytest-cases", cases=0, status=3, remark="doesn't start with this pytest: `IdMaker` has changed"),
    Row("pytest-bdd"),
    Row("pytest-regressions"),
    Row("syrupy"),
    Row("pytest-harvest"),
    Row("pytest-socket", "--disable-socket", remark="further processes run under it, too"),
    Row("pytest-env"),
    Row("pytest-dotenv"),
    Row("pytest-django"),
    Row("pytest-recording"),
    Row("pytest-httpserver"),
    Row("pytest-codspeed", "--codspeed"),
    Row("pytest-sugar"),
    Row("pytest-rich", "--rich"),
    Row("pytest-pretty"),
    Row("pytest-instafail", "--instafail"),
    Row("pytest-clarity"),
    Row("pytest-icdiff"),
    Row("pytest-html", "--html=report.html", remark="shows the pictures of a failed case"),
    Row("pytest-json-report", "--json-report"),
    Row("pytest-metadata"),
    Row("pytest-reportlog", "--report-log=log.jsonl"),
    Row("allure-pytest", "--alluredir=allure", remark="shows the verdicts and the pictures of a failed case"),
    Row("pytest-timestamper"),
    Row("pytest-durations"),
    Row("pytest-github-actions-annotate-failures"),
    Row("pytest-custom-exit-code", "--suppress-no-test-exit-code"),
)

_OPTIONS = (
    Row("-x", "-x", more=FAILS, status=1, remark="`interrupted` is true"),
    Row("--maxfail=1", "--maxfail=1", more=FAILS, status=1, remark="the same"),
    Row("--lf", "--lf", more=FAILS, first="", cases=0, status=1, remark="the test that failed alone"),
    Row("--ff", "--ff", more=FAILS, first="", status=1),
    Row("--nf", "--nf"),
    Row("--sw", "--sw", more=FAILS, cases=0, status=2, remark="goes on from the test that failed"),
    Row("--co", "--co", cases=0, remark="writes no file"),
    Row("-k method", "-k method", cases=1),
    Row("-m diffbench", "-m diffbench", cases=0, status=5, remark="finds the marker, not the fixtures"),
    Row("-p no:cacheprovider", "-p no:cacheprovider"),
    Row("-p no:terminal", "-p no:terminal", remark="without a summary"),
    Row("-p no:xdist", "-p no:xdist"),
    Row("-p no:benchmark", "-p no:benchmark"),
    Row("-p pytest_diffbench.plugin", "-p pytest_diffbench.plugin"),
    Row("-s", "-s"),
    Row("-q", "-q"),
    Row("-vv", "-vv"),
    Row("--setup-only", "--setup-only", cases=0, remark="measures nothing"),
    Row("--setup-show", "--setup-show"),
    Row("-W error", "-W error"),
    Row("--import-mode=importlib", "--import-mode=importlib"),
    Row("--assert=plain", "--assert=plain"),
    Row("--durations=3", "--durations=3"),
    Row("--junitxml=junit.xml", "--junitxml=junit.xml"),
    Row("--keep-duplicates", "--keep-duplicates"),
    Row("--strict-markers", "--strict-markers"),
    Row("--runxfail", "--runxfail"),
    Row("--benchmark-disable", "--benchmark-disable"),
)
OPTIONS = tuple(dataclasses.replace(row, installed=True) for row in _OPTIONS)
RESTLESS = frozenset(
    {
        *("time.same", "time.few_runs", "time.few_days", "time.blind", "time.unconfirmed", "time.faster"),
        *("time.unsteady", "time.crowded", "time.machine_slower", "time.machine_faster"),
    }
)
"""What times of so small a target come to on whatever machine, against a baseline of one run."""

ROWS = PLUGINS + OPTIONS


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a row came to."""

    version: str
    status: int
    cases: int
    differs: str
    words: str

    def is_expected(self, row: Row) -> bool:
        """Whether it is as the row says."""
        return (self.status, self.cases, self.differs) == (row.status, row.cases, row.differs)


def main() -> int:
    """Try all rows, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of plugins, or options as `ROWS` has them")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="rows that are tried at once")
    parser.add_argument("--environments", type=Path, metavar="DIR", help="keeps the environments")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    others: list[str] = []
    with tempfile.TemporaryDirectory(prefix="beside-") as scratch, ThreadPoolExecutor(options.jobs) as pool:
        saved = save(Path(scratch))
        environments = options.environments or Path(scratch, "environments")
        print("\n".join(HEAD), flush=True)
        for row, outcome in zip(rows, pool.map(lambda row: tried(row, saved, environments), rows), strict=True):
            print(line(row, outcome), flush=True)
            if not outcome.is_expected(row):
                expected = f"exit {row.status}, {row.cases} cases, verdicts {row.differs or 'as without'}"
                others.append(f"{row.name} {row.arguments}: expected {expected}\n{outcome.words}")
    print("\n".join(others), file=sys.stderr)
    return int(bool(others))


HEAD = ("| beside | tried | exit | cases | verdicts | to know |", "|---|---|---:|---:|---|---|")


def line(row: Row, outcome: Outcome) -> str:
    """A row of the table."""
    tried_as = f"`{row.arguments}`" if row.arguments and row.arguments != row.name else ""
    name = f"{row.name} {outcome.version}".strip() if row in PLUGINS else f"`{row.name}`"
    verdicts = outcome.differs or ("as without" if outcome.cases else "")
    return f"| {name} | {tried_as} | {outcome.status} | {outcome.cases} | {verdicts} | {row.remark} |"


def save(scratch: Path) -> Path:
    """The project with its baselines, and with the file of a session without any plugin."""
    saved = scratch / "saved"
    saved.mkdir()
    saved.joinpath("test_paint.py").write_text(PROJECT, encoding="utf-8")
    saved.joinpath("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for option in ("--diffbench-save", "--diffbench"):
        _run("", saved, option)
    return saved


def tried(row: Row, saved: Path, environments: Path) -> Outcome:
    """Try one row in a copy of the project."""
    packages, version = "", ""
    if row in PLUGINS:
        packages = "" if row.installed else _packages(row.name, environments)
        place = packages or sysconfig.get_path("purelib")
        (version,) = {distribution.version for distribution in metadata.distributions(name=row.name, path=[place])}
    project = Path(tempfile.mkdtemp(dir=saved.parent))
    shutil.copytree(saved, project, dirs_exist_ok=True)
    project.joinpath("session.json").unlink()
    if row.more:
        project.joinpath("test_paint.py").write_text(f"{PROJECT}\n\n{row.more}", encoding="utf-8")
        _run(
            packages,
            project,
            "--diffbench-save",
            *row.arguments.split(),
            "-k",
            row.more.partition("def ")[2].partition("(")[0],
        )
        project.joinpath("session.json").unlink(missing_ok=True)
    if row.first is not None:
        _run(packages, project, "--diffbench", *row.first.split())
        project.joinpath("session.json").unlink(missing_ok=True)
    done = _run(packages, project, "--diffbench", *row.arguments.split())
    usual, reasons_by_case = _reasons(saved), _reasons(project)
    common = RESTLESS.union(*usual)
    strange = Counter(reason for reasons in reasons_by_case for reason in reasons if reason not in common)
    differs = ", ".join(
        f"`{reason}`" if count == len(reasons_by_case) else f"`{reason}` of {count}"
        for reason, count in sorted(strange.items())
    )
    return Outcome(version, done.returncode, len(reasons_by_case), differs, f"{done.stdout}\n{done.stderr}")


def _run(packages: str, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))
    }
    environment |= {"OMP_NUM_THREADS": "1", **({"PYTHONPATH": packages} if packages else {})}
    words = (sys.executable, "-m", "pytest", "--diffbench-rounds=3", "--diffbench-confirm=0")
    return subprocess.run(
        (*words, "--diffbench-json=session.json", *arguments),
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _reasons(project: Path) -> list[tuple[str, ...]]:
    """The reasons of each case of the last session; none where it wrote no file."""
    try:
        session = session_json.load(project / "session.json")
    except DiffbenchError:
        return []
    return [tuple(verdict.reason for verdict in case.verdicts) or (str(case.error),) for case in session.cases]


_MAKING = threading.Lock()


def _packages(name: str, environments: Path) -> str:
    """Folder of packages with a plugin, and with what it needs beyond this environment's."""
    environments.mkdir(parents=True, exist_ok=True)
    with _MAKING:  # another row of the same plugin may want it at this moment
        if not (environments / name).exists():
            requirements = environments / f"{name}.txt"
            requirements.write_text(f"{name}\n", encoding="utf-8")
            make_environment(str(requirements), environments / name)
    base = str(environments / name)
    return sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base})


if __name__ == "__main__":
    sys.exit(main())
