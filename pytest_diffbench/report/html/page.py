"""Makes the page of one or several sessions: a single file, or a folder with pictures beside it."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import os
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape

from pytest_diffbench import __version__
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.report.figures import PASSING, STATUSES, status_of, verdict_of
from pytest_diffbench.report.html import views
from pytest_diffbench.report.html.cases import case_view, gravity_of, slug_of
from pytest_diffbench.report.html.encoding import encode_looks, place_looks
from pytest_diffbench.report.html.files import Beside, Files, Inline
from pytest_diffbench.report.html.overview import gate_views, session_view
from pytest_diffbench.report.html.rows import output_details_of
from pytest_diffbench.report.html.svg import element
from pytest_diffbench.report.sentences import page as sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_diffbench.records import Baseline, CaseReport, SessionReport
    from pytest_diffbench.records.artifacts import Sides
    from pytest_diffbench.report.html.encoding import EncodedLook

_HERE = Path(__file__).parent
_MOST_PASSING = 60
"""Passing cases that have a picture and charts on a single page; further ones have their figures in tables."""

_AT_ONCE = 16
"""Cases whose pictures are in memory at the same time."""


@dataclasses.dataclass(frozen=True, slots=True)
class SessionSource:
    """A session to show.

    Attributes:
        session: its record.
        sides: gives what is at hand of a case, without arrays where the second argument is False; several threads
            ask it.
        label: its name where there are several.
        past: gives the curves of a case from a history; None without one.
    """

    session: SessionReport
    sides: Callable[[CaseReport, bool], Sides]
    label: str = ""
    past: Callable[[CaseReport], tuple[views.Past, ...]] | None = None


def is_single(path: Path) -> bool:
    """Whether a path names a page in a single file; else a folder is meant."""
    return path.suffix.lower() in (".html", ".htm")


def write(path: Path, sources: Sequence[SessionSource]) -> Path:
    """Write the page of sessions; the file appears whole, or not at all.

    Args:
        path: of a file that ends in `.html`, or of a folder.
        sources: the sessions, in the order in which they are named on the page.

    Returns:
        The file to open.

    Raises:
        DiffbenchError: the place can't be written.
    """
    single = is_single(path)
    page = path if single else path / "index.html"
    temporary = page.with_name(f".{page.name}-{uuid.uuid4().hex[:12]}")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        text = render(sources, Inline() if single else Beside(path))
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(page)
    except OSError as error:
        raise DiffbenchError(f"{page}: can't be written ({error.strerror or error}). Name another place.") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return page


def render(sources: Sequence[SessionSource], files: Files) -> str:
    """The page as HTML; its pictures go to `files`.

    Raises:
        DiffbenchError: they can't be written.
    """
    page = _page(sources, files)
    style, script = (_static(name) for name in ("report.css", "report.js"))
    early = _static("early.js")
    images = "data:" if not files.whole else "data: 'self' file:"
    # Nothing may be loaded but what stands in the page or beside it, and no script runs but these two.
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(early)} {_hash(script)}",
            f"style-src {_hash(style)}",
            f"img-src {images}",
            f"media-src {images}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    template = _environment().get_template("page.html")
    return template.render(page=page, style=Markup(style), early=Markup(early), script=Markup(script), policy=policy)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8").strip()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates", encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["code"] = _code
    environment.globals |= {
        "left_out": sentences.LEFT_OUT,
        "used_name": sentences.used_name,
        "stage_name": sentences.stage_name,
    }
    return environment


def _code(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one that has no other
        return escape(text)
    return Markup("").join(element("code", piece) if number % 2 else piece for number, piece in enumerate(pieces))


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """A case to show."""

    number: int
    report: CaseReport
    source: SessionSource
    place: int


def _page(sources: Sequence[SessionSource], files: Files) -> views.Page:
    jobs = [
        _Job(number, report, source, place)
        for number, source in enumerate(sources)
        for place, report in enumerate(source.session.cases)
    ]
    jobs.sort(key=lambda job: gravity_of(job.report))
    taken: set[str] = set()
    cases: list[views.Case] = []
    for order, (job, bare, (looks, baseline, kept)) in enumerate(_encoded(jobs, files)):
        view = case_view(
            job.report,
            job.source.session,
            baseline,
            place_looks(looks, files),
            slug=slug_of(job.report, taken),
            number=job.number,
            kept=kept,
            bare=bare,
        )
        past = job.source.past(job.report) if job.source.past is not None else ()
        cases.append(dataclasses.replace(view, order=order, past=past))
    counts: Counter[str] = Counter(case.status for case in cases)
    sessions = [
        session_view(
            source.session,
            source.label,
            {case.case_id: case for case in cases if case.session == number},
        )
        for number, source in enumerate(sources)
    ]
    first = sources[0].session if sources else None
    verifications = [verification for source in sources for verification in source.session.verifications]
    wrong = sum(bool(verification.having("broken")) for verification in verifications)
    headline = sentences.headline(len(cases), counts, len(verifications), wrong)
    return views.Page(
        title=headline,
        headline=headline,
        version=__version__,
        finished=first.finished.replace("T", " ").replace("+00:00", " UTC") if first is not None else "",
        counts=tuple((status, counts[status]) for status in STATUSES if counts[status]),
        gates=gate_views(cases),
        sessions=tuple(sessions),
        cases=tuple(cases),
        models=tuple(sorted({case.model for case in cases})),
        stages=tuple(dict.fromkeys(stage for case in cases for stage in case.stages)),
    )


def _encoded(
    jobs: Sequence[_Job], files: Files
) -> Iterator[tuple[_Job, bool, tuple[tuple[EncodedLook, ...], Baseline | None, bool]]]:
    """Each case, whether tables have to do for it, and its pictures.

    They are made in several threads, since Pillow and zlib don't hold the interpreter's lock.
    """
    passing = 0
    work: list[tuple[_Job, bool, bool]] = []
    for job in jobs:
        brief = not files.whole and _is_same(job.report)
        passing += brief
        work.append((job, brief, brief and passing > _MOST_PASSING))
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for begin in range(0, len(work), _AT_ONCE):
            batch = work[begin : begin + _AT_ONCE]
            done = pool.map(lambda item: _encode(item[0], files.whole, brief=item[1], bare=item[2]), batch)
            for (job, _, bare), result in zip(batch, done, strict=True):
                yield job, bare, result


def _encode(
    job: _Job, whole: bool, *, brief: bool, bare: bool
) -> tuple[tuple[EncodedLook, ...], Baseline | None, bool]:
    sides = job.source.sides(job.report, not bare)
    if bare:
        return (), sides.baseline, True
    looks = encode_looks(job.report, sides, output_details_of(job.report), whole=whole, brief=brief)
    return looks, sides.baseline, bool(looks)


def _is_same(report: CaseReport) -> bool:
    """Whether a case needs no look: nothing is wrong, and its output is what it was."""
    verdict = verdict_of(report, "output")
    same = verdict is None or verdict.reason == "output.same_bits"
    return same and (status_of(report) in PASSING or status_of(report) in ("saved", "measured"))
