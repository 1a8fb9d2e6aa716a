"""`diffbench answer`: one word and one exit status for programs that write optimisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pytest_diffbench.records.answer import Answer, Word

STATUSES: dict[Word, int] = {"faster": 0, "same": 10, "slower": 11, "inert": 12, "wrong": 13, "invalid": 14}
"""Exit statuses; 1 to 3 stay what they are for all commands, so that a crash is never taken for an answer."""


def written(answer: Answer) -> str:
    """The answer as JSON."""
    return msgspec.json.format(msgspec.json.encode(answer, order="deterministic"), indent=2).decode() + "\n"
