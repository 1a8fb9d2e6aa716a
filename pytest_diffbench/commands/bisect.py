"""`diffbench bisect`: the revision of a project, or the version of a package, at which tests got worse."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_diffbench.commands.bisecting import Bisected, Finding, Outcome
from pytest_diffbench.commands.parser import checked, each
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.settings.options import GATE_NAMES
from pytest_diffbench.settings.values import choices

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Literal

_DEFAULT_GATES = "work,guidance,output"
"""Those that one run answers."""

_GOOD_ENDS = (0, 1)
"""pytest's statuses: all passed, or tests failed. The others mean that nothing was run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("good", metavar="GOOD", help="git revision, or version, at which all is well")
    parser.add_argument("bad", metavar="BAD", help="a later one at which it is worse")
    parser.add_argument("tests", metavar="TEST", nargs="+", help="node ids or other arguments for pytest, behind --")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--project",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="project in a git repository (default: this folder)",
    )
    what.add_argument("--package", metavar="NAME", help="bisect over the versions of a package instead")
    parser.add_argument(
        "--versions", type=each(str), default=None, metavar="LIST", help="of the package, oldest first"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="don't install the project: put a checkout in front of all packages, for one that needs no building",
    )
    parser.add_argument(
        "--gates",
        type=checked(choices("gates", *GATE_NAMES)),
        default=_DEFAULT_GATES,
        metavar="LIST",
        help=f"gates to ask (default: {_DEFAULT_GATES})",
    )
    parser.add_argument("--pip", metavar="ARGUMENTS", default="", help="arguments for pip install")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a revision can be run: an interpreter, and folders that it imports from before all else."""

    python: str
    sources: tuple[Path, ...] = ()


class History(Protocol):
    """Revisions, and how each is made to run."""

    def revisions(self, good: str, bad: str) -> list[str]:
        """From the good one to the bad one, both included, oldest first."""

    def place(self, revision: str) -> Place:
        """Make it ready to run. Raises DiffbenchError where that fails."""

    def named(self, revision: str) -> str:
        """What a person knows it by."""

    def reproduce(self, found: Bisected, tests: Sequence[str]) -> str:
        """A command that shows the fault."""


class GitHistory:
    """Commits of a project in a git repository, installed, or checked out in place of that."""

    def __init__(self, project: Path, *, in_place: bool, scratch: Path, pip_arguments: Sequence[str]) -> None:
        self._project = project
        self._in_place = in_place
        self._checkout = scratch / "checkout"
        self._pip_arguments = pip_arguments

    def revisions(self, good: str, bad: str) -> list[str]:
        """Along the first parents: what was merged counts as one change."""
        first, last = (self._git("rev-parse", "--verify", f"{revision}^{{commit}}") for revision in (good, bad))
        listed = self._git("rev-list", "--reverse", "--first-parent", f"{first}..{last}").split()
        ancestor = self._git("merge-base", first, last)
        if ancestor != first:
            raise DiffbenchError(f"{good} isn't an ancestor of {bad}. Name two commits of one line, GOOD first.")
        return [first, *listed]

    def place(self, revision: str) -> Place:
        """An environment with the commit installed, kept in `.diffbench`; or its checkout."""
        if not self._in_place:
            from pytest_diffbench.workers.environment import make_environment

            before = Path.cwd()
            os.chdir(self._project)
            try:
                python = make_environment(revision, None, self._pip_arguments)
            finally:
                os.chdir(before)
            return Place(python)
        if not self._checkout.exists():
            top = self._git("rev-parse", "--show-toplevel")
            self._git("clone", "--quiet", "--shared", "--no-checkout", top, str(self._checkout))
        _git(self._checkout, "checkout", "--quiet", "--force", "--detach", revision)
        folder = self._checkout / self._git("rev-parse", "--show-prefix")
        return Place(sys.executable, tuple(place for place in (folder / "src", folder) if place.is_dir()))

    def named(self, revision: str) -> str:
        """Its short hash and subject."""
        return self._git("log", "-1", "--format=%h %s", revision)

    def reproduce(self, found: Bisected, tests: Sequence[str]) -> str:
        """The commit against the one before it."""
        good, bad = found.last_good[:12], found.first_bad[:12]
        return f'git checkout {bad} && pytest --diffbench-against="$(diffbench env {good})" {shlex.join(tests)}'

    def _git(self, *arguments: str) -> str:
        return _git(self._project, *arguments)


class PackageHistory:
    """Versions of a package, oldest first; those of the package index where none are given."""

    def __init__(
        self, package: str, versions: Sequence[str] | None, *, scratch: Path, pip_arguments: Sequence[str]
    ) -> None:
        self._package = package
        self._versions = versions
        self._scratch = scratch
        self._pip_arguments = pip_arguments

    def revisions(self, good: str, bad: str) -> list[str]:
        """In the order of versions."""
        known = list(self._versions) if self._versions is not None else self._from_index()
        for version in (good, bad):
            if version not in known:
                raise DiffbenchError(
                    f"{self._package} {version}: there is no such version: {', '.join(known[-10:])}."
                )
        return known[known.index(good) : known.index(bad) + 1]

    def place(self, revision: str) -> Place:
        """An environment with that version, kept in `.diffbench`."""
        from pytest_diffbench.workers.environment import make_environment

        file = self._scratch / f"{self._package}-{revision}.txt"
        file.write_text(f"{self._package}=={revision}\n", encoding="utf-8")
        return Place(make_environment(str(file), None, self._pip_arguments))

    def named(self, revision: str) -> str:
        """Package and version."""
        return f"{self._package} {revision}"

    def reproduce(self, found: Bisected, tests: Sequence[str]) -> str:
        """That version against the one before it."""
        good = f"{self._package}=={found.last_good}"
        return (
            f"echo {good} > good.txt && pip install {self._package}=={found.first_bad} && "
            f'pytest --diffbench-against="$(diffbench env good.txt)" {shlex.join(tests)}'
        )

    def _from_index(self) -> list[str]:
        command = [sys.executable, "-m", "pip", "index", "versions", self._package, *self._pip_arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("Available versions:")), None)
        if line is None:
            said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise DiffbenchError(
                f"{self._package}: pip can't list its versions ({said}). Give them with --versions, oldest first."
            )
        return [version.strip() for version in line.partition(":")[2].split(",")][::-1]


def history_of(arguments: argparse.Namespace, scratch: Path) -> History:
    """The history that the command's arguments name."""
    pip_arguments = shlex.split(arguments.pip)
    if arguments.package is not None:
        return PackageHistory(arguments.package, arguments.versions, scratch=scratch, pip_arguments=pip_arguments)
    if not arguments.project.is_dir():
        raise DiffbenchError(f"--project {arguments.project}: isn't a folder. Name that of a project.")
    return GitHistory(arguments.project, in_place=arguments.in_place, scratch=scratch, pip_arguments=pip_arguments)


def bisect(
    arguments: argparse.Namespace, notify: Callable[[str, Literal["good", "bad", "skipped"], str], None]
) -> tuple[History, Bisected]:
    """Find the revision. What was measured at GOOD is the baseline, in a folder of its own that is removed.

    Raises:
        DiffbenchError: the ends aren't good and bad, or can't be run.
    """
    from pytest_diffbench.commands import bisecting

    with tempfile.TemporaryDirectory(prefix="diffbench-bisect-") as folder:
        history = history_of(arguments, Path(folder))
        revisions = history.revisions(arguments.good, arguments.bad)
        tests = Tests(arguments.tests, ",".join(arguments.gates), Path(folder))

        def run(revision: str) -> Outcome:
            try:
                place = history.place(revision)
            except DiffbenchError as error:
                return Outcome(broken=str(error))
            return tests.run(place, save=revision == revisions[0])

        found = bisecting.bisect(revisions, run, lambda revision, *told: notify(history.named(revision), *told))
        return history, found


class Tests:
    """The tests, as they are now, at any revision."""

    def __init__(self, arguments: Sequence[str], gates: str, scratch: Path) -> None:
        self._arguments = arguments
        self._gates = gates
        self._scratch = scratch

    def run(self, place: Place, *, save: bool) -> Outcome:
        """Run them there, and save what comes of it as the baseline, or compare it with that."""
        from pytest_diffbench.report import session_json

        result = self._scratch / "result.json"
        result.unlink(missing_ok=True)
        # -B: of two commits of one second and size, the second would be taken for the first, which is compiled
        command = [
            *(place.python, "-P", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            "--diffbench-save" if save else "--diffbench",
            f"--diffbench-baselines={self._scratch / 'baselines'}",
            f"--diffbench-gates={self._gates}",
            f"--diffbench-json={result}",
            *("--diffbench-rounds=2", "--diffbench-confirm=0"),
            *self._arguments,
        ]
        sources = os.pathsep.join([*map(str, place.sources), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | ({"PYTHONPATH": sources} if sources else {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode not in _GOOD_ENDS or not result.is_file():
            return Outcome(broken=_last_line(done))
        session = session_json.load(result)
        broken = next((report.error for report in session.cases if report.error is not None), None)
        if broken is not None or not session.cases:
            return Outcome(broken=broken or _last_line(done))
        if save:
            refused = [
                report.saved.why for report in session.cases if report.saved is not None and report.saved.refused
            ]
            return Outcome(broken=f"nothing can be saved as the baseline: {refused[0]}") if refused else Outcome()
        findings = tuple(
            Finding(report.observation.case.id, verdict.gate, verdict.reason, verdict.message)
            for report in session.cases
            for verdict in report.verdicts
            if verdict.decision == "worse"
        )
        unjudged = [
            verdict.reason
            for report in session.cases
            for verdict in report.verdicts
            if verdict.decision in ("incomparable", "unbaselined")
        ]
        if not findings and unjudged and len(unjudged) == sum(len(report.verdicts) for report in session.cases):
            return Outcome(broken=unjudged[0])
        return Outcome(findings)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in said if "rror:" in line]
    return (errors or said or [f"pytest ended with status {done.returncode}"])[-1]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise DiffbenchError(f"git can't be run ({error.strerror}). Install it.") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise DiffbenchError(f"{folder}: git {arguments[0]} failed: {said}")
    return done.stdout.strip()
