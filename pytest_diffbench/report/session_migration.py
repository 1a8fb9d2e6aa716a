"""Brings a session that an older version wrote to the present schema."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from pytest_diffbench.judge.reasons import FORMER_NAMES
from pytest_diffbench.records.details import Details, RatioDetails

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
