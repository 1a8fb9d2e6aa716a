"""How many identifiers are pronouns: what the tool counts, and what each folder may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pronouns
import pytest

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = """
def told(one, case, *, mine=None):
    for found_rel in case.things:
        print(found_rel, foundation=FileNotFoundError)
    match case:
        case [SeenPart() as which]:
            return which
"""


def test_words_of_every_bound_or_used_identifier_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE, encoding="utf-8")
    total, places = pronouns.count([path])
    assert sorted((line, name) for _, line, name in places) == [
        (2, "mine"),
        (2, "one"),
        (2, "told"),
        (3, "found_rel"),
        (3, "things"),
        (4, "found_rel"),
        (6, "SeenPart"),
        (6, "which"),
        (7, "which"),
    ]
    assert total == len(places) + len(["case"] * 3 + ["print", "foundation", "FileNotFoundError"])


@pytest.mark.parametrize(
    ("folder", "limit_per_mille"), [("pytest_diffbench", 2), ("benchmarks", 2), ("tools", 2), ("tests", 3)]
)
def test_few_identifiers_are_pronouns(folder: str, limit_per_mille: float) -> None:
    total, places = pronouns.count([pronouns.ROOT / folder])
    lines = "\n".join(f"{path}:{line}: {name}" for path, line, name in places)
    assert 1000 * len(places) <= limit_per_mille * total, f"name these after what they hold:\n{lines}"
