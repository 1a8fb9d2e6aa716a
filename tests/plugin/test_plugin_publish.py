"""`publish=` writes the table of a comparison while its test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_plugin_compare import project, rows, run, write  # noqa: F401 - a fixture among them

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

SWEEP = """
def test_paint(diffbench):
    diffbench.sweep(paint, "seconds", [0.1, 0.05], shade=200, publish=FILE)
"""


def sweep(project: pytest.Pytester, file: Path | str, *arguments: str) -> pytest.RunResult:  # noqa: F811
    write(project, SWEEP.replace("FILE", repr(str(file))))
    return run(project, "--diffbench-save", *arguments)


def test_the_table_is_written_into_a_folder_that_is_made(project: pytest.Pytester) -> None:  # noqa: F811
    file = project.path / "tables" / "seconds.md"
    sweep(project, file).assert_outcomes(passed=1)
    text = file.read_text("utf-8")
    assert text.startswith("| seconds | total | measured speed-up (99 %) |")
    assert "| `0.05` |" in text
    assert rows(project)["0.05"].tier == "bit-equal"
    assert "inert" not in text, "a function has no operators to be compared"


def test_metrics_that_are_asked_for_have_columns(project: pytest.Pytester) -> None:  # noqa: F811
    pytest.importorskip("flip_evaluator")
    file = project.path / "shades.csv"
    body = SWEEP.replace('"seconds", [0.1, 0.05], shade=200', '"shade", [200, 210]')
    write(project, body.replace("FILE", repr(str(file))))
    run(project, "--diffbench-save", "--diffbench-metrics=flip").assert_outcomes(passed=1)
    heads, _, changed = file.read_text("utf-8").splitlines()
    assert float(changed.split(",")[heads.split(",").index("flip")]) > 0


def test_an_ending_that_no_table_has_is_refused_before_anything_is_measured(
    project: pytest.Pytester,  # noqa: F811
) -> None:
    result = sweep(project, "table.doc")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*publish='table.doc': no table has that ending. Name a file that ends in .md*"])
    assert "out of paint" not in result.stdout.str()


def test_a_place_that_takes_no_file_is_named(project: pytest.Pytester) -> None:  # noqa: F811
    project.path.joinpath("table.md").mkdir()
    result = sweep(project, "table.md")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*publish='table.md' can't be written: Is a directory. Name another file.*"])
