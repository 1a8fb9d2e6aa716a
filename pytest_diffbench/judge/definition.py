"""Whether two definitions of a case are equal, and if not, in which fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.text import listed

if TYPE_CHECKING:
    from pytest_diffbench.records import Definition, Environment, Fact

_ABSENT = object()
_LONGEST_VALUE = 60
_MOST_UNKNOWN = 3

_FACT_NAMES = {
    "caches": "cache sizes",
    "instruction_sets": "instruction sets",
    "memory_gib": "size of memory",
    "cpu_family": "family of the processor",
    "cpu_model": "model of it",
    "cpu_stepping": "stepping of it",
    "virtual_machine": "kind of virtual machine",
    "device_memory_gib": "size of the device's memory",
    "device_mig": "part of the device",
    "device_power_limit_w": "power limit of the device",
}


def definition_changes(old: Definition, new: Definition) -> tuple[str, ...]:
    """Name every field that differs, nested arguments by their path.

    Returns:
        Lines such as `arguments.num_inference_steps: 30 -> 20`, in the order of the fields; empty when equal.
    """
    before, after = _flat(old), _flat(new)
    return tuple(
        f"{name}: {_shown(before.get(name, _ABSENT))} -> {_shown(after.get(name, _ABSENT))}"
        for name in dict.fromkeys((*before, *after))
        if not _equal(before.get(name, _ABSENT), after.get(name, _ABSENT))
    )


def fact_changes(old: dict[str, Fact], new: dict[str, Fact]) -> tuple[str, ...]:
    """Name every fact of an environment that differs, as `power_limit_w: 700 -> 450`, in alphabetical order."""
    return tuple(
        f"{name}: {_shown(old.get(name, _ABSENT))} -> {_shown(new.get(name, _ABSENT))}"
        for name in sorted(old.keys() | new.keys())
        if not _equal(old.get(name, _ABSENT), new.get(name, _ABSENT))
    )


def environment_changes(old: Environment, new: Environment) -> tuple[str, str] | None:
    """Tell why times or memory of two environments must not be compared.

    Returns:
        `hardware` or `settings`, and the facts in which they differ or that the old one lacks; None when they may be
        compared.
    """
    if hardware := _hardware_changes(old.hardware, new.hardware):
        return "hardware", listed(hardware)
    if settings := fact_changes(old.settings, new.settings):
        return "settings", listed(settings)
    return None


def _hardware_changes(old: dict[str, Fact], new: dict[str, Fact]) -> tuple[str, ...]:
    """As `fact_changes`, with one line for all facts that nobody recorded at the time of the older run.

    What isn't known of the older one can't be called equal.
    """
    unknown = sorted((name for name in new if name not in old), key=[*_FACT_NAMES, *new].index)
    if not unknown:
        return fact_changes(old, new)
    known = new.keys() & old.keys()
    changed = fact_changes(*({name: facts[name] for name in known} for facts in (old, new)))
    shown = ", ".join(f"no {_FACT_NAMES.get(name, name)}" for name in unknown[:_MOST_UNKNOWN])
    more = f", and {len(unknown) - _MOST_UNKNOWN} more" if len(unknown) > _MOST_UNKNOWN else ""
    return (*changed, f"recorded before the class of a machine was known ({shown}{more})")


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


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 4] + "..." + text[-1]
