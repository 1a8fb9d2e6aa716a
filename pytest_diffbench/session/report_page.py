"""The page of `--diffbench-report`: what it shows is kept while tests run, and the page made at the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Observation, SessionReport
    from pytest_diffbench.records.artifacts import Artifacts, Reference, Sides

KEPT = "kept"
"""Folder beside a page's `index.html`, with what `diffbench accept` needs."""


def pictures_of(page: Path) -> Path:
    """The folder in which the processes of a session keep what its page shows; it lasts as long as the session."""
    return page.with_name(f".{page.name}.pictures")


def keep(page: Path, observation: Observation, artifacts: Artifacts, reference: Reference | None) -> str | None:
    """Keep both sides of a case until the page is made. Parallel workers may do so at once.

    Returns:
        The digest of the trace, which is kept with a page that is a folder; None for a single file.

    Raises:
        BaselineError: they can't be kept.
    """
    from pytest_diffbench.report.html.page import is_single
    from pytest_diffbench.store import keep_sides, keep_trace

    keep_sides(pictures_of(page), observation, artifacts, reference)
    return None if is_single(page) else keep_trace(pictures_of(page), artifacts)


def _keep_for_accepting(session: SessionReport, source: Path, target: Path) -> None:
    """Keep with the page what `diffbench accept` needs: traces, and outputs that the baseline hasn't got."""
    from pytest_diffbench.report.figures import verdict_of
    from pytest_diffbench.store import copy_kept

    for report in session.cases:
        verdict = verdict_of(report, "output")
        stored = report.against is None and report.baseline_distance == "machine"
        same = stored and verdict is not None and verdict.reason == "output.same_bits"
        if report.trace_digest is not None:
            copy_kept(source, target, None if same else report.observation.output, report.trace_digest)


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
        if not page.is_single(self._path):
            _keep_for_accepting(session, pictures_of(self._path), self._path / KEPT)
        shutil.rmtree(pictures_of(self._path), ignore_errors=True)
        return written
