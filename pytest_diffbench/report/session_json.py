"""The file that holds all results of a session: writing it, also while the session runs, and reading it back.

While tests run, a journal beside the file has a line for each that has ended, so that whatever ends the session loses
none of them. The file itself is written anew too, as long as that is cheap: after each test it would cost the square
of their number.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.judge.reasons import FORMER_NAMES
from pytest_diffbench.records import (
    DECISIONS,
    SESSION_SCHEMA,
    CaseReport,
    Comparison,
    PositiveCount,
    Record,
    SessionReport,
    Skipped,
    Verification,
    as_json,
)
from pytest_diffbench.records.details import Details, RatioDetails
from pytest_diffbench.report.efficiency import efficiency_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


_CHEAP_BYTES = 2**20
"""Files up to this size are written anew after each test, larger ones when they have grown by half."""


class _Head(msgspec.Struct):
    """What is looked at before anything else. Other fields are let through."""

    schema: int


class Finished(Record, frozen=True, kw_only=True):
    """What one attempt at a test has brought."""

    test: str
    """Its node id."""

    cases: tuple[CaseReport, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    verifications: tuple[Verification, ...] = ()
    skipped: Skipped | None = None
    attempts: PositiveCount = 1
    """Number of this attempt."""

    explained: tuple[str, ...] = ()
    """Ids of the cases whose failures stand in the test's own."""


def filled(session: SessionReport, finished: Iterable[Finished]) -> SessionReport:
    """A session with what its tests have brought, in that order; of what a test measured again the last counts.

    Args:
        session: its own cases, comparisons, verifications, counts and skipped tests are replaced.
        finished: of all tests so far.
    """
    cases: dict[tuple[str, str], CaseReport] = {}
    comparisons: dict[tuple[str, str], Comparison] = {}
    verifications: dict[str, tuple[Verification, ...]] = {}
    skipped: dict[str, Skipped] = {}
    attempts: dict[str, int] = {}
    for finished_test in finished:
        cases |= {(finished_test.test, case.observation.case.id): case for case in finished_test.cases}
        comparisons |= {(finished_test.test, comparison.id): comparison for comparison in finished_test.comparisons}
        attempts[finished_test.test] = finished_test.attempts
        if finished_test.verifications:
            verifications[finished_test.test] = finished_test.verifications
        if finished_test.skipped is not None:
            skipped[finished_test.test] = finished_test.skipped
    reports = tuple(msgspec.structs.replace(case, attempts=attempts[test]) for (test, _), case in cases.items())
    decisions = [verdict.decision for case in reports for verdict in case.verdicts]
    return msgspec.structs.replace(
        session,
        counts={decision: decisions.count(decision) for decision in DECISIONS},
        missing_baselines=tuple(
            dict.fromkeys(
                case.observation.case.id
                for case in reports
                if {case.baseline_path, case.saved, case.error, case.against} == {None}
            )
        ),
        skipped=tuple(skipped.values()),
        cases=reports,
        comparisons=tuple(comparisons.values()),
        verifications=tuple(verification for of_test in verifications.values() for verification in of_test),
    )


class SessionFile:
    """A session's file while the session runs; its folder is made where it isn't there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal = _journal_of(path)
        self._size = self._pending = 0

    def begin(self, session: SessionReport) -> None:
        """Put a session without results in the place of whatever was there.

        Raises:
            DiffbenchError: the file can't be written.
        """
        session = msgspec.structs.replace(session, interrupted=True)
        with contextlib.suppress(OSError):  # which writing the file tells
            self._journal.unlink(missing_ok=True)
        write(self._path, session)
        with contextlib.suppress(OSError):
            self._size = self._append(session)

    def add(self, finished: Finished, so_far: Callable[[], SessionReport]) -> None:
        """Keep what a test has brought, for good. What the disk has no room for is left to `end` to tell.

        `so_far` makes the session of all tests that have ended, this one included.
        """
        with contextlib.suppress(OSError, DiffbenchError):
            self._pending += self._append(finished)
            if self._size + self._pending <= _CHEAP_BYTES or 2 * self._pending > self._size:
                write(self._path, msgspec.structs.replace(so_far(), interrupted=True))
                self._size, self._pending = self._path.stat().st_size, 0

    def end(self, session: SessionReport) -> None:
        """Write the session as it ended.

        Raises:
            DiffbenchError: the file can't be written; the journal stays.
        """
        write(self._path, session)
        with contextlib.suppress(OSError):
            self._journal.unlink(missing_ok=True)

    def _append(self, line: Record) -> int:
        data = b"\n" + msgspec.json.encode(line)  # before it, so that one that was torn spoils no other
        with self._journal.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return len(data)


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def _with_journal(path: Path, session: SessionReport) -> SessionReport:
    """A session that was ended from outside, with what its journal has beside it."""
    if not session.interrupted:
        return session
    try:
        _, head, *lines = _journal_of(path).read_bytes().split(b"\n")
        if msgspec.json.decode(head, type=SessionReport).started != session.started:
            return session  # another session's
    except (FileNotFoundError, ValueError):  # none, or not even begun; what can't be decoded is a ValueError
        return session
    finished: list[Finished] = []
    for line in lines:
        with contextlib.suppress(ValueError):  # not written to its end
            finished.append(msgspec.json.decode(line, type=Finished))
    return filled(session, finished)


def dump(session: SessionReport) -> bytes:
    """A session as JSON in UTF-8: indented, fields in the order of the records, other keys in alphabetical order.

    Each case has its efficiency with it.
    """
    cases = tuple(msgspec.structs.replace(case, efficiency=efficiency_of(case.observation)) for case in session.cases)
    whole = msgspec.structs.replace(session, cases=cases)
    return as_json(whole)


def load(path: Path) -> SessionReport:
    """Read a session. Of one that was ended from outside, what its journal has in addition is read too.

    Raises:
        DiffbenchError: the file can't be read, isn't one of a session, or is of a newer schema; the message names the
            file, the field and the remedy.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        what = "is a folder" if path.is_dir() else "doesn't exist" if not path.exists() else str(error.strerror)
        raise DiffbenchError(f"{path}: {what}. Name a file that pytest --diffbench-json wrote.") from None
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DiffbenchError(_no_session(path, error)) from None
    if head.schema == SESSION_SCHEMA - 1:
        data = msgspec.json.encode(migrated(msgspec.json.decode(data)))
    elif head.schema != SESSION_SCHEMA:
        remedy = "Update pytest-diffbench" if head.schema > SESSION_SCHEMA else "Measure again"
        raise DiffbenchError(
            f"{path}: field schema is {head.schema}, this version reads {SESSION_SCHEMA}. {remedy} to use this file."
        )
    try:
        session = msgspec.json.decode(data, type=SessionReport)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DiffbenchError(_no_session(path, error)) from None
    return _with_journal(path, session)


def write(path: Path, session: SessionReport) -> None:
    """Write a session, atomically: whoever reads the file finds the old one or the new one, whole.

    Raises:
        DiffbenchError: the file can't be written.
    """
    # Opened like any other file, so that it gets the permissions that the user's files have.
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(dump(session))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DiffbenchError(
            f"{path}: can't be written ({error.strerror or error}). Give --diffbench-json a writable path."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _no_session(path: Path, error: Exception) -> str:
    what, _, where = str(error).partition(" - at `$")
    field = where.rstrip("`").lstrip(".")
    place = f"field {field}: " if field else ""
    return f"{path}: {place}{what}. Name an unchanged file that pytest --diffbench-json wrote."


_TAGS = {struct.__struct_config__.tag: struct for struct in get_args(Details)}

_SAVED = re.compile(
    r"(?P<what>created|added run|new generation|kept|refused)(?: (?P<number>\d+))?"
    r"(?P<anew>, from which times count anew)?"
    r"(?:: (?P<why>.*?))?(?P<refuted>; refuted by a fresh process)?",
    re.DOTALL,
)
"""What schema 1 said in words of a case that was to be saved."""

_WHAT = {"added run": "added", "new generation": "new_generation"}


def migrated(session: dict[str, Any]) -> dict[str, Any]:
    """A session of schema 1, as plain JSON, in the form of schema 2.

    Figures behind verdicts that have another form now are left out; decisions, reasons, messages and all measurements
    stay.
    """
    for case in session.get("cases", ()):
        if isinstance(case.get("saved"), str):
            case["saved"] = _outcome(case["saved"])
        for verdict in case.get("verdicts", ()):
            details = verdict.get("details") or {}
            verdict["formerly"] = details.pop("formerly", FORMER_NAMES.get(verdict.get("reason")))
            verdict["details"] = _details(str(verdict.get("gate")), details)
    return session | {"schema": 2}


def _outcome(text: str) -> dict[str, Any]:
    match = _SAVED.fullmatch(text)
    if match is None:
        return {"what": "kept", "why": text}
    return {
        "what": _WHAT.get(match["what"], match["what"]),
        "number": int(match["number"]) if match["number"] else None,
        "times_anew": match["anew"] is not None,
        "why": match["why"] or "",
        "refuted": match["refuted"] is not None,
    }


def _details(gate: str, figures: dict[str, Any]) -> Any:
    """Figures whose names and form are the same, as builtins; None where the rest can't stand without the others."""
    struct = RatioDetails if "speedup_rel" in figures else _TAGS.get(gate)
    if struct is None or not figures:
        return None
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        if field.encode_name in figures:
            try:
                msgspec.convert(figures[field.encode_name], field.type, strict=False)
            except msgspec.ValidationError:
                continue
            known[field.encode_name] = figures[field.encode_name]
    try:
        return msgspec.to_builtins(msgspec.convert(known | {"kind": struct.__struct_config__.tag}, struct))
    except msgspec.ValidationError:
        return None
