"""Whether two definitions of a case are equal, and if not, in which fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.records.details import FieldChange, Incomparable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_diffbench.records import Definition, Environment, Fact

_ABSENT = object()
_LONGEST_VALUE = 60


def definition_changes(old: Definition, new: Definition) -> tuple[FieldChange, ...]:
    """Every field that differs, nested arguments by their path, in the order of the fields; empty when equal."""
    before, after = _flat(old), _flat(new)
    return _changes(before, after, dict.fromkeys((*before, *after)))


def fact_changes(old: dict[str, Fact], new: dict[str, Fact]) -> tuple[FieldChange, ...]:
    """Every fact of an environment that differs, in alphabetical order."""
    return _changes(old, new, sorted(old.keys() | new.keys()))


def environment_changes(old: Environment, new: Environment) -> tuple[str, Incomparable] | None:
    """Tell why times or memory of two environments must not be compared.

    Returns:
        `hardware` or `settings`, and the facts in which they differ or that the old one lacks; None when they may be
        compared. What isn't known of the older one can't be called equal.
    """
    known = {name: fact for name, fact in new.hardware.items() if name in old.hardware}
    unknown = tuple(name for name in new.hardware if name not in old.hardware)
    lost = old.hardware if not unknown else {name: old.hardware[name] for name in known}
    hardware = fact_changes(lost, known)
    if hardware or unknown:
        return "hardware", Incomparable(facts=hardware, unknown=unknown)
    if settings := fact_changes(old.settings, new.settings):
        return "settings", Incomparable(facts=settings)
    return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(field=name, before=_written(before, name), after=_written(after, name))
        for name in names
        if not _equal(before.get(name, _ABSENT), after.get(name, _ABSENT))
    )


def _flat(definition: Definition) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in definition.__struct_fields__:
        _flatten(name, getattr(definition, name), flat)
    return flat


def _flatten(name: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict) and (value or name in ("arguments", "tuning")):
        for key in sorted(value):
            _flatten(f"{name}.{key}", value[key], into)
    else:
        into[name] = value


def _equal(a: Any, b: Any) -> bool:
    """Equality as JSON sees it: tuples are lists, NaN equals NaN, and True is not 1."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    return bool(a == b) or (a != a and b != b)  # noqa: PLR0124  # only NaN is unequal to itself


def _written(values: Mapping[str, Any], name: str) -> str | None:
    if name not in values:
        return None
    text = repr(values[name])
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 4] + "..." + text[-1]
