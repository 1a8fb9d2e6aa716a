"""From the bytes of `baseline.json` to a record that can be trusted, and back."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records import BASELINE_SCHEMA, Baseline, parse_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By the schema that a step reads: plain data of that schema in, plain data of the next one out."""

RESTORE = "Restore it from version control, or delete its folder and save again with pytest --diffbench-save."
PULL = "It is a pointer of Git LFS: fetch the file itself with `git lfs pull`."

_LFS = b"version https://git-lfs"
_CURRENT = re.compile(rb'\s*\{\s*"schema"\s*:\s*(\d+)\s*[,}]')
_MISTAKE = re.compile(r"(?P<what>.*?) - at (?P<key>`key` in )?`\$\.?(?P<field>.*)`", re.DOTALL)
_UNNAMED = re.compile(r"Object (?P<kind>contains unknown|missing required) field `(?P<name>.*?)`")


def encode(baseline: Baseline, path: Path) -> bytes:
    """Write a baseline as it is stored. What was written is read once, so that nothing unreadable is ever stored.

    Raises:
        BaselineError: a figure that can't be a baseline's (NaN, infinite, zero where it must not be ...).
    """
    try:
        plain = msgspec.to_builtins(baseline, order="deterministic")
        field = _not_finite(plain, "")
        if field is not None:
            raise ValueError(f"{field} is {_at(plain, field)}, and figures of a baseline must be finite")
        data = to_text(plain).encode()
    except (TypeError, ValueError) as error:
        raise BaselineError(
            path, f"can't be written: {error}", "Measure it again, with plain values only."
        ) from error
    try:
        decode(data, path)
    except BaselineError as error:
        raise BaselineError(path, f"can't be written: {error.problem}", "Measure it again.") from None
    return data


def decode(data: bytes, path: Path) -> Baseline:
    """Read a baseline of this or an older schema; the path is for messages.

    Raises:
        BaselineError: names the field, its value and the remedy. A newer schema is refused before all else.
    """
    match = _CURRENT.match(data)
    if match is not None and int(match[1]) == BASELINE_SCHEMA:
        try:
            baseline = msgspec.json.decode(data, type=Baseline)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors too
            pass  # found out below, slowly, and told so that a person can put it right
        else:
            if baseline.schema == BASELINE_SCHEMA:
                _check(baseline, path)
                return baseline
    return _decode_slowly(data, path)


def refuse_pointer(data: bytes, path: Path) -> None:
    """Raise BaselineError where a file is only the pointer that Git LFS left in its place."""
    if data.startswith(_LFS):
        raise BaselineError(path, "holds no data", PULL)


def _decode_slowly(data: bytes, path: Path) -> Baseline:
    plain = _migrated(_parsed(data, path), path)
    _refuse_not_finite(plain, path)
    try:
        baseline = msgspec.convert(plain, Baseline)
    except msgspec.ValidationError as error:
        _refuse_mistake(plain, str(error), path)
    _check(baseline, path)
    return baseline


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    refuse_pointer(data, path)
    if not data.strip():
        raise BaselineError(path, "is empty", RESTORE)
    if data.startswith(b"<<<<<<<") or b"\n<<<<<<<" in data:
        raise BaselineError(
            path, "holds conflict markers of git", "Keep one side completely, with its images and trace."
        )
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BaselineError(path, f"isn't valid JSON, or was cut short: {error}", RESTORE) from error
    if not isinstance(plain, dict):
        raise BaselineError(path, f"holds {reprlib.repr(plain)} where an object was expected", RESTORE)
    return plain


def _migrated(plain: dict[str, Any], path: Path) -> dict[str, Any]:
    """Bring older data to this version's schema, one step at a time."""
    schema = plain.get("schema")
    if "schema" not in plain:
        raise BaselineError(path, "has no field schema", RESTORE)
    if type(schema) is not int:
        raise BaselineError(path, f"schema is {reprlib.repr(schema)}, not an integer", RESTORE)
    if schema > BASELINE_SCHEMA:
        raise BaselineError(
            path,
            f"schema {schema} is newer than {BASELINE_SCHEMA}, which this version reads",
            "Upgrade pytest-diffbench.",
        )
    while schema < BASELINE_SCHEMA:
        if schema not in MIGRATIONS:
            problem = f"schema {schema} is older than {BASELINE_SCHEMA}, and can't be migrated"
            raise BaselineError(path, problem, RESTORE)
        try:
            plain = MIGRATIONS[schema](plain)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            problem = f"can't be migrated from schema {schema} to {schema + 1}: {error!r}"
            raise BaselineError(path, problem, RESTORE) from error
        schema += 1
        plain = {"schema": schema} | {name: value for name, value in plain.items() if name != "schema"}
    return plain


def _check(baseline: Baseline, path: Path) -> None:
    """What the types of the records can't say."""
    if not baseline.case.id:
        raise BaselineError(path, "case.id is empty", RESTORE)
    if baseline.work is not None:
        for index, group in enumerate(baseline.work.denoiser):
            field = f"work.denoiser[{index}]"
            try:
                steps = parse_steps(group.steps)
            except ValueError:
                steps = []
            if not steps:
                raise BaselineError(path, f"{field}.steps is {group.steps!r}, not steps such as '0-14,20'", RESTORE)
            for name, shape in group.shapes.items():
                _check_shape(shape, f"{field}.shapes.{name}", path)
    if baseline.output is not None and baseline.output.latents_shape is not None:
        _check_shape(baseline.output.latents_shape, "output.latents_shape", path)


def _check_shape(shape: tuple[int, ...], field: str, path: Path) -> None:
    if any(size < 1 for size in shape):
        raise BaselineError(path, f"{field} is {list(shape)}: sizes must be at least 1", RESTORE)


def _refuse_not_finite(plain: Any, path: Path) -> None:
    field = _not_finite(plain, "")
    if field is not None:
        problem = f"{field} is {_at(plain, field)}: figures of a baseline must be finite"
        raise BaselineError(path, problem, RESTORE)


def _not_finite(value: Any, field: str) -> str | None:
    """Path of the first NaN or infinity."""
    if isinstance(value, float):
        return None if math.isfinite(value) else field
    if isinstance(value, dict):
        parts = ((f"{field}.{name}" if field else name, item) for name, item in value.items())
    elif isinstance(value, (list, tuple)):
        parts = ((f"{field}[{index}]", item) for index, item in enumerate(value))
    else:
        return None
    return next((inner for name, item in parts if (inner := _not_finite(item, name)) is not None), None)


def _refuse_mistake(plain: dict[str, Any], message: str, path: Path) -> NoReturn:
    """Say what msgspec found, with the value that it found, which its message leaves out."""
    located = _MISTAKE.fullmatch(message)
    what = located["what"] if located is not None else message
    field = _narrowed(plain, message, located["field"]) if located is not None else ""
    unnamed = _UNNAMED.fullmatch(what)
    if unnamed is not None:
        name = f"{field}.{unnamed['name']}" if field else unnamed["name"]
        if unnamed["kind"] == "missing required":
            raise BaselineError(path, f"has no field {name}", RESTORE)
        raise BaselineError(path, f"has an unknown field: {name}{_shown(plain, name)}", RESTORE)
    if located is not None and located["key"]:
        raise BaselineError(path, f"{field} has an invalid name: {what}", RESTORE)
    raise BaselineError(path, f"{field}{_shown(plain, field)}: {what}", RESTORE)


def _shown(plain: dict[str, Any], field: str) -> str:
    try:
        return f" is {reprlib.repr(_at(plain, field))}"
    except LookupError:
        return ""


def _narrowed(plain: dict[str, Any], message: str, field: str) -> str:
    """Put names where msgspec writes `[...]` for 'some value of this dict': the first that fails by itself."""
    while "[...]" in field:
        before, _, after = field.partition("[...]")
        try:
            holder = _at(plain, before)
        except LookupError:
            return field
        if not isinstance(holder, dict):
            return field
        items = dict(holder)
        for name, item in items.items():
            holder.clear()
            holder[name] = item
            fails = _fails_alike(plain, message)
            holder.clear()
            holder.update(items)
            if fails:
                field = f"{before}.{name}{after}"
                break
        else:
            return field
    return field


def _fails_alike(plain: dict[str, Any], message: str) -> bool:
    try:
        msgspec.convert(plain, Baseline)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _at(plain: Any, field: str) -> Any:
    """The value at a path such as `runs[0].rounds[2].total_s`; names may themselves hold dots. Raises LookupError."""
    value = plain
    while field:
        if field.startswith("["):
            index, _, field = field[1:].partition("]")
            if not (isinstance(value, (list, tuple)) and index.isdigit()):
                raise LookupError(field)
            value = value[int(index)]
        else:
            names = value if isinstance(value, dict) else ()
            known = [name for name in names if field == name or field.startswith((f"{name}.", f"{name}["))]
            if not known:
                raise LookupError(field)
            name = max(known, key=len)
            value, field = value[name], field[len(name) :]
        field = field.removeprefix(".")
    return value


_WIDTH = 110

_ROWS = frozenset({"rounds"})
"""Lists whose items take one line each, however long."""


def to_text(value: Any) -> str:
    """Write plain data as JSON that diffs well.

    Lists of numbers, the items of `rounds`, and whatever holds only scalars and is short, take one line; the rest is
    indented by two spaces. Floats are written in the shortest form that reads back to the same bits.

    Args:
        value: dicts with keys of type str, lists, tuples, str, int, float, bool and None; dicts keep their order.

    Returns:
        The text, with a newline at its end.

    Raises:
        ValueError: a float is NaN or infinite.
        TypeError: a value that JSON doesn't have.
    """
    return _laid_out(value, "", "") + "\n"


def _laid_out(value: Any, indent: str, key: str) -> str:
    if not isinstance(value, (dict, list, tuple)) or _fits_a_line(value, indent):
        return _compact(value)
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{_compact(name)}: {_laid_out(item, inner, name)}" for name, item in value.items()]
    elif key in _ROWS:
        items = [_compact(item) for item in value]
    else:
        items = [_laid_out(item, inner, "") for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{closing}"


def _fits_a_line(value: Any, indent: str) -> bool:
    items = value.values() if isinstance(value, dict) else value
    if any(isinstance(item, (dict, list, tuple)) for item in items):
        return False
    if not isinstance(value, dict) and all(isinstance(item, (int, float)) for item in items):
        return True
    return len(indent) + len(_compact(value)) <= _WIDTH


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
