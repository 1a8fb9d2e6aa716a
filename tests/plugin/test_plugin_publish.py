"""`publish=` writes the table of a comparison while its test runs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest
from test_plugin_compare import project, rows, run, write  # noqa: F401 - a fixture among them

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.session.prompts import prompts_of

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


def test_the_table_is_written_into_a_new_folder(project: pytest.Pytester) -> None:  # noqa: F811
    file = project.path / "tables" / "seconds.md"
    sweep(project, file).assert_outcomes(passed=1)
    text = file.read_text("utf-8")
    assert text.startswith("| seconds | total | measured speed-up (99 %) |")
    assert "| `0.05` |" in text
    assert rows(project)["0.05"].tier == "bit-equal"
    assert "inert" not in text, "a function has no operators to be compared"


def test_requested_metrics_have_columns(project: pytest.Pytester) -> None:  # noqa: F811
    pytest.importorskip("flip_evaluator")
    file = project.path / "shades.csv"
    body = SWEEP.replace('"seconds", [0.1, 0.05], shade=200', '"shade", [200, 210]')
    write(project, body.replace("FILE", repr(str(file))))
    run(project, "--diffbench-save", "--diffbench-metrics=flip").assert_outcomes(passed=1)
    heads, _, changed = file.read_text("utf-8").splitlines()
    assert float(changed.split(",")[heads.split(",").index("flip")]) > 0


def test_an_unknown_ending_is_refused_before_anything_is_measured(
    project: pytest.Pytester,  # noqa: F811
) -> None:
    result = sweep(project, "table.doc")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*publish='table.doc': no table has that ending. Name a file that ends in .md*"])
    assert "out of paint" not in result.stdout.str()


def test_a_place_refusing_files_is_named(project: pytest.Pytester) -> None:  # noqa: F811
    project.path.joinpath("table.md").mkdir()
    result = sweep(project, "table.md")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*publish='table.md' can't be written: it is a folder. Name another file.*"])
    assert "out of paint" not in result.stdout.str()


PROMPTED = """
def scribble(prompt, shade=200):
    image = paint(seconds=0.05, shade=200)[0]
    for x in range(len(prompt)):
        image.putpixel((x % 32, 5), (shade, shade, 9))
    return [image]

def test_paint(diffbench):
    diffbench.sweep(scribble, "shade", [200, 190], prompts="prompts.csv", publish=FILE, **MORE)
"""


def prompted(project: pytest.Pytester, file: Path, **more: Any) -> pytest.RunResult:  # noqa: F811
    project.path.joinpath("prompts.csv").write_text(
        'Prompts,Category\n"A cat, asleep",Animals\nTwo dogs,Counting\n  ,\n'
    )
    write(project, PROMPTED.replace("FILE", repr(str(file))).replace("MORE", repr(more)))
    return run(project, "--diffbench-save")


def test_figures_are_over_all_prompts_of_a_file(project: pytest.Pytester) -> None:  # noqa: F811
    file = project.path / "table.csv"
    prompted(project, file).assert_outcomes(passed=1)
    reference, changed = csv.DictReader(file.read_text("utf-8").splitlines())
    assert (reference["prompts"], changed["prompts"], changed["equal"], changed["unlike"]) == ("", "2", "0", "0")
    assert float(changed["worst_psnr_db"]) < float(changed["mean_psnr_db"])
    assert changed["worst_prompt"] == "A cat, asleep", "more of its pixels differ"
    assert float(changed["psnr_db"]) == float(changed["worst_psnr_db"]), "the first one is timed"
    markdown = project.path / "table.md"
    prompted(project, markdown, most_prompts=1).assert_outcomes(passed=1)
    text = markdown.read_text("utf-8")
    assert "PSNR and SSIM: the worst of 1 prompts, and in brackets their mean" in text
    over = rows(project)["190"].over_prompts
    assert over is not None
    assert f"| {over.psnr_db:.1f} dB ({over.mean_psnr_db:.1f} dB) |" in text


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("empty.txt", " \n\n", "there is no prompt in it"),
        ("empty.csv", "", "has no column `prompt` or `prompts`, but none"),
        ("other.csv", "text,kind\na cat,animals\n", "has no column `prompt` or `prompts`, but text, kind"),
        ("none.csv", "prompt\n", "there is no prompt in it"),
        ("twice.txt", "a cat\na dog\n a cat \n", "'a cat' stands there twice"),
        ("absent.txt", None, "can't be read: No such file"),
    ],
)
def test_a_file_without_prompts_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    if text is not None:
        tmp_path.joinpath(name).write_text(text)
    with pytest.raises(MeasureError, match=problem) as refused:
        prompts_of(name, 20, tmp_path)
    assert name in str(refused.value)


def test_the_first_prompts_are_taken(tmp_path: Path) -> None:
    tmp_path.joinpath("many.txt").write_text("a cat\n\na dog\na cat\n")
    assert prompts_of("many.txt", 2, tmp_path) == ("a cat", "a dog"), "what comes twice is behind them"
    tmp_path.joinpath("parti.tsv").write_text("Prompt\tChallenge\na cat\tbasic\n")
    assert prompts_of("parti.tsv", 2, tmp_path) == ("a cat",)
    assert prompts_of(["a cat", "a dog"], 1, tmp_path) == ("a cat",)
    assert prompts_of(None, 1, tmp_path) == ()
    with pytest.raises(MeasureError, match="most_prompts=0 is no number of prompts"):
        prompts_of(["a cat"], 0, tmp_path)


def test_a_target_without_prompts_takes_none(project: pytest.Pytester) -> None:  # noqa: F811
    write(project, SWEEP.replace("publish=FILE", "prompts=['a cat']"))
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*prompts: paint takes no argument `prompt`. Leave them out.*"])
