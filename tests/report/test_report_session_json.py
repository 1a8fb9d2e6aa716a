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

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.records import SESSION_SCHEMA, CaseReport, SessionReport
from pytest_diffbench.report import session_json
from pytest_diffbench.report.efficiency import efficiency_of

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
    bare = tuple(msgspec.structs.replace(one, efficiency=None) for one in read.cases)
    assert msgspec.structs.replace(read, cases=bare) == session
    for one in read.cases:
        found = efficiency_of(one.observation)
        assert one.efficiency == (None if found is None else found.figures())
    assert session_json.dump(session_json.load(path)) == path.read_bytes()
    assert [one.name for one in path.parent.iterdir()] == ["session.json"]


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
    assert [one.name for one in tmp_path.iterdir()] == ["session.json"]
    assert path.read_bytes() == session_json.dump(make.interrupted())


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "session.json").mkdir()
    with pytest.raises(DiffbenchError, match=r"session\.json: can't be written"):
        session_json.write(tmp_path / "session.json", make.empty())
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffbenchError, match="can't be written"):
        session_json.write(tmp_path / "file" / "session.json", make.empty())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "session.json"]


def test_published_schema_is_that_of_the_records() -> None:
    text = json.dumps(msgspec.json.schema(SessionReport), indent=2, ensure_ascii=False) + "\n"
    assert_equals_file(REPOSITORY / "docs" / "schema" / f"session-{SESSION_SCHEMA}.json", text)


def test_every_field_is_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "session-json.md").read_text(encoding="utf-8")
    words = {word for part in page.split("`")[1::2] for word in part.replace("[]", "").split(".")}
    for record in _records_in(SessionReport):
        assert set(record.__struct_fields__) <= words, record


def _records_in(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    waiting: list[object] = [kind]
    while waiting:
        one = waiting.pop()
        waiting += typing.get_args(one)
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and one not in found:
            found.add(one)
            waiting += typing.get_type_hints(one).values()
    assert CaseReport in found
    return found
