"""Starts measuring processes that run some of a session's tests under the session's own options."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.items import case_id, package_parent
from pytest_diffbench.settings.pytest_private import argument_parser
from pytest_diffbench.workers import exchange
from pytest_diffbench.workers.arguments import kept_arguments, options_of
from pytest_diffbench.workers.process import Ended, run
from pytest_diffbench.workers.turns import Command, run_interleaved

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_diffbench.workers.exchange import Done, Measured, Outcome

_NOT_INHERITED = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", exchange.VARIABLE)
_NOT_INHERITED_FAMILIES = ("PYTEST_XDIST_", "COV_CORE_", "COVERAGE_PROCESS_")
OTHER_PYTHONS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables that would lead another interpreter to this environment's packages."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessResult:
    """What a measuring process left.

    Attributes:
        asked: ids of the tests that it was to run.
        folder: its own, with images and traces.
        ended: how it ended.
        measured: cases, in their order.
        outcomes: phases of tests that didn't pass.
        done: its last line; None where it didn't get there.
        met: ids of cases that another process went through with it by turns, so that like rounds lie side by side.
    """

    asked: tuple[str, ...]
    folder: Path
    ended: Ended
    measured: tuple[Measured, ...]
    outcomes: tuple[Outcome, ...]
    done: Done | None
    met: frozenset[str] = frozenset()

    def was_asked(self, identity: str) -> bool:
        """Whether a case's test was among those to run."""
        return _is_of(identity, self.asked)

    def case(self, identity: str) -> Measured | str:
        """A case that was measured to its end in a test that passed, or why there is none."""
        measured = next((candidate for candidate in self.measured if candidate.observation.case.id == identity), None)
        broken = [outcome for outcome in self.outcomes if _is_of(identity, (outcome.test,))]
        if broken:
            first = broken[0]
            what = "was skipped" if first.outcome == "skipped" else f"failed ({first.when})"
            return f"the test {what}: {first.text}"
        if measured is None and self.done is not None and self.ended.status is not None:
            if _is_of(identity, self.done.tests):
                return "the test made no such call"
            lost = [outcome.text for outcome in self.outcomes if outcome.when == "collect"]
            return f"the test wasn't found there: {lost[0]}" if lost else "there is no such test"
        if measured is None:
            return self.ended.in_words()
        return measured if measured.problem is None else f"the measurement stopped: {measured.problem}"


def _result_of(
    tests: tuple[str, ...], folder: Path, ended: Ended, met: frozenset[str] = frozenset()
) -> ProcessResult:
    lines = exchange.read_lines(folder)
    return ProcessResult(
        asked=tests,
        folder=folder,
        ended=ended,
        measured=tuple(line for line in lines if isinstance(line, exchange.Measured)),
        outcomes=tuple(line for line in lines if isinstance(line, exchange.Outcome)),
        done=next((line for line in lines if isinstance(line, exchange.Done)), None),
        met=met,
    )


def _is_of(identity: str, tests: Sequence[str]) -> bool:
    """Whether a case is one of these tests'. Its label stands behind a `#`."""
    return any(identity == test or identity.startswith(f"{test}#") for test in tests)


class Launcher:
    """Knows a session's options and where its tests lie.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._started = 0

    def launch(
        self,
        items: Sequence[pytest.Item],
        *,
        timeout_s: float,
        interpreter: str | None = None,
        artifacts: bool = False,
        plant: str | None = None,
        brief: bool = False,
    ) -> ProcessResult:
        """Run tests in a process of their own, and wait for it.

        Args:
            items: the tests.
            timeout_s: the process is ended after this time.
            interpreter: another environment's; None for this one's.
            artifacts: bring images and traces too.
            plant: a slowdown to plant.
            brief: make one round of each case, and count nothing.

        Raises:
            OSError: the process can't be started, or has no room for its files.
        """
        folder = self._new_folder()
        tests = tuple(case_id(item, None) for item in items)
        exchange.give(
            folder,
            exchange.Task(tests=tests, artifacts=artifacts, plant=plant, brief=brief, session_on_device=_on_device()),
        )
        ended = run(
            self.command(items, folder, interpreter),
            environment=self._environment(folder, interpreter),
            cwd=self._config.invocation_params.dir,
            timeout_s=timeout_s,
            folder=folder,
        )
        return _result_of(tests, folder, ended)

    def launch_interleaved(
        self, items: Sequence[pytest.Item], *, timeout_s: float, interpreters: Sequence[str | None], first: int
    ) -> tuple[ProcessResult, ProcessResult]:
        """Run the same tests in two processes at once, of which only one measures at any time.

        Args:
            items: the tests.
            timeout_s: both are ended after this time.
            interpreters: of the two sides; None for this environment's. Images and traces are brought of the first.
            first: side that begins, 0 or 1.

        Raises:
            OSError: a process can't be started, or has no room for its files.
        """
        folders = [self._new_folder() for _ in interpreters]
        tests = tuple(case_id(item, None) for item in items)

        def prepare(side: int, turns: int) -> Command:
            folder, interpreter = folders[side], interpreters[side]
            exchange.give(folder, exchange.Task(tests=tests, artifacts=side == 0, turns=turns))
            return Command(
                words=self.command(items, folder, interpreter),
                environment=self._environment(folder, interpreter),
                folder=folder,
            )

        def rank(case: str) -> int:
            return next((place for place, test in enumerate(tests) if _is_of(case, (test,))), len(tests))

        cwd = self._config.invocation_params.dir
        ended, met = run_interleaved(prepare, cwd=cwd, timeout_s=timeout_s, first=first, rank=rank)
        base, head = (_result_of(tests, folder, how, met) for folder, how in zip(folders, ended, strict=True))
        return base, head

    def command(self, items: Sequence[pytest.Item], folder: Path, interpreter: str | None = None) -> list[str]:
        """Program and arguments of a process that runs tests.

        Args:
            items: the tests.
            folder: the process's own.
            interpreter: another environment's; None for this one's.
        """
        config = self._config
        typed = config.invocation_params
        given = [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *map(str, typed.args)]
        known = options_of(argument_parser(config))
        ini = config.inipath
        if ini is None:
            # Or pytest would look for one from the tests' folder on, and could find what the session didn't.
            ini = folder / "pytest.ini"
            ini.write_text("[pytest]\n", encoding="utf-8")
        named = [name for name in typed.plugins or () if isinstance(name, str)]
        cache = config.pluginmanager.hasplugin("cacheprovider")
        places = _places(items, config)
        return [
            *_python(interpreter, typed.dir),
            *("-m", "pytest", "--diffbench", "--continue-on-collection-errors"),
            *(word for name in named for word in ("-p", name)),
            *kept_arguments(given, known),
            *("-o", "addopts="),
            *(("-o", f"cache_dir={folder / 'cache'}") if cache else ()),
            *("-c", str(ini)),
            f"--rootdir={config.rootpath}",
            f"--confcutdir={config.known_args_namespace.confcutdir or config.rootpath}",
            f"--basetemp={folder / 'tmp'}",
            "--capture=no",  # the last words of a process that crashes would be lost with what was captured
            *(("--pyargs",) if any(not Path(place).is_absolute() for place in places) else ()),
            *places,
        ]

    def close(self) -> None:
        """Remove all folders of processes."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _new_folder(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="diffbench-", ignore_cleanup_errors=True)
        self._started += 1
        folder = Path(self._scratch.name) / f"process-{self._started}"
        folder.mkdir()
        return folder

    @staticmethod
    def _environment(folder: Path, interpreter: str | None) -> dict[str, str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in _NOT_INHERITED
            and not name.startswith(_NOT_INHERITED_FAMILIES)
            and not (interpreter is not None and name in OTHER_PYTHONS)
        }
        return environment | {exchange.VARIABLE: str(folder)}


def _on_device() -> bool:
    """Whether this process has a context on an NVIDIA device, where a process that it starts would count it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def _python(interpreter: str | None, shell: Path) -> list[str]:
    """The interpreter with its own options. `-m` would put the shell's folder before all packages."""
    if interpreter is not None:
        return [interpreter, "-P"]
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    if "" not in sys.path and str(shell) not in sys.path and "-P" not in flags:
        flags.append("-P")
    return [sys.executable, *flags]


def _places(items: Sequence[pytest.Item], config: pytest.Config) -> list[str]:
    """The files of tests; of those in an installed package the module's name, which is the same everywhere."""
    places: dict[str, None] = {}
    for item in items:
        path = item.path
        installed = "site-packages" in path.parts or (
            config.getoption("pyargs", default=False)
            and not path.is_relative_to(config.rootpath)
            and (path.parent / "__init__.py").exists()
        )
        inside = path.relative_to(package_parent(path)).with_suffix("")
        places[".".join(inside.parts) if installed else str(path)] = None
    return list(places)
