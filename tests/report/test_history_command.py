"""`diffbench history`: sessions added, listed, shown and exported."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
import report_factories as make
import report_records

from pytest_diffbench.commands import main as cli
from pytest_diffbench.report import session_json
from pytest_diffbench.report.history import figure_text, strip

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two nights of two cases, the second one slower."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for night, factor in enumerate((1.0, 1.5)):
        cases = []
        for name in ("test_a", "test_b"):
            observation = report_records.lumina(name, total_factor=factor)
            run = msgspec.structs.replace(
                observation.run, id=f"{night}{name}", started=f"2026-02-0{night + 1}T03:00:00+00:00"
            )
            cases.append(make.report(msgspec.structs.replace(observation, run=run)))
        session = make.session(*cases)
        started = f"2026-02-0{night + 1}T03:00:00+00:00"
        session_json.write(tmp_path / f"{night}.json", msgspec.structs.replace(session, started=started))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.main(["history", *arguments]) == status
    out, err = capsys.readouterr()
    return err if status else out


def test_the_life_of_a_history(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no history" in run(capsys, "list", status=2)
    assert run(capsys, "add", "0.json", "1.json") == "0.json: 2 runs added\n1.json: 2 runs added\n"
    assert run(capsys, "add", "1.json") == "1.json: 0 runs added, 2 there already\n"
    assert (folder / ".diffbench" / "history.sqlite").is_file()
    listed = run(capsys, "list").splitlines()
    assert len(listed) == 3
    assert listed[0].startswith("2026-02-01 03:00 · 2 cases")
    assert listed[2] == "2 sessions"
    shown = run(capsys, "show", "test_a")
    assert "2 runs, 2026-02-01 to 2026-02-02" in shown
    total = next(line for line in shown.splitlines() if "time.total_s" in line)
    assert total.endswith("▁█")
    assert "1 run, 2026-02-02" in run(capsys, "show", "test_a", "--since", "2026-02-02")
    assert "means 2 cases" in run(capsys, "show", "test_", status=2)
    assert "is no case of the history (did you mean 'benchmarks/test_guidance.py::test_a'?)" in run(
        capsys, "show", "benchmarks/test_guidance.py::test_aa", status=2
    )


def test_a_file_that_is_no_history_is_named_with_the_option_of_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.txt").write_text("none")
    for arguments, option in (
        (("history", "list", "--db=notes.txt"), "--db"),
        (("trend", "--db=notes.txt"), "--db"),
        (("comment", "0.json", "--history=notes.txt"), "--history"),
        (("report", "0.json", "--history=notes.txt"), "--history"),
    ):
        assert cli.main(arguments) == cli.UNUSABLE
        assert f"notes.txt: file is not a database. Give {option} another file" in capsys.readouterr().err


def test_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", "0.json", "1.json", "--db", "h.sqlite")
    rows = [json.loads(line) for line in run(capsys, "export", "--db", "h.sqlite").splitlines()]
    assert [row["started"][:10] for row in rows] == ["2026-02-01"] * 2 + ["2026-02-02"] * 2
    assert {"case", "run", "machine", "commit", "software", "verdicts", "figures"} <= rows[0].keys()
    assert rows[0]["figures"]["time.total_s"] > 0
    run(capsys, "export", "--db", "h.sqlite", "--since", "2026-02-02", "-o", "rows.jsonl")
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 2
    table = run(capsys, "export", "--db", "h.sqlite", "--format", "csv", "--case", "test_a").splitlines()
    read = list(csv.DictReader(table))
    assert [row["started"][:10] for row in read] == ["2026-02-01", "2026-02-02"]
    assert all(float(value) >= 0 for row in read for name, value in row.items() if "." in name)
    assert float(read[0]["time.total_s"]) == rows[0]["figures"]["time.total_s"]
    assert "can't be written" in run(capsys, "export", "--db", "h.sqlite", "-o", ".", status=2)
    assert "--output FILE" in run(capsys, "export", "--db", "h.sqlite", "--format", "parquet", status=2)


def test_parquet_needs_a_package(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "add", "0.json")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    err = run(capsys, "export", "--format", "parquet", "-o", "x.parquet", status=2)
    assert "pip install 'pytest-diffbench[parquet]'" in err


def test_parquet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run(capsys, "add", "0.json")
    run(capsys, "export", "--format", "parquet", "-o", "x.parquet")
    table = parquet.read_table(folder / "x.parquet").to_pylist()
    assert {row["case"].rpartition("::")[2] for row in table} == {"test_a", "test_b"}
    assert all(isinstance(row["value"], float) for row in table)


@pytest.mark.parametrize("value", ["yesterday", "2026-1-1", "26"])
def test_since_is_a_date(value: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", "0.json")
    assert "isn't a date such as" in run(capsys, "export", "--since", value, status=2)


def test_figures_and_strips() -> None:
    assert figure_text("time.total_s", 0.25) == "250 ms"
    assert figure_text("memory.peak_bytes", 2**30) == "1.00 GiB"
    assert figure_text("output.psnr_db", 31.25) == "31.2 dB"
    assert figure_text("work.denoiser_calls", 50.0) == "50"
    assert figure_text("work.tokens", 4096.0) == "4,096"
    assert figure_text("output.p999_levels", 1.5) == "1.5"
    assert strip([]) == ""
    assert strip([1.0, 1.0]) == "▁▁"
    assert strip([1.0, 2.0, 3.0]) == "▁▅█"
    assert len(strip([float(n) for n in range(100)])) == 30


def test_trend(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", "0.json", "1.json")
    assert cli.main(["trend"]) == 0
    assert capsys.readouterr().out.endswith("series: 0 worse, 0 better\n")
    session = session_json.load(folder / "0.json")
    for night in range(3, 20):
        started = f"2026-02-{night:02}T03:00:00+00:00"
        cases = []
        for case in session.cases:
            observation = report_records.lumina(case.observation.case.id.rpartition("::")[2], total_factor=1.5)
            fresh = msgspec.structs.replace(
                observation.run, id=f"{night}-{case.observation.case.id}", started=started
            )
            work = observation.work
            assert work is not None
            if night >= 15:
                work = msgspec.structs.replace(work, denoiser=(*work.denoiser, work.denoiser[-1]))
            cases.append(
                msgspec.structs.replace(case, observation=msgspec.structs.replace(observation, run=fresh, work=work))
            )
        session_json.write(
            folder / f"{night}.json", msgspec.structs.replace(session, started=started, cases=tuple(cases))
        )
        run(capsys, "add", f"{night}.json")
    assert cli.main(["trend", "test_a", "--since=2026-02-10"]) == 0
    out = capsys.readouterr().out
    assert "worse   " in out
    assert "work.denoiser_calls +" in out
    assert "since 2026-02-15" in out
    assert "the figure has no noise" in out
    assert cli.main(["trend", "--json", "--exit-code"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"step"} == {line["kind"] for line in lines}
    assert any(line["figure"] == "work.denoiser_calls" for line in lines)
    assert cli.main(["trend", "test_a", "--since=2026-03"]) == 0
    assert capsys.readouterr().out.endswith("series: 0 worse, 0 better\n")


def test_the_page_shows_a_case_over_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "add", "0.json", "1.json")
    arguments = ["report", "1.json", "--history", ".diffbench/history.sqlite", "-o", "page.html"]
    assert cli.main(arguments) == 0
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count("<h3>Over time") == 2
    assert "time.total_s of 2 runs since 2026-02-01" in page
    assert cli.main(["report", "1.json", "-o", "bare.html"]) == 0
    assert "Over time" not in (folder / "bare.html").read_text(encoding="utf-8")
    assert cli.main([*arguments[:3], "nowhere.sqlite"]) == 2
