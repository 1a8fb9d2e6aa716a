"""`diffbench comment`: one comment of at most 60 lines, annotations, and the formats of other tools."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import comparison_factories as compared
import msgspec
import pytest
import report_factories as make
import report_records
from golden_files import assert_golden

from pytest_diffbench.commands import main as cli
from pytest_diffbench.records import Skipped, Verdict
from pytest_diffbench.report import session_json
from pytest_diffbench.report.comment import MOST_BYTES, MOST_LINES, Links, body, command, line_of, marker, page
from pytest_diffbench.store.history import History

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import CaseReport, SessionReport


def renamed(report: CaseReport, name: str, **run: str) -> CaseReport:
    observation = report.observation
    case = msgspec.structs.replace(observation.case, id=name)
    fresh = msgspec.structs.replace(observation.run, **run)
    return msgspec.structs.replace(report, observation=msgspec.structs.replace(observation, case=case, run=fresh))


@pytest.mark.parametrize(
    ("name", "session"),
    [("red", make.red()), ("pass", make.all_pass()), ("interrupted", make.interrupted()), ("empty", make.empty())],
)
def test_golden_comment(name: str, session: SessionReport) -> None:
    assert_golden(f"comment-{name}.md", body(session, Links("https://example.org/page/")))


def test_the_verdict_comes_first_then_rows_of_what_fails() -> None:
    text = body(make.red(), Links("https://example.org/r.html"))
    lines = text.splitlines()
    assert lines[0] == marker() == "<!-- pytest-diffbench -->"
    assert lines[1] == "### diffbench: 1 case got worse, 1 case broke off, 1 case refused as a baseline"
    assert "[report](https://example.org/r.html)" in lines[3]
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "| model | configuration | metric | latest | baseline | change | threshold |"
    assert any("denoiser calls | 60 | 45 | **+33 %** | no change |" in row for row in rows)
    assert any("| time, most in denoise | 1.060 s | 829 ms | **+28 %** | +5.0 % |" in row for row in rows)
    assert not any("test_flux" in row for row in rows), "what passes has no row"
    assert "<img" not in text


@pytest.mark.parametrize(
    "name", ["t.py::test[a|b]", "t.py::test[`x`]", "t.py::test[``|<b>\n]", "t.py::test[</details>]"]
)
def test_names_stay_in_their_cell(name: str) -> None:
    text = page(make.session(renamed(make.slower(), name)), Links())
    header, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", header))
        text = text.replace(row, "")
    assert text.count("<details>") == len(re.findall(r"^</details>$", text, re.MULTILINE))


def test_a_page_says_what_has_no_verdict() -> None:
    session = msgspec.structs.replace(
        make.interrupted(),
        skipped=tuple(Skipped(test=f"t.py::test_{n}", reason="no *weights*", missing=True) for n in range(9)),
        missing_baselines=tuple(f"t.py::test_{n}" for n in range(9)),
        comparisons=(compared.named(), compared.swept()) * 4,
    )
    text = page(session, Links())
    assert "No baseline for 9 cases" in text
    assert "- `t.py::test_0` skipped: no \\*weights\\*" in text
    assert "... and 4 more" in text
    assert "<summary>Variants of" in text
    assert re.search(r"Left out for room: \d sections", text)
    assert len(text.splitlines()) < MOST_LINES


def test_all_well_says_resolved() -> None:
    text = body(make.all_pass(), Links())
    assert "### diffbench: resolved, nothing is worse" in text
    assert "| model" not in text
    assert "Measure again" not in text
    assert "interrupted" in body(make.interrupted(), Links()).splitlines()[1]
    assert "nothing was measured" in body(make.empty(), Links()).splitlines()[1]


def test_a_thousand_failures_and_long_texts_stay_within_bounds() -> None:
    slower = make.slower()
    many = [renamed(slower, f"t.py::test_{n}[{'x' * 300}]") for n in range(300)]
    for cases in (many, [*many, *make.all_pass().cases], [*make.red().cases, *many, *make.all_pass().cases]):
        text = body(make.session(*cases), Links("https://e.org/p/", lambda row: "2026-01-01 abc"))
        assert len(text.splitlines()) <= MOST_LINES
        assert len(text.encode()) <= MOST_BYTES
        assert text.count("<details>") == text.count("</details>")
        assert "rows more" in text


def test_what_comes_from_outside_stays_text() -> None:
    evil = Verdict(
        gate="time", decision="worse", reason="time.slower", message="</details> <!-- x --> @team [a](b) | **c**"
    )
    report = make.report(report_records.flux("t"), evil)
    report = renamed(report, "t.py::test[`|</code>-->@team]")
    text = body(make.session(report), Links('https://e.org/")<script>/'), "a --> b")
    assert text.splitlines()[0] == "<!-- pytest-diffbench: a-----b -->"
    assert "<script>" not in text
    assert "<!-- x" not in text
    assert "\\@team" in text
    header, _, row = [line for line in text.splitlines() if line.startswith("|")]
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"\|", header))


def test_thumbnails_come_from_a_served_folder() -> None:
    report = make.slower()
    assert report.observation.output is not None
    digest = report.observation.output.images[0].digest
    text = body(make.session(report), Links("https://e.org/pr-7/"))
    assert f'<img src="https://e.org/pr-7/kept/{digest}.png" width="128"' in text
    assert "<img" not in body(make.session(report), Links("https://e.org/pr-7/report.html"))


def test_since_when_comes_from_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slower = make.slower()
    name = slower.observation.case.id
    good = make.report(slower.observation)
    with History(tmp_path / "h.sqlite") as history:
        for day, report in enumerate((slower, good, slower, slower), start=1):
            started = f"2026-02-0{day}T03:00:00+00:00"
            night = make.session(renamed(report, name, id=f"r{day}", started=started))
            history.add(msgspec.structs.replace(night, started=started))
    session_json.write(tmp_path / "session.json", make.session(renamed(slower, name, id="now")))
    assert cli.main(["comment", str(tmp_path), "--history", str(tmp_path / "h.sqlite")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert rows[0].endswith("| fails since |")
    assert re.search(r"\| time, .*\| 2026-02-03 [0-9a-f]{12} \|$", next(row for row in rows if "| time" in row))


# -- annotations


def test_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "test_guidance.py").write_text("import x\n\n\ndef test_cfg_trunc(diffbench, ratio):\n")
    session_json.write(tmp_path / "session.json", make.red())
    assert cli.main(["comment", "session.json", "--annotations"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(line.startswith("::error file=benchmarks/test_guidance.py,") for line in lines)
    assert any(
        "line=4,title=time.slower%3A benchmarks/test_guidance.py%3A%3Atest_cfg_trunc[0.5]::Slower" in line
        for line in lines
    )
    assert any("title=benchmarks/test_guidance.py%3A%3Atest_huge::the device ran out" in line for line in lines)
    assert cli.main(["show", "session.json", "--format", "github"]) == 0
    assert capsys.readouterr().out == out


def test_a_message_ends_no_command_and_begins_none() -> None:
    line = command("error", "100 %\n::set-output name=x::y\r", {"file": "a,b:c%.py", "line": None, "title": "t"})
    assert line == "::error file=a%2Cb%3Ac%25.py,title=t::100 %25%0A::set-output name=x::y%0D"


def test_the_line_of_a_function() -> None:
    text = "def test_ab(): ...\n\nclass T:\n    async def test_a(self): ...\n"
    assert line_of(text, "t.py::T::test_a[x]") == "4"
    assert line_of(text, "t.py::test_gone") is None
    assert line_of(None, "t.py::test_a") is None


# -- formats of other tools


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    session_json.write(tmp_path / "session.json", make.red())
    texts = {}
    for kind in ("bencher", "github-action-benchmark", "json-lines"):
        assert cli.main(["show", str(tmp_path / "session.json"), "--format", kind]) == 0
        texts[kind] = capsys.readouterr().out
    return texts


def test_bencher_metric_format(shown: dict[str, str]) -> None:
    benchmarks = json.loads(shown["bencher"])
    assert "benchmarks/test_guidance.py::test_huge" not in benchmarks, "what broke off has no figures"
    assert len(benchmarks) == 9
    for measures in benchmarks.values():
        assert set(measures) <= {"latency", "peak-memory", "denoiser-calls", "flops"}
        for metric in measures.values():
            assert set(metric) <= {"value", "lower_value", "upper_value"}
            assert all(isinstance(value, int | float) for value in metric.values())
            assert (
                metric.get("lower_value", metric["value"])
                <= metric["value"]
                <= metric.get("upper_value", metric["value"])
            )
    assert benchmarks["benchmarks/test_guidance.py::test_flux"]["latency"]["value"] == pytest.approx(
        5.981e9, rel=1e-3
    )


def test_github_action_benchmark(shown: dict[str, str]) -> None:
    entries = json.loads(shown["github-action-benchmark"])
    for entry in entries:
        assert {"name", "unit", "value"} <= entry.keys() <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"], str)
        assert isinstance(entry["unit"], str)
        assert isinstance(entry["value"], int | float)
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)


def test_json_lines(shown: dict[str, str]) -> None:
    rows = [json.loads(line) for line in shown["json-lines"].splitlines()]
    assert len(rows) == 10
    assert {row["observation"]["case"]["id"].rpartition("::")[2] for row in rows} >= {"test_huge", "test_flux"}
    assert {row["started"] for row in rows} == {"2025-06-03T09:14:02+00:00"}
