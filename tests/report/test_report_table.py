"""The table to publish: golden files in each format, and names that stay text in all of them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import comparison_factories as compared
import msgspec
import pytest
from golden_files import assert_golden

from pytest_diffbench.commands.main import main
from pytest_diffbench.report import session_json
from pytest_diffbench.report.lines import plain, text_of
from pytest_diffbench.report.table import FORMATS, latex_escaped, table_lines, written

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import Comparison


def comparison() -> Comparison:
    """A sweep in which one value is inert, one drops guidance, and one is lossless."""
    rows: list[Any] = []
    for variant in compared.swept().variants:
        known: dict[str, Any] = {"flops": 10**12 * (variant.denoiser_calls or 0), "peak_bytes": 2**30}
        if variant.name == "0.7":
            known |= {"tier": "bit-equal", "inert": True, "float64_rel": 1e-7}
        elif variant.name == "0.5":
            known |= {"tier": "lossy", "wrong_guidance": "guidance.missing_steps", "float64_rel": 0.2}
        elif variant.name == "0.25":
            assert variant.image_difference is not None
            difference = msgspec.structs.replace(variant.image_difference, further={"flip": 0.021})
            known |= {"image_difference": difference}
        rows.append(msgspec.structs.replace(variant, **known))
    return msgspec.structs.replace(compared.swept(), variants=tuple(rows))


@pytest.mark.parametrize("how", FORMATS)
def test_golden_table(how: Any) -> None:
    ending = {"markdown": "md", "csv": "csv", "latex": "tex", "terminal": "txt"}[how]
    assert_golden(f"table.{ending}", written([comparison(), compared.named()], how))


def test_rows_not_to_be_taken_at_face_value_are_red() -> None:
    red = [text_of(line).split()[0] for line in table_lines(comparison()) if line[0][1].get("red")]
    assert red == ["0.7", "0.5"]


def test_csv_has_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(written([comparison()], "csv"))))
    half = next(row for row in rows if row["configuration"] == "0.5")
    assert float(half["speedup_low_rel"]) < float(half["speedup_rel"]) < float(half["speedup_high_rel"])
    assert (half["tier"], half["wrong_guidance"], half["inert"]) == ("lossy", "guidance.missing_steps", "")
    assert {row["is_reference"] for row in rows} == {"True", "False"}


def test_names_are_no_commands_of_latex_and_no_cells_of_markdown() -> None:
    nasty = "50% | a_b & \\input{x} ~^#$"
    first, other, *_ = compared.named().variants
    renamed = msgspec.structs.replace(
        compared.named(), reference=nasty, variants=(msgspec.structs.replace(first, name=nasty), other)
    )
    (row,) = [line for line in written([renamed], "latex").splitlines() if "input" in line]
    assert r"50\% | a\_b \& \textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{}\#\$ &" in row
    lines = written([renamed], "markdown").splitlines()
    (cells,) = [line for line in lines if "input" in line]
    assert cells.replace("\\|", "").count("|") == lines[0].count("|")
    assert latex_escaped("1.2×") == r"1.2$\times$"


def test_the_command_prints_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(session_json.dump(compared.session(comparison())))
    assert main(["table", str(path), "--format", "latex"]) == 0
    assert capsys.readouterr().out == written([comparison()], "latex")
    assert main(["table", str(path)]) == 0
    assert capsys.readouterr().out == plain(table_lines(comparison()))
    path.write_bytes(session_json.dump(compared.session()))
    assert main(["table", str(path)]) == 2
    assert "no comparison" in capsys.readouterr().err
