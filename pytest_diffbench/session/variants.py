"""What a test asks to be compared: variants of a call, checked before anything is measured."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError, did_you_mean
from pytest_diffbench.records.facts import fact_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """A variant that changes more than arguments.

    Attributes:
        arguments: keyword arguments of the call, beside those that all variants share; they win over those.
        target: another pipeline or callable to call; None for the comparison's own.
    """

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    target: Any = None


def check(variants: object, reference: object) -> tuple[dict[str, Variant], str]:
    """The variants by name, and the reference's name: the first one's where none was given.

    Raises:
        MeasureError: naming the variant and the remedy.
    """
    example = 'variants={"full": {}, "half": {"cfg_trunc_ratio": 0.5}}'
    if not isinstance(variants, dict):
        raise MeasureError(f"compare() was given variants={variants!r}. Give names and arguments: {example}.")
    if len(variants) < 2:
        given = f"one variant, {next(iter(variants))!r}" if variants else "no variant"
        raise MeasureError(f"compare() was given {given}: there is nothing to compare. Give two or more: {example}.")
    checked: dict[str, Variant] = {}
    for name, variant in variants.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or "#" in name:
            raise MeasureError(
                f"compare() was given a variant named {name!r}. The name becomes part of the case's id: use one "
                "line, without '#'."
            )
        if isinstance(variant, Variant):
            checked[name] = variant
        elif isinstance(variant, dict) and all(isinstance(key, str) for key in variant):
            checked[name] = Variant(variant)
        else:
            raise MeasureError(
                f"compare() was given {variant!r} as variant {name!r}. Give a dict of arguments, or "
                "Variant(arguments, target=...) of pytest_diffbench.session.variants."
            )
    _refuse_clashes(checked)
    if reference is None:
        return checked, next(iter(checked))
    if not isinstance(reference, str) or reference not in checked:
        hint = did_you_mean(str(reference), checked)
        raise MeasureError(
            f"compare() was given reference={reference!r}, which is none of the variants{hint}. Name one of: "
            f"{', '.join(checked)}."
        )
    return checked, reference


def _refuse_clashes(variants: Mapping[str, Variant]) -> None:
    """Refuse names that a reader, or a file system, would take for one."""
    known: dict[str, str] = {}
    for name in variants:
        other = known.setdefault(" ".join(name.split()).casefold(), name)
        if other != name:
            raise MeasureError(
                f"compare() was given variants named {other!r} and {name!r}, which can't be told apart. Rename one."
            )


def sweep_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], str, list[Any]]:
    """Take apart what `sweep` is called with: the call's own arguments, the argument to change, and its values.

    Raises:
        MeasureError: naming what isn't as it should be.
    """
    form = 'sweep(pipeline, prompt, "cfg_trunc_ratio", [1.0, 0.7, 0.5])'
    if len(args) < 2 or not isinstance(args[-2], str) or not isinstance(args[-1], (list, tuple, range)):
        raise MeasureError(
            f"sweep() takes the call's own arguments, then the name of an argument and a list of its values: {form}."
        )
    argument, values = args[-2], list(args[-1])
    if len(values) < 2:
        raise MeasureError(f"sweep() was given {values!r} for {argument}: give two values or more, as in {form}.")
    if argument in kwargs:
        raise MeasureError(
            f"sweep() was given {argument}={kwargs[argument]!r} and {argument} to change. Leave out the first."
        )
    for value in values:
        try:
            fact_of(value)
        except TypeError:
            raise MeasureError(
                f"sweep() was given {value!r} for {argument}. Use plain values, or compare() with a name for each "
                "variant."
            ) from None
    names = [value_name(value) for value in values]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MeasureError(
            f"sweep() was given {', '.join(twice)} for {argument} more than once. Give each value once."
        )
    return tuple(args[:-2]), argument, values


def value_name(value: object) -> str:
    """How a value of a sweep is named."""
    with contextlib.suppress(TypeError):  # for a reference that is none of the values, which is told
        value = fact_of(value)  # numpy's and members of enumerations are written otherwise
    return value if isinstance(value, str) else repr(value)
