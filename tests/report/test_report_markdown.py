"""The Markdown page: golden files, and text that can't break out of its cell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest
import report_factories as make
import report_records
from golden_files import assert_golden

from pytest_diffbench.report import markdown
from pytest_diffbench.report.markdown import summary

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, SessionReport


@pytest.mark.parametrize(
    ("name", "session"),
    [("pass", make.all_pass()), ("red", make.red()), ("interrupted", make.interrupted()), ("empty", make.empty())],
)
def test_golden_page(name: str, session: SessionReport) -> None:
    assert_golden(f"markdown-{name}.md", summary(session))


def _renamed(name: str) -> CaseReport:
    seen = make.slower().observation
    case = msgspec.structs.replace(seen.case, id=name)
    return msgspec.structs.replace(make.slower(), observation=msgspec.structs.replace(seen, case=case))


@pytest.mark.parametrize(
    "name", ["t.py::test[a|b]", "t.py::test[`x`]", "t.py::test[``|<b>\n]", "t.py::test[</details>]"]
)
def test_names_stay_in_their_cell(name: str) -> None:
    page = summary(make.session(_renamed(name)))
    header, _, row = [line for line in page.splitlines() if line.startswith("|")]
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", header))
    assert page.count("</details>") - row.count("</details>") == 1


def test_messages_are_text() -> None:
    nasty = make.verdict(
        "time", "slower", "worse", "</details><img src=x> **bold** `code` | [link](x)\n# title @team"
    )
    page = summary(make.session(make.report(report_records.flux("t"), nasty)))
    assert "<img" not in page
    assert page.count("</details>") == 1
    assert "\\*\\*bold\\*\\* \\`code\\` \\| \\[link\\](x) \\# title" in page


def test_a_page_never_grows_beyond_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "_MOST_BYTES", 6_000)
    page = summary(make.session(*[_renamed(f"t.py::test_{i}") for i in range(8)]))
    assert len(page.encode()) < 6_200
    left = re.search(r"Details of (\d) cases left out", page)
    assert left is not None
    assert page.count("<details") + int(left[1]) == 8
