"""Baselines as they were at a git revision: the folders of the cases that changed, in a folder that goes again."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

_AT_ONCE = 100
"""Folders that one call of git is given: a command line has an end."""

_TIMEOUT_S = 300.0


class Repository:
    """The git repository that a folder lies in.

    Args:
        folder: of baselines; needs not exist any more.

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
