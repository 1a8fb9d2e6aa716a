"""The session's file: read back as it was written, in a stable order, with its problems named."""

from __future__ import annotations

import json
import os
import typing
from typing import TYPE_CHECKING

import msgspec
import pytest
import report_factories as make
from golden_files import REPOSITORY, assert_equals_file, assert_golden

from pytest_diffbench.commands import main as cli
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import SESSION_SCHEMA, CaseReport, SaveOutcome, SessionReport, ToleranceChange
from pytest_diffbench.report import session_json
from pytest_diffbench.report.efficiency import efficiency_of
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = {"pass": make.all_pass, "red": make.red, "interrupted": make.interrupted, "empty": make.empty}


@pytest.mark.parametrize("name", SESSIONS)
def test_reads_back_what_was_written(name: str, tmp_path: Path) -> None:
    session = SESSIONS[name]()
    path = tmp_path / "new" / "folder" / "session.json"
    session_json.write(path, session)
    read = session_json.load(path)
    # writing adds what follows from the rest
    bare = tuple(msgspec.structs.replace(case, efficiency=None) for case in read.cases)
    # details are plain where they were read
    again = msgspec.structs.replace(read, cases=bare)
    assert msgspec.json.decode(msgspec.json.encode(again)) == msgspec.json.decode(msgspec.json.encode(session))
    for case in read.cases:
        assert case.efficiency == efficiency_of(case.observation)
    assert msgspec.json.decode(session_json.dump(read)) == msgspec.json.decode(path.read_bytes())
    assert [path_left.name for path_left in path.parent.iterdir()] == ["session.json"]


def test_golden_file() -> None:
    assert_golden("session-interrupted.json", session_json.dump(make.interrupted()).decode())


def test_order_does_not_depend_on_how_facts_were_collected() -> None:
    session = make.interrupted()
    turned = msgspec.structs.replace(session, settings=dict(reversed(session.settings.items())))
    assert session_json.dump(turned) == session_json.dump(session)


def test_ends_with_a_line_end_and_begins_with_the_schema() -> None:
    lines = session_json.dump(make.empty()).decode().splitlines(keepends=True)
    assert lines[1] == f'  "schema": {SESSION_SCHEMA},\n'
    assert lines[-1] == "}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"schema": SESSION_SCHEMA + 1},
            f"field schema is {SESSION_SCHEMA + 1}, this version reads {SESSION_SCHEMA}. Up",
        ),
        ({"schema": 0}, f"field schema is 0, this version reads {SESSION_SCHEMA}. Measure again"),
        ({"schema": "1"}, "field schema: Expected `int`, got `str`"),
        ({"interrupted": "no"}, "field interrupted: Expected `bool`, got `str`"),
        ({"new_field": 1}, "unknown field `new_field`"),
        ({"counts": {"bad": 1}}, "Invalid enum value 'bad'"),
        ({"cases": [{"verdicts": []}]}, "field cases[0]: Object missing required field `observation`"),
    ],
)
def test_names_file_field_and_remedy(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text(json.dumps(json.loads(session_json.dump(make.empty())) | change))
    with pytest.raises(DiffbenchError) as error:
        session_json.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"schema": 1}', b"\x80PNG"])
def test_what_is_no_session_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(data)
    with pytest.raises(DiffbenchError, match=r"session\.json: .*pytest --diffbench-json wrote"):
        session_json.load(path)


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = session_json.dump(make.empty())
    path = tmp_path / "session.json"
    for size in range(len(whole) - 2):
        path.write_bytes(whole[:size])
        with pytest.raises(DiffbenchError):
            session_json.load(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DiffbenchError, match=r"nowhere\.json: doesn't exist"):
        session_json.load(tmp_path / "nowhere.json")
    with pytest.raises(DiffbenchError, match="is a folder"):
        session_json.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    session_json.write(path, make.interrupted())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiffbenchError, match=r"session\.json: can't be written \(No space left on device\)"):
        session_json.write(path, make.empty())
    assert [path_left.name for path_left in tmp_path.iterdir()] == ["session.json"]
    assert path.read_bytes() == session_json.dump(make.interrupted())


def finished(number: int, attempts: int = 1) -> session_json.Finished:
    case = make.all_pass().cases[0]
    observation = msgspec.structs.replace(
        case.observation, case=msgspec.structs.replace(case.observation.case, id=f"test_{number}")
    )
    return session_json.Finished(
        test=f"test_{number}", cases=(msgspec.structs.replace(case, observation=observation),), attempts=attempts
    )


def ids(session: SessionReport) -> list[str]:
    return [case.observation.case.id for case in session.cases]


def grown(
    path: Path, tests: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[session_json.SessionFile, list[session_json.Finished], list[int]]:
    """A running session's file after so many tests, and the sizes of the file as it was written anew."""
    sizes: list[int] = []

    def write(where: Path, session: SessionReport) -> None:
        real(where, session)
        sizes.append(where.stat().st_size)

    real = session_json.write
    monkeypatch.setattr(session_json, "write", write)
    file, so_far = session_json.SessionFile(path), []
    file.begin(make.empty())
    for number in range(tests):
        so_far.append(finished(number))
        file.add(so_far[-1], lambda: session_json.filled(make.empty(), so_far))
    return file, so_far, sizes


@pytest.mark.full
def test_a_running_session_is_whole_at_any_time_and_costs_no_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session_json, "_CHEAP_BYTES", 0)
    path = tmp_path / "session.json"
    file, so_far, sizes = grown(path, 70, monkeypatch)
    snapshot = msgspec.json.decode(path.read_bytes(), type=SessionReport)
    report = session_json.load(path)
    assert report.interrupted
    assert snapshot.interrupted
    assert ids(report) == [f"test_{number}" for number in range(70)]
    assert len(snapshot.cases) < 70, "the file was written anew after each test"
    assert report.counts == session_json.filled(make.empty(), so_far).counts
    assert sum(sizes) < 4 * len(session_json.dump(report))
    assert cli.main(["show", str(path), "--format", "json"]) == 0
    assert capsys.readouterr().out.encode() == session_json.dump(report)
    file.end(make.all_pass())
    assert [path_left.name for path_left in tmp_path.iterdir()] == ["session.json"]
    assert not session_json.load(path).interrupted


def test_small_sessions_need_no_journal_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    grown(path, 20, monkeypatch)
    assert len(msgspec.json.decode(path.read_bytes(), type=SessionReport).cases) == 20


@pytest.mark.parametrize("torn", [b'{"test": "test_3", "ca', b"\xff\xfe", b"{"])
def test_a_line_cut_short_does_not_count(torn: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    file, _, _ = grown(path, 3, monkeypatch)
    with (tmp_path / "session.json.journal").open("ab") as journal:
        journal.write(b"\n" + torn)
    assert ids(session_json.load(path)) == ["test_0", "test_1", "test_2"]
    file.add(finished(3), make.empty)
    assert ids(session_json.load(path)) == ["test_0", "test_1", "test_2", "test_3"]


def test_a_different_sessions_journal_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    grown(path, 3, monkeypatch)
    session_json.write(path, msgspec.structs.replace(make.interrupted(), started="2030-01-01T00:00:00+00:00"))
    assert ids(session_json.load(path)) == ids(make.interrupted())


@pytest.mark.parametrize("begun", [b"", b"\n", b'\n{"schema": 1, "diff', b"\n\xff"])
def test_a_journal_hardly_begun_does_not_count(begun: bytes, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    session_json.write(path, make.interrupted())
    (tmp_path / "session.json.journal").write_bytes(begun)
    assert ids(session_json.load(path)) == ids(make.interrupted())


def test_a_full_disk_in_the_middle_is_left_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    file, so_far, _ = grown(path, 1, monkeypatch)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        file.add(finished(1), lambda: session_json.filled(make.empty(), so_far))
        with pytest.raises(DiffbenchError, match="No space left on device"):
            file.end(make.all_pass())
    file.end(make.all_pass())
    assert session_json.load(path).cases


def test_of_several_attempts_the_last_counts() -> None:
    first, second = finished(0), finished(0, attempts=2)
    (case,) = second.cases
    second = msgspec.structs.replace(
        second, cases=(msgspec.structs.replace(case, saved=SaveOutcome(what="created")),)
    )
    report = session_json.filled(make.empty(), [first, finished(1), second])
    assert ids(report) == ["test_0", "test_1"]
    assert [(case.attempts, saved_text(case.saved)) for case in report.cases] == [(2, "created"), (1, "")]
    again = session_json.filled(make.empty(), [first, session_json.Finished(test="test_0", attempts=3)])
    assert [case.attempts for case in again.cases] == [3], "the last measured nothing, and what there is stays"


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "session.json").mkdir()
    with pytest.raises(DiffbenchError, match=r"session\.json: can't be written"):
        session_json.write(tmp_path / "session.json", make.empty())
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffbenchError, match="can't be written"):
        session_json.write(tmp_path / "file" / "session.json", make.empty())
    assert sorted(path_left.name for path_left in tmp_path.iterdir()) == ["file", "session.json"]


def test_published_schema_matches_the_records() -> None:
    text = json.dumps(msgspec.json.schema(SessionReport), indent=2, ensure_ascii=False) + "\n"
    assert_equals_file(REPOSITORY / "docs" / "schema" / f"session-{SESSION_SCHEMA}.json", text)


def test_every_field_is_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "session-json.md").read_text(encoding="utf-8")
    words = {word for part in page.split("`")[1::2] for word in part.replace("[]", "").split(".")}
    for record in _records_in(SessionReport):
        if record.__module__.startswith("pytest_diffbench.records.details") or record is ToleranceChange:
            continue  # figures behind verdicts, which the schema has
        assert set(record.__struct_fields__) <= words, record


def _records_in(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    records: set[type[msgspec.Struct]] = set()
    waiting: list[object] = [kind]
    while waiting:
        annotation = waiting.pop()
        waiting += typing.get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct) and annotation not in records:
            records.add(annotation)
            waiting += typing.get_type_hints(annotation).values()
    assert CaseReport in records
    return records
