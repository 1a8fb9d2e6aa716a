"""Plain values: what a record takes, made of what a test or a hook gives."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_diffbench.records import Fact

_HOOK = "pytest_diffbench_environment"


def fact_of(value: object) -> Fact:
    """A text, a number, a bool or None as Python's own class of it: the encoder of records refuses subclasses.

    Takes members of enumerations for their values and numpy's scalars for Python's. What can't be UTF-8 in a text,
    half a surrogate pair, is escaped.

    Raises:
        TypeError: it is none of these.
    """
    numpy = sys.modules.get("numpy")  # without it, nothing is of its classes
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Not str(value), which a subclass may answer with anything.
        return str.__str__(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"{value!r} is no plain value")


def environment_facts(answers: Iterable[Any]) -> dict[str, Fact]:
    """The facts that implementations of `pytest_diffbench_environment` returned; of two with one name the later.

    Raises:
        OptionError: naming the key and the value that is no fact.
    """
    facts: dict[str, Fact] = {}
    for answer in answers:
        if answer is not None and not isinstance(answer, Mapping):
            raise OptionError(f"{_HOOK} returned {answer!r}. Return a dict of names and plain values, or None.")
        for name, value in (answer or {}).items():
            try:
                fact = fact_of(value)
            except TypeError:
                raise OptionError(
                    f"{_HOOK} returned {name!r}: {value!r}. A fact is a text, a number, a bool or None: return "
                    "str(...) of it, or several facts."
                ) from None
            if not isinstance(name, str):
                raise OptionError(f"{_HOOK} returned {name!r}: {value!r}. A fact's name is a text.")
            facts[str(fact_of(name))] = fact
    return facts
