"""A history: added once, by several processes at once, whole or not at all, and read back by case."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_builders import make_artifacts, make_case, make_environment, make_observation, make_run

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import CaseReport, OriginDistance, SaveOutcome, SessionReport, Verdict
from pytest_diffbench.store import history as history_module
from pytest_diffbench.store.history import History

GATES = (
    Verdict(gate="work", decision="same", reason="work.same"),
    Verdict(gate="time", decision="worse", reason="time.slower"),
)


def session(number: int, cases: int = 2, **changed: Any) -> SessionReport:
    """A night's session of some cases."""
    day = f"2026-01-{number + 1:02}T03:00:00+00:00"
    environment = msgspec.structs.replace(
        make_environment(), software={"torch": "2.9.0", "git_commit": f"{number:040x}"}
    )
    reports = []
    for case in range(cases):
        run = msgspec.structs.replace(
            make_run(f"{number}-{case}", environment, 1.1 + number / 100), started=day, pace_s={"matmul": (0.5,)}
        )
        observation = make_observation(make_artifacts(), run, make_case(f"t.py::test_{case}"))
        reports.append(
            CaseReport(
                observation=observation,
                verdicts=GATES,
                saved=SaveOutcome(what="created") if not number else None,
                origin_distance=OriginDistance(generation=1, colour_levels=0.5, psnr_db=None),
            )
        )
    fields: dict[str, Any] = {
        "diffbench": "0.1.0",
        "started": day,
        "finished": day,
        "interrupted": False,
        "settings": {},
        "counts": {},
        "missing_baselines": (),
        "cases": tuple(reports),
    }
    return SessionReport(**fields | changed)


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    with History(tmp_path / "deep" / "h.sqlite") as history:
        assert [history.add(session(night)) for night in (1, 0)] == [2, 2]
        first, second = history.runs("t.py::test_1")
        assert (first.started[:10], first.commit, first.saved) == ("2026-01-01", f"{0:040x}", "created")
        assert second.verdicts == {"work": "same work.same", "time": "worse time.slower"}
        assert second.figures == {
            "memory.denoise_bytes": 2**29,
            "memory.peak_bytes": 2**30,
            "origin.colour_levels": 0.5,
            "origin.psnr_db": 200.0,
            "pace.matmul_s": 0.5,
            "time.denoise_s": 0.8,
            "time.text_encode_s": 0.1,
            "time.total_by_pace": 2.22,
            "time.total_s": 1.11,
            "time.unattributed_s": pytest.approx(0.11),
            "time.vae_decode_s": 0.1,
            "work.denoiser_calls": 5,
            "work.flops": 5 * 10**15 + 3,
        }
        (total,) = [item for item in history.series("t.py::test_1") if item.figure == "time.total_s"]
        assert total.values == (1.1, 1.11)
        assert total.commits == (f"{0:040x}", f"{1:040x}")
        assert len(history.series()) == 2 * len(second.figures)
        assert sum(history.figure_counts("t.py::test_1").values()) == len(second.figures)
        assert [run.started for run in history.runs(since="2026-01-02")] == 2 * ["2026-01-02T03:00:00+00:00"]
        assert next((s.cases, s.worse, s.commits) for s in history.sessions()) == (2, 2, (f"{0:040x}",))
        assert history.case_ids() == ["t.py::test_0", "t.py::test_1"]


def test_what_never_moved_can_be_left_out(tmp_path: Path) -> None:
    with History(tmp_path / "h.sqlite") as history:
        for night in range(3):
            distance = OriginDistance(generation=1, colour_levels=night / 2, psnr_db=None)
            added = session(night)
            cases = [msgspec.structs.replace(case, origin_distance=distance) for case in added.cases]
            history.add(msgspec.structs.replace(added, cases=tuple(cases)))
        every, moved = history.series("t.py::test_1"), history.series("t.py::test_1", moved_only=True)
    constant = {item.figure for item in every if min(item.values) == max(item.values)}
    assert {"memory.peak_bytes", "origin.psnr_db", "pace.matmul_s", "time.text_encode_s"} <= constant
    kept = [item for item in every if item.figure not in constant or item.figure.startswith(("time.", "pace."))]
    assert moved == [item for item in kept if item.figure != "time.total_by_pace"]
    assert "origin.colour_levels" in {item.figure for item in moved}


def test_adding_again_adds_nothing(tmp_path: Path) -> None:
    with History(tmp_path / "h.sqlite") as history:
        half = session(0, cases=1, interrupted=True)
        assert [history.add(item) for item in (half, half, session(0), session(0), half)] == [1, 0, 1, 0, 0]
        (kept,) = history.sessions()
        assert (kept.cases, kept.interrupted) == (2, False)
        # the same results in a file of another name or time are the same runs
        assert history.add(session(0, started="2026-01-01T04:00:00+00:00")) == 0
        assert len(history.sessions()) == 1


def test_a_different_definition_or_machine_begins_a_new_series(tmp_path: Path) -> None:
    def of(run: str, machine: str, seed: int) -> SessionReport:
        environment = make_environment(machine)
        case = make_case(seed=seed)
        observation = make_observation(make_artifacts(), make_run(run, environment), case)
        return msgspec.structs.replace(session(0), cases=(CaseReport(observation=observation, verdicts=()),))

    with History(tmp_path / "h.sqlite") as history:
        for run, machine, seed in (("a", "one", 0), ("b", "one", 0), ("c", "two", 0), ("d", "one", 1)):
            history.add(of(run, machine, seed))
        totals = [item for item in history.series() if item.figure == "time.total_s"]
        assert sorted((item.machine, len(item.values)) for item in totals) == [("one", 1), ("one", 2), ("two", 1)]


def test_what_broke_off_has_no_figures(tmp_path: Path) -> None:
    broken = session(0, cases=1)
    cases = tuple(msgspec.structs.replace(case, error="out of memory") for case in broken.cases)
    with History(tmp_path / "h.sqlite") as history:
        history.add(msgspec.structs.replace(broken, cases=cases))
        (run,) = history.runs()
        assert (run.error, run.figures) == ("out of memory", {})


# -- other files and versions


def test_foreign_files_and_newer_versions_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("no database, but long enough to be taken for one" * 50)
    with pytest.raises(DiffbenchError, match="not a database"):
        History(text)
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE mine (id INTEGER)")
    other.close()
    with pytest.raises(DiffbenchError, match="of something else"):
        History(tmp_path / "other.sqlite")
    History(tmp_path / "newer.sqlite").close()
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(DiffbenchError, match="schema 9 is newer than 1"):
        History(tmp_path / "newer.sqlite")
    with pytest.raises(DiffbenchError, match="holds no history"):
        History(tmp_path / "absent.sqlite", create=False)


def test_an_empty_file_is_no_history_to_read_and_stays_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sqlite"
    empty.write_bytes(b"")
    with pytest.raises(DiffbenchError, match=r"holds no history\. Add a session"):
        History(empty, create=False)
    assert empty.read_bytes() == b""
    with History(empty) as history:
        assert history.add(session(0)) == 2, "it can be written to"


def test_a_history_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a #1 %41?.sqlite"  # all that means something in a URI
    with History(path) as history:
        history.add(session(0))
    # Root may write everywhere, so the folder only says that it takes nothing.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with History(path, create=False) as history:
        assert len(history.runs()) == 2
        assert [file.name for file in tmp_path.iterdir()] == [path.name], "a log was made beside it"


def test_an_older_file_is_migrated_in_a_single_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.sqlite"
    with History(path) as history:
        history.add(session(0))
    steps = history_module.MIGRATIONS | {1: "ALTER TABLE runs ADD COLUMN note TEXT; UPDATE runs SET absent = 1"}
    monkeypatch.setattr(history_module, "SCHEMA", 2)
    monkeypatch.setattr(history_module, "MIGRATIONS", steps)
    with pytest.raises(DiffbenchError, match="no such column: absent"):
        History(path)
    steps[1] = "ALTER TABLE runs ADD COLUMN note TEXT; UPDATE runs SET note = 'old'"
    with History(path) as history:
        assert len(history.runs()) == 2
        assert history._database.execute("SELECT DISTINCT note FROM runs").fetchall() == [("old",)]


# -- processes

ADDER = """
import sys
sys.path[:0] = [{here!r}, {root!r}]
from pathlib import Path
from test_store_history import session
from pytest_diffbench.store.history import History
print("ready", flush=True)
sys.stdin.readline()
with History(Path({path!r})) as history:
    for night in range({first}, {last}):
        history.add(session(night, cases=40))
        print(night, flush=True)
"""


def adder(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    """A process that adds nights, once it is told to begin."""
    here = Path(__file__).parent
    code = ADDER.format(here=str(here), root=str(here.parent.parent), path=str(path), first=first, last=last)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_add_at_once_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    processes = [adder(path, 0, 8), adder(path, 6, 14)]  # two nights are added by both
    for process in processes:
        begin(process)
    assert [process.wait(60) for process in processes] == [0, 0]
    with History(path) as history:
        assert [item.cases for item in history.sessions()] == 14 * [40]
        assert {len(item.values) for item in history.series()} == {14}


def test_a_kill_in_the_middle_leaves_whole_sessions_and_all_finished(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    done = 0
    for delay_s in (0.0, 0.004, 0.013):
        process = adder(path, done, 28)
        begin(process)
        assert process.stdout is not None
        done = int(process.stdout.readline()) + 1
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate(timeout=30)[0].split()
        done = max([done, *(int(word) + 1 for word in rest if word.isdigit())])
        with History(path) as history:
            counted = [item.cases for item in history.sessions()]
        assert counted == len(counted) * [40], "no session is there in part"
        assert done <= len(counted) <= done + 1, "what was said to be added is there"
        done = len(counted)
    with History(path) as history:
        assert history.add(session(done, cases=40)) == 40
