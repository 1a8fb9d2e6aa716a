"""`-k EXPRESSION`: which cases a command is for, as pytest's `-k` chooses tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_diffbench.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Matcher: TypeAlias = Callable[[str], bool]

_TOKEN = re.compile(r"\s*(?:(?P<bracket>[()])|(?P<word>[^\s()]+))")


def selection(expression: str | None) -> Matcher:
    """A function that tells whether a case is chosen, by its id.

    Args:
        expression: words that are looked for in the id, whatever their case, joined by `and`, `or`, `not` and
            brackets; None and an empty text choose all.

    Raises:
        OptionError: it isn't such an expression.
    """
    if expression is None or not expression.strip():
        return lambda _: True
    parser = _Parser(expression)
    matcher = parser.alternatives()
    if parser.rest:
        raise parser.error(f"{parser.rest[0]!r} is too much")
    return matcher


class _Parser:
    """Reads an expression from left to right: `or` binds least, then `and`, then `not`."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self.rest = [match["bracket"] or match["word"] for match in _TOKEN.finditer(expression)]

    def error(self, problem: str) -> OptionError:
        return OptionError(
            f"-k {self._expression!r}: {problem}. Give words joined by `and`, `or`, `not` and brackets."
        )

    def alternatives(self) -> Matcher:
        matchers = [self._all_of()]
        while self._takes("or"):
            matchers.append(self._all_of())
        return lambda name: any(matches(name) for matches in matchers)

    def _all_of(self) -> Matcher:
        matchers = [self._negated()]
        while self._takes("and"):
            matchers.append(self._negated())
        return lambda name: all(matches(name) for matches in matchers)

    def _negated(self) -> Matcher:
        if self._takes("not"):
            matcher = self._negated()
            return lambda name: not matcher(name)
        if self._takes("("):
            inner = self.alternatives()
            if not self._takes(")"):
                raise self.error("a bracket isn't closed")
            return inner
        if not self.rest or self.rest[0] in ("and", "or", ")"):
            raise self.error("a word is missing")
        word = self.rest.pop(0).lower()
        return lambda name: word in name.lower()

    def _takes(self, token: str) -> bool:
        if self.rest and self.rest[0] == token:
            self.rest.pop(0)
            return True
        return False
