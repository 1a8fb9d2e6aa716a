"""`diffbench diff`: what changed between two folders of baselines, for whoever reviews the change."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench import __version__
from pytest_diffbench.errors import BaselineError, DiffbenchError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator

    from pytest_diffbench.records import Baseline, CaseReport, Observation, SessionReport
    from pytest_diffbench.records.artifacts import Reference, Sides
    from pytest_diffbench.report.baseline_diff import CaseDiff
    from pytest_diffbench.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("before", metavar="A", help="folder of baselines, or a git revision")
    parser.add_argument(
        "after", metavar="B", nargs="?", help="the same, newer (default: the working tree's folder as it is)"
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        default=Path("baselines"),
        help="folder of baselines that revisions are looked at in (default: baselines)",
    )
    parser.add_argument(
        "--html",
        metavar="PATH",
        type=Path,
        help="also make a page with the pictures of both sides: FILE.html, or a folder",
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 where something changed, as git diff does"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Ends:
    """Two folders of baselines, and the cases to look at; None for all."""

    before: Path
    after: Path
    cases: Collection[str] | None


def diff(arguments: argparse.Namespace) -> tuple[list[CaseDiff], Path | None]:
    """Compare two folders of baselines; gives the cases that changed, and the page to open.

    Raises:
        DiffbenchError: a folder or a revision can't be used, or the page can't be written.
    """
    from pytest_diffbench.store import Store

    with _ends(arguments.before, arguments.after, arguments.folder) as ends:
        stores = Store(ends.before), Store(ends.after)
        names = [_entries(store) for store in stores]
        changed = []
        for name in sorted(names[0].keys() | names[1].keys()):
            if ends.cases is None or name in ends.cases:
                sides = [
                    store.load(folders[name], "machine") if name in folders else None
                    for store, folders in zip(stores, names, strict=True)
                ]
                changed.append(_Compared(name, *sides))
        differing = [compared for compared in changed if compared.differs]
        page = None
        if arguments.html is not None:
            page = _page(arguments.html, differing)
        return [compared.described() for compared in differing], page


@contextlib.contextmanager
def _ends(before: str, after: str | None, folder: Path) -> Iterator[_Ends]:
    """The two folders; those of revisions exist within the block."""
    if Path(before).is_dir() and after is not None and Path(after).is_dir():
        yield _Ends(Path(before), Path(after), None)
        return
    if after is not None and Path(after).is_dir():
        folder, after = Path(after), None
    repository = Repository(folder)
    first = repository.commit(before)
    second = repository.commit(after) if after is not None else None
    cases = repository.changed(first, second)
    with tempfile.TemporaryDirectory(prefix="diffbench-") as scratch:
        old = repository.extract(first, cases, _made(Path(scratch) / "before"))
        new = folder if second is None else repository.extract(second, cases, _made(Path(scratch) / "after"))
        yield _Ends(old, new, cases)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _entries(store: Store) -> dict[str, Path]:
    """The folders of cases by `<machine>/<case>`."""
    return {folder.relative_to(store.root).as_posix(): folder for folder in store.entries()}


class _Compared:
    """One case on both sides, of which one may be missing, by its folder: `<machine>/<case>`."""

    def __init__(self, name: str, before: Reference | None, after: Reference | None) -> None:
        self.name = name
        self.before = before
        self.after = after

    @property
    def differs(self) -> bool:
        """Whether the records of the two are unequal: they have the digests of all files but the trace."""
        sides = [side.baseline if side is not None else None for side in (self.before, self.after)]
        return sides[0] != sides[1]

    def described(self) -> CaseDiff:
        """What changed, for a terminal."""
        from pytest_diffbench.report.baseline_diff import case_diff

        before, after = (side.baseline if side is not None else None for side in (self.before, self.after))
        return case_diff(self.name, before, after, self.report)

    @functools.cached_property
    def report(self) -> CaseReport | None:
        """The newer side as a case that was measured, judged by the older one; None where it is gone."""
        from pytest_diffbench.judge import judge, limits_with
        from pytest_diffbench.judge.output.loosening import TOLERANCES, thresholds_after
        from pytest_diffbench.records import CaseReport, Gate, Thresholds
        from pytest_diffbench.report.sentences import all_worded

        if self.after is None:
            return None
        baseline = self.after.baseline
        observation = _as_observed(baseline)
        tolerance = {
            limit: value
            for limit, value in thresholds_after(baseline.tolerances).items()
            if value != TOLERANCES[limit].default
        }
        reasons = [change.reason for change in baseline.tolerances if change.limit in tolerance]
        thresholds = Thresholds(tolerance=tolerance, reason=reasons[-1] if reasons else None)
        gates: tuple[Gate, ...] = ("work", "output", "memory")
        try:
            verdicts = all_worded(
                judge(observation, self.after.artifacts(), self._accepted_before(), limits_with(thresholds), gates)
            )
        except BaselineError as error:
            return CaseReport(observation=observation, verdicts=(), error=str(error), thresholds=thresholds)
        return CaseReport(
            observation=observation,
            verdicts=verdicts,
            baseline_path=self.name if self.before is not None else None,
            baseline_distance="machine" if self.before is not None else None,
            changed_since=self.before.changed_since(observation.run.environment) if self.before is not None else (),
            thresholds=thresholds,
        )

    def _accepted_before(self) -> Reference | None:
        """The older side with the newer one's history of thresholds, which rows of their own tell of."""
        if self.before is None or self.after is None:
            return None
        baseline = msgspec.structs.replace(self.before.baseline, tolerances=self.after.baseline.tolerances)
        return dataclasses.replace(self.before, baseline=baseline)

    def sides(self, arrays: bool) -> Sides:
        """Both sides, for pictures."""
        from pytest_diffbench.records.artifacts import Artifacts, Sides

        baseline = self.before.baseline if self.before is not None else None
        if not arrays:
            return Sides(baseline=baseline)
        read = []
        for side in (self.after, self.before):
            read.append(Artifacts())
            with contextlib.suppress(DiffbenchError):
                read[-1] = side.artifacts() if side is not None else Artifacts()
        return Sides(now=read[0], base=read[1], baseline=baseline)


def _as_observed(baseline: Baseline) -> Observation:
    """What a baseline accepted, as if it had just been measured."""
    from pytest_diffbench.records import Observation

    return Observation(
        case=baseline.case,
        run=baseline.runs[-1],
        work=baseline.work,
        output=baseline.output,
        memory=baseline.memory,
        layers=baseline.layers,
        profile=baseline.profile,
    )


def _page(path: Path, compared: list[_Compared]) -> Path:
    from pytest_diffbench.report.html import page

    reports = [(report, item) for item in compared if (report := item.report) is not None]
    # One test has a case on several machines, so cases are told apart by their records.
    by_identity = {id(report): item for report, item in reports}
    session = _session([report for report, _ in reports], [item for item in compared if item.after is None])

    def sides(report: CaseReport, arrays: bool) -> Sides:
        return by_identity[id(report)].sides(arrays)

    return page.write(path, [page.SessionSource(session, sides)])


def _session(reports: list[CaseReport], removed: list[_Compared]) -> SessionReport:
    """The newer baselines as a session, so that they can be shown as one."""
    from pytest_diffbench.records import DECISIONS, SessionReport, Skipped

    decisions = [verdict.decision for report in reports for verdict in report.verdicts]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return SessionReport(
        diffbench=__version__,
        started=now,
        finished=now,
        interrupted=False,
        settings={},
        counts={decision: decisions.count(decision) for decision in DECISIONS},
        missing_baselines=(),
        skipped=tuple(Skipped(test=item.name, reason="this baseline was removed") for item in removed),
        cases=tuple(reports),
    )


_AT_ONCE = 100
"""Folders that one call of git is given: a command line has an end."""

_TIMEOUT_S = 300.0


class Repository:
    """The git repository that a folder of baselines lies in, which needs not exist any more.

    Raises:
        DiffbenchError: git isn't there, or this is no repository.
    """

    def __init__(self, folder: Path) -> None:
        start = folder.resolve()
        while not start.is_dir():
            start = start.parent
        self._root = Path(_git(start, "rev-parse", "--show-toplevel").decode().rstrip("\n")).resolve()
        try:
            self._folder = folder.resolve().relative_to(self._root).as_posix()
        except ValueError:
            raise DiffbenchError(f"{folder}: lies outside the git repository {self._root}.") from None

    def commit(self, revision: str) -> str:
        """The commit that a revision names.

        Raises:
            DiffbenchError: it names none.
        """
        try:
            commit = _git(
                self._root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except DiffbenchError:
            raise DiffbenchError(
                f"{revision}: is neither a folder nor a git revision of {self._root}. Name one of them; "
                "in CI, check out the history (fetch-depth: 0)."
            ) from None
        return commit.decode().strip()

    def changed(self, before: str, after: str | None) -> set[str]:
        """Folders of cases in which files differ, as `<machine>/<case>`.

        Args:
            before: a commit.
            after: a commit; None for the working tree, with what isn't committed.
        """
        ends = [before] if after is None else [before, after]
        names = _git(self._root, "diff", "--name-only", "--no-renames", "-z", *ends, "--", self._folder)
        if after is None:
            names += _git(self._root, "ls-files", "--others", "--exclude-standard", "-z", "--", self._folder)
        return set(self._cases(names))

    def extract(self, commit: str, cases: Iterable[str], target: Path) -> Path:
        """Write the folders of cases as they were at a commit; gives the folder of baselines that holds them.

        Args:
            commit: as `commit` gives it.
            cases: as `changed` gives them; those that weren't there are left out.
            target: an empty folder.

        Raises:
            DiffbenchError: git can't read them.
        """
        names = _git(self._root, "ls-tree", "-r", "-z", "--name-only", commit, "--", self._folder)
        there = sorted(set(self._cases(names)) & set(cases))
        prefix = PurePosixPath(self._folder)
        for begin in range(0, len(there), _AT_ONCE):
            paths = [str(prefix / case) for case in there[begin : begin + _AT_ONCE]]
            data = _git(self._root, "archive", "--format=tar", commit, "--", *paths)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(target, filter="data")
        return target / prefix

    def _cases(self, names: bytes) -> Iterable[str]:
        for name in names.decode("utf-8", "surrogateescape").split("\0"):
            path = PurePosixPath(name)
            if name and path.is_relative_to(self._folder):
                machine, *rest = path.relative_to(self._folder).parts
                if len(rest) >= 2:
                    yield f"{machine}/{rest[0]}"


def _git(folder: Path, *arguments: str) -> bytes:
    """What git writes. Raises DiffbenchError where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False, timeout=_TIMEOUT_S)
    except FileNotFoundError:
        raise DiffbenchError("git isn't installed. Name two folders instead of revisions.") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DiffbenchError(f"git {arguments[0]} failed in {folder}: {error}") from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}"
        raise DiffbenchError(f"git {arguments[0]} failed in {folder}: {words}")
    return done.stdout
