"""One word for programs: what became of an optimisation."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pytest_diffbench.records.base import PositiveCount, Record
from pytest_diffbench.records.comparison import Speedup

ANSWER_SCHEMA = 1

Word: TypeAlias = Literal["invalid", "wrong", "inert", "slower", "same", "faster"]
WORDS: tuple[Word, ...] = get_args(Word)
"""From what rules out a gain most to a gain: of several, the first stands for all, but for what `answer` says."""


class CaseAnswer(Record, frozen=True, kw_only=True):
    """What became of one case or variant.

    Attributes:
        case: its id.
        word: the answer.
        reasons: codes behind it: of verdicts, of suspicions, or of what is missing.
        speedup_rel: over the reference, where variants were compared.
    """

    case: str
    word: Word
    reasons: tuple[str, ...] = ()
    speedup_rel: Speedup | None = None


class Answer(Record, frozen=True, kw_only=True):
    """What became of all of them."""

    schema: PositiveCount = ANSWER_SCHEMA
    word: Word
    cases: tuple[CaseAnswer, ...]
