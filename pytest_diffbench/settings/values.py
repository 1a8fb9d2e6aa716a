"""What the value of a setting may be: each function turns what was given into it, or says in words what it is.

Imported by every pytest run, also an idle one: nothing heavy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


def choice(*known: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value in known:
            return str(value)
        raise ValueError(f"is one of {', '.join(known)}{did_you_mean(str(value), known)}")

    return parse


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is a non-empty text")
    return value.strip()


def interpreter(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        # What `--diffbench-against="$(diffbench env main)"` comes to where the command fails.
        raise ValueError("names another environment's interpreter, which `diffbench env REVISION` makes and prints")
    return value.strip()


def whole(least: int, most: int | None = None) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise ValueError(f"is a whole number, at least {least}")
        if most is not None and number > most:
            raise ValueError(f"is a whole number, at most {most}")
        return number

    return parse


def whole_or(word: str, least: int) -> Callable[[Any], int | str]:
    number = whole(least)

    def parse(value: Any) -> int | str:
        if value == word:
            return word
        try:
            return number(value)
        except ValueError as error:
            raise ValueError(f"{error}, or {word}") from None

    return parse


seed = whole(0, 2**63 - 1)


def _number(value: Any) -> float:
    """A finite number; NaN for what is none, so that no comparison with it holds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return math.nan if isinstance(value, bool) or math.isinf(number) else number


def share(value: Any) -> float:
    if not (number := _number(value)) > 0:
        raise ValueError("is a positive number: 0.05 means 5 %")
    return number


def seconds(value: Any) -> float:
    if not (number := _number(value)) > 0:
        raise ValueError("is a positive number of seconds")
    return number


def decibels(value: Any) -> float:
    if not (number := _number(value)) >= 0:
        raise ValueError("is a number of decibels, at least 0")
    return number


def switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("is true or false")


def choices(what: str, *known: str) -> Callable[[Any], tuple[str, ...]]:
    parse_choice = choice(*known)

    def parse(value: Any) -> tuple[str, ...]:
        listed = f"is a list of {what}, separated by commas: {','.join(known)}"
        if not isinstance(value, str | list | tuple | set | frozenset):
            raise ValueError(listed)
        names = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
        try:
            chosen = {parse_choice(name) for name in names if name != ""}
        except ValueError as error:
            raise ValueError(f"is a list in which each {error}") from None
        if not chosen:
            raise ValueError(listed)
        return tuple(name for name in known if name in chosen)

    return parse


def tolerance(value: Any) -> tuple[tuple[str, float], ...]:
    from pytest_diffbench.judge.output.loosening import checked  # costs more to import than an idle run may

    return checked(value)
