"""A failed benchmark in what other programs read: JUnit files, and the reports of pytest-html and of Allure."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries")

PROJECT = """
import numpy as np

def test_paint(diffbench):
    rows = np.arange(16, dtype=np.uint8)[:, None, None] * LIGHT
    diffbench(lambda: [np.tile(rows, (1, 16, 3))])
"""
PNG = b"\x89PNG\r\n"


@pytest.fixture
def failed(pytester: pytest.Pytester) -> Any:
    """Runs a test whose picture is another one than its baseline's, with the options that are given."""
    pytester.makeini("[pytest]\ndiffbench_rounds = 1\ndiffbench_warmup_rounds = 0\ndiffbench_gates = output\n")
    for light, options in ((4, ["--diffbench-save"]), (12, ["--diffbench", "--diffbench-report=page.html"])):
        pytester.makepyfile(test_paint=PROJECT.replace("LIGHT", str(light)))
        if light == 4:
            pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
    return lambda *more: pytester.runpytest_inprocess(*options, *more).assert_outcomes(failed=1)


def test_a_parser_of_junit_files_reads_the_figures(failed: Any, pytester: pytest.Pytester) -> None:
    xunit2 = pytest.importorskip("junitparser.xunit2")
    failed("--junitxml=junit.xml")
    (suite,) = xunit2.JUnitXml.fromfile(str(pytester.path / "junit.xml"))
    (case,) = suite
    assert "worse: output.differs" in case.result[0].text
    properties = {shown.name: shown.value for shown in case.properties()}
    assert properties["diffbench.output.decision"] == "worse"
    assert properties["diffbench.case"] == "test_paint.py::test_paint"


def test_pytest_html_shows_the_picture_and_leads_to_the_page(failed: Any, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_html")
    failed("--html=out/report.html", "--self-contained-html")
    page = (pytester.path / "out" / "report.html").read_text(encoding="utf-8")
    match = re.search(r'data-jsonblob="([^"]*)"', page)
    assert match is not None
    (results,) = json.loads(html.unescape(match[1]))["tests"].values()
    picture, link = results[0]["extras"]
    assert base64.b64decode(picture["content"].rpartition(",")[2]).startswith(PNG)
    assert (pytester.path / "out" / link["content"]).resolve() == pytester.path / "page.html"
    assert (pytester.path / "page.html").exists()


def test_allure_has_the_verdict_and_the_picture(failed: Any, pytester: pytest.Pytester) -> None:
    pytest.importorskip("allure_pytest")
    failed("--alluredir=allure")
    folder = pytester.path / "allure"
    (result,) = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*-result.json")]
    files: dict[str, Path] = {attached["name"]: folder / attached["source"] for attached in result["attachments"]}
    assert files["test_paint.py::test_paint: image 0"].read_bytes().startswith(PNG)
    assert "output." in files["test_paint.py::test_paint: verdicts"].read_text(encoding="utf-8")
