"""The page about baselines says what the files hold."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec
import pytest

from pytest_diffbench import records

PAGE = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text(encoding="utf-8")


def structs_of(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """A record and all records within it."""
    structs: set[type[msgspec.Struct]] = {kind}
    waiting = list(typing.get_type_hints(kind).values())
    while waiting:
        nested = waiting.pop()
        waiting += typing.get_args(nested)
        if isinstance(nested, type) and issubclass(nested, msgspec.Struct) and nested not in structs:
            structs.add(nested)
            waiting += typing.get_type_hints(nested).values()
    return structs


@pytest.mark.parametrize("record", sorted(structs_of(records.Baseline), key=repr))
def test_every_field_is_on_the_page(record: type[msgspec.Struct]) -> None:
    table = PAGE.partition("## The file")[2].partition("### Versions")[0]
    words = {word for part in table.split("`")[1::2] for word in part.replace("[]", "").split(".")}
    assert set(record.__struct_fields__) <= words


def test_schema_on_the_page_is_the_current_schema() -> None:
    assert f"| `schema` | version of this file's layout: {records.BASELINE_SCHEMA} |" in PAGE
