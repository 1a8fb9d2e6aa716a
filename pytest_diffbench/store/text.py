"""The text of `baseline.json`: one layout, made for reading diffs."""

from __future__ import annotations

import json
from typing import Any

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
