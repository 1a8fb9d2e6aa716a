"""The page of `--diffbench-report`: what it shows is kept while tests run, and the page made at the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Observation, SessionReport
    from pytest_diffbench.records.artifacts import Artifacts, Reference, Sides


def pictures_of(page: Path) -> Path:
    """The folder in which the processes of a session keep what its page shows; it lasts as long as the session."""
    return page.with_name(f".{page.name}.pictures")


def keep(page: Path, observation: Observation, artifacts: Artifacts, reference: Reference | None) -> None:
    """Keep both sides of a case until the page is made. Parallel workers may do so at once.

    Raises:
        BaselineError: they can't be kept.
    """
    from pytest_diffbench.store import keep_sides

    keep_sides(pictures_of(page), observation, artifacts, reference)


class ReportPage:
    """The page of a session.

    Args:
        path: a file that ends in `.html`, or a folder.
        images: folder of `--diffbench-images`, where that was given.
    """

    def __init__(self, path: Path, images: str | None = None) -> None:
        self._path = path
        self._folders = [pictures_of(path), *([Path(images)] if images is not None else [])]

    def begin(self) -> None:
        """Forget what a session left that was ended from outside."""
        shutil.rmtree(pictures_of(self._path), ignore_errors=True)

    def end(self, session: SessionReport) -> Path:
        """Make the page; gives the file to open.

        Raises:
            DiffbenchError: it can't be written. What it would have shown stays.
        """
        from pytest_diffbench.report.html import page
        from pytest_diffbench.store import sides_of

        def sides(report: CaseReport, arrays: bool) -> Sides:
            return sides_of(self._folders, report.observation, arrays=arrays)

        written = page.write(self._path, [page.SessionSource(session, sides)])
        shutil.rmtree(pictures_of(self._path), ignore_errors=True)
        return written
