"""The file that holds all results of a session: writing it, and reading it back with its problems named."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import SESSION_SCHEMA, SessionReport
from pytest_diffbench.report.efficiency import efficiency_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import CaseReport, Efficiency


class _Head(msgspec.Struct):
    """What is looked at before anything else. Other fields are let through."""

    schema: int


def dump(session: SessionReport) -> bytes:
    """A session as JSON in UTF-8: indented, fields in the order of the records, other keys in alphabetical order.

    Each case has its efficiency with it.
    """
    cases = tuple(msgspec.structs.replace(one, efficiency=_efficiency(one)) for one in session.cases)
    whole = msgspec.structs.replace(session, cases=cases)
    return msgspec.json.format(msgspec.json.encode(whole, order="deterministic"), indent=2) + b"\n"


def load(path: Path) -> SessionReport:
    """Read a session.

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
    if head.schema != SESSION_SCHEMA:
        remedy = "Update pytest-diffbench" if head.schema > SESSION_SCHEMA else "Measure again"
        raise DiffbenchError(
            f"{path}: field schema is {head.schema}, this version reads {SESSION_SCHEMA}. {remedy} to use this file."
        )
    try:
        return msgspec.json.decode(data, type=SessionReport)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DiffbenchError(_no_session(path, error)) from None


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
            f"{path}: can't be written ({error.strerror or error}). Give --diffbench-json a path that can."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _efficiency(report: CaseReport) -> Efficiency | None:
    found = efficiency_of(report.observation)
    return None if found is None else found.figures()


def _no_session(path: Path, error: Exception) -> str:
    what, _, where = str(error).partition(" - at `$")
    field = where.rstrip("`").lstrip(".")
    place = f"field {field}: " if field else ""
    return f"{path}: {place}{what}. Name an unchanged file that pytest --diffbench-json wrote."
