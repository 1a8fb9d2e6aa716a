"""Prompts that variants are compared by: from a file, or as a test has them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from pathlib import Path

MOST_PROMPTS = 20
"""That are taken where a test says nothing else: each costs one call of each variant."""

_COLUMNS = ("prompt", "prompts")
"""What the column of a CSV file may be called, in any case: DrawBench has `Prompts`, PartiPrompts `Prompt`."""


def prompts_of(given: str | PathLike[str] | Sequence[str] | None, most: int, folder: Path) -> tuple[str, ...]:
    """The first prompts of a file or a list.

    Args:
        given: a file of text with one prompt on each line, a CSV file with a column for them, or a list.
        most: how many to take, from 1.
        folder: where relative names of files begin.

    Raises:
        MeasureError: no such file, or one without prompts; one that stands there twice; not a number of them.
    """
    if given is None:
        return ()
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise MeasureError(f"most_prompts={most!r} is no number of prompts. Give one from 1.")
    if isinstance(given, list | tuple):
        name, texts = "prompts", [str(text) for text in given]
    else:
        name = f"prompts={str(given)!r}"
        texts = _read(folder / str(given), name)
    texts = [stripped for text in texts if (stripped := text.strip())]
    if not texts:
        raise MeasureError(f"{name}: there is no prompt in it. Give one on each line, or a column of them.")
    taken = texts[:most]
    twice = next((text for number, text in enumerate(taken) if text in taken[:number]), None)
    if twice is not None:
        raise MeasureError(f"{name}: {twice!r} stands there twice, and would count twice. Remove one.")
    return tuple(taken)


def first_prompt(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], prompts: Sequence[str]
) -> dict[str, Any]:
    """The keyword arguments of the call, with the first prompt where it has none of its own.

    Raises:
        MeasureError: the target takes no prompt.
    """
    if not prompts:
        return kwargs
    from pytest_diffbench.measure.definition import bind, name_of, parameters_of

    if "prompt" not in parameters_of(target):
        raise MeasureError(f"prompts: {name_of(target)} takes no argument `prompt`. Leave them out.")
    bound: Mapping[str, Any] = bind(target, args, kwargs)
    return kwargs if bound.get("prompt") is not None else kwargs | {"prompt": prompts[0]}


def _read(path: Path, name: str) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MeasureError(f"{name} can't be read: {error.strerror or error}. Name a file of prompts.") from None
    except UnicodeDecodeError:
        raise MeasureError(f"{name} isn't a text in UTF-8. Name a file of prompts.") from None
    if path.suffix.lower() not in (".csv", ".tsv"):
        return text.splitlines()
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    column = next((head for head in rows.fieldnames or () if head.strip().lower() in _COLUMNS), None)
    if column is None:
        heads = ", ".join(rows.fieldnames or ()) or "none"
        raise MeasureError(f"{name} has no column `prompt` or `prompts`, but {heads}. Rename the one that has them.")
    return [row[column] or "" for row in rows]
