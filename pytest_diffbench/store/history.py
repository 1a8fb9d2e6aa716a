"""The figures of many sessions in one SQLite file: what was measured when, of which commit, on which machine.

One process writes at a time, and others wait for it; readers never wait (write-ahead log). A session is added whole
or not at all, also where the process is killed: its figures, with the row that says so, are one transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import DiffbenchError, option
from pytest_diffbench.records.history import PACES, TIMES, TOTAL_BY_PACE, HistoryRun, HistorySession, Series
from pytest_diffbench.store.history_figures import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from pytest_diffbench.records import CaseReport, SessionReport

SCHEMA = 1
"""Version of the tables; the file has it as its `user_version`."""

_BUSY_S = 60.0
"""How long a process waits for another one that writes."""

_FIRST = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, started TEXT NOT NULL, finished TEXT NOT NULL,
    diffbench TEXT NOT NULL, interrupted INTEGER NOT NULL, command TEXT NOT NULL
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions(id), case_id TEXT NOT NULL,
    definition TEXT NOT NULL, model TEXT NOT NULL, machine TEXT NOT NULL, run TEXT NOT NULL, started TEXT NOT NULL,
    commit_id TEXT, software TEXT NOT NULL, saved TEXT, error TEXT,
    UNIQUE (case_id, run)
);
CREATE INDEX runs_by_case ON runs (case_id, machine, started);
CREATE TABLE verdicts (
    run INTEGER NOT NULL REFERENCES runs(id), gate TEXT NOT NULL, decision TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (run, gate)
) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, case_id TEXT NOT NULL, machine TEXT NOT NULL, definition TEXT NOT NULL,
    figure TEXT NOT NULL, UNIQUE (case_id, machine, definition, figure)
);
CREATE TABLE figures (
    series INTEGER NOT NULL REFERENCES series(id), run INTEGER NOT NULL REFERENCES runs(id), value REAL NOT NULL,
    PRIMARY KEY (series, run)
) WITHOUT ROWID;
"""

MIGRATIONS: dict[int, str] = {0: _FIRST}
"""By the schema that a step starts from: statements that lead to the next one. 0 is an empty file."""


def _place(path: Path, *, create: bool) -> str:
    """What SQLite opens; where nothing can be written, what is only read needs no log beside it."""
    place = path.absolute().as_uri()
    if create or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return place
    # With a log, somebody else writes, and SQLite reads it too. Without one the file is whole: SQLite has to be told.
    logged = path.with_name(f"{path.name}-wal").exists()
    return f"{place}?mode=ro" if logged else f"{place}?mode=ro&immutable=1"


class History:
    """A history, open for reading and adding. Use it as a context manager.

    Args:
        path: of the file; made with its folder where it isn't there.
        create: whether a file that isn't there is made.

    Raises:
        DiffbenchError: it can't be opened, is no history, or is of a newer version.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path = path
        if not create and (not path.is_file() or not path.stat().st_size):
            raise DiffbenchError(
                f"{path}: holds no history. Add a session (diffbench history add RESULT.json), or give "
                f"{option('history')} another file."
            )
        with self._problems():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                _place(path, create=create), timeout=_BUSY_S, isolation_level=None, uri=True
            )
        try:
            with self._problems():
                self._database.execute("PRAGMA foreign_keys = ON")
                self._migrate()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def add(self, session: SessionReport) -> int:
        """Add what a session measured. Runs that are there already stay as they are.

        One that was interrupted can be added again when it's complete.

        Returns:
            How many runs were new.

        Raises:
            DiffbenchError: the file can't be written. It then holds what it held before.
        """
        with self._problems(), self._writing():
            row = self._session_row(session)
            added = sum(self._add_case(row, report) for report in session.cases)
            if not added:
                # A session whose runs all came with another file of it is no session of its own.
                self._database.execute(
                    "DELETE FROM sessions WHERE id = ? AND NOT EXISTS (SELECT 1 FROM runs WHERE session = ?)",
                    (row, row),
                )
            return added

    def sessions(self) -> list[HistorySession]:
        """All sessions, oldest first."""
        query = """
            SELECT s.started, s.finished, s.diffbench, s.interrupted, count(r.id), group_concat(DISTINCT r.machine),
                group_concat(DISTINCT r.commit_id),
                (SELECT count(*) FROM verdicts v JOIN runs q ON q.id = v.run WHERE q.session = s.id
                    AND v.decision = 'worse')
            FROM sessions s LEFT JOIN runs r ON r.session = s.id GROUP BY s.id ORDER BY s.started, s.id
        """
        with self._problems():
            return [
                HistorySession(
                    started=started,
                    finished=finished,
                    diffbench=diffbench,
                    interrupted=bool(interrupted),
                    cases=count,
                    machines=tuple(sorted((machines or "").split(","))) if machines else (),
                    commits=tuple(sorted((commits or "").split(","))) if commits else (),
                    worse=worse,
                )
                for started, finished, diffbench, interrupted, count, machines, commits, worse in (
                    self._database.execute(query)
                )
            ]

    def runs(self, case_id: str | None = None, since: str | None = None) -> list[HistoryRun]:
        """Runs of one case or of all, with their verdicts and figures, oldest first.

        None is older than `since`: ISO 8601, also only its beginning.
        """
        with self._problems():
            where, values = _where(case_id, since)
            verdicts: dict[int, dict[str, str]] = {}
            for run, gate, decision, reason in self._database.execute(
                f"SELECT v.run, v.gate, v.decision, v.reason FROM verdicts v JOIN runs r ON r.id = v.run {where}",
                values,
            ):
                verdicts.setdefault(run, {})[gate] = decision if reason == decision else f"{decision} {reason}"
            figures: dict[int, dict[str, float]] = {}
            for run, name, value in self._database.execute(
                "SELECT f.run, s.figure, f.value FROM figures f JOIN series s ON s.id = f.series "
                f"JOIN runs r ON r.id = f.run {where}",
                values,
            ):
                figures.setdefault(run, {})[name] = value
            return [
                HistoryRun(
                    case=case,
                    run=run_id,
                    started=started,
                    model=model,
                    machine=machine,
                    commit=commit,
                    definition=definition,
                    software=json.loads(software),
                    saved=saved,
                    error=error,
                    verdicts=verdicts.get(row, {}),
                    figures=dict(sorted(figures.get(row, {}).items())),
                )
                for row, case, run_id, started, model, machine, commit, definition, software, saved, error in (
                    self._database.execute(
                        "SELECT r.id, r.case_id, r.run, r.started, r.model, r.machine, r.commit_id, r.definition, "
                        f"r.software, r.saved, r.error FROM runs r {where} ORDER BY r.started, r.id",
                        values,
                    )
                )
            ]

    def series(
        self, case_id: str | None = None, since: str | None = None, *, moved_only: bool = False
    ) -> list[Series]:
        """Every figure of every case on every machine as a series, its values by time.

        A call that is defined anew, or a case on another class of machine, begins a series of its own.

        Args:
            case_id: of one case alone; None for all.
            since: no older values: ISO 8601, also only its beginning.
            moved_only: leave out what shows no change: figures that always had one value, unless they are times or
                the pace by which times are divided; and the total by the pace, which is made of these two.
        """
        conditions = [] if case_id is None else ["s.case_id = ?"]
        if moved_only:
            # SQLite looks at a value in a fifth of the time that Python takes to be handed it.
            conditions += [
                f"s.figure != '{TOTAL_BY_PACE}'",
                f"(s.figure GLOB '{TIMES}*' OR s.figure GLOB '{PACES}*' OR "
                "(SELECT min(f.value) < max(f.value) FROM figures f WHERE f.series = s.id))",
            ]
        with self._problems():
            where, values = _where(case_id, since)
            runs = {
                row: (started, commit or "", software, saved or "", model)
                for row, started, commit, software, saved, model in self._database.execute(
                    f"SELECT r.id, r.started, r.commit_id, r.software, r.saved, r.model FROM runs r {where}", values
                )
            }
            chosen = f"WHERE {' AND '.join(conditions)}" if conditions else ""
            named = self._database.execute(
                f"SELECT s.id, s.case_id, s.machine, s.figure FROM series s {chosen} ORDER BY s.id",
                () if case_id is None else (case_id,),
            ).fetchall()
            # Figures of a case share their runs, so what is known of these is put in order once.
            ordered: dict[tuple[int, ...], tuple[list[int], list[tuple[str, ...]]]] = {}
            result = []
            for row, case, machine, figure in named:
                points = self._database.execute(
                    "SELECT f.run, f.value FROM figures f WHERE f.series = ? ORDER BY f.run", (row,)
                ).fetchall()
                numbers, figures = zip(*points, strict=True) if points else ((), ())
                if numbers not in ordered:
                    places = [place for place, number in enumerate(numbers) if number in runs]
                    places.sort(key=lambda place, numbers=numbers: runs[numbers[place]][0])  # type: ignore[misc]
                    ordered[numbers] = places, list(zip(*(runs[numbers[place]] for place in places), strict=True))
                order, facts = ordered[numbers]
                if order:
                    started, commits, software, saved, models = facts
                    result.append(
                        Series(
                            case=case,
                            machine=machine,
                            figure=figure,
                            model=models[-1],
                            started=started,
                            commits=commits,
                            software=software,
                            saved=saved,
                            values=tuple([figures[place] for place in order]),
                        )
                    )
            return result

    def figure_counts(self, case_id: str | None = None) -> dict[str, int]:
        """How many series there are of each figure, of one case or of all."""
        chosen, values = ("", ()) if case_id is None else (" WHERE case_id = ?", (case_id,))
        with self._problems():
            return dict(
                self._database.execute(f"SELECT figure, count(*) FROM series{chosen} GROUP BY figure", values)
            )

    def case_ids(self) -> list[str]:
        """The ids of all cases, in alphabetical order."""
        with self._problems():
            return [row[0] for row in self._database.execute("SELECT DISTINCT case_id FROM runs ORDER BY case_id")]

    # -- writing

    def _session_row(self, session: SessionReport) -> int:
        machines = sorted({report.observation.run.environment.machine for report in session.cases})
        identity = json.dumps([session.started, session.command, session.root, machines])
        key = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        self._database.execute(
            "INSERT INTO sessions (key, started, finished, diffbench, interrupted, command) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET finished = max(finished, excluded.finished), "
            "interrupted = min(interrupted, excluded.interrupted)",
            (
                *(key, session.started, session.finished, session.diffbench, session.interrupted),
                json.dumps(session.command),
            ),
        )
        row: int = self._database.execute("SELECT id FROM sessions WHERE key = ?", (key,)).fetchone()[0]
        return row

    def _add_case(self, session: int, report: CaseReport) -> bool:
        observation = report.observation
        case, run, environment = observation.case, observation.run, observation.run.environment
        definition = case.definition
        digest = hashlib.blake2b(msgspec.json.encode(definition, order="deterministic"), digest_size=8).hexdigest()
        cursor = self._database.execute(
            "INSERT INTO runs (session, case_id, definition, model, machine, run, started, commit_id, software, "
            "saved, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (case_id, run) DO NOTHING",
            (
                *(session, case.id, digest, f"{definition.model or definition.pipeline} {definition.weights}"),
                *(environment.machine, run.id, run.started),
                environment.software.get("git_commit"),
                json.dumps(environment.software, sort_keys=True),
                report.saved.what if report.saved is not None else None,
                report.error,
            ),
        )
        if cursor.rowcount <= 0:
            return False
        row = cursor.lastrowid
        self._database.executemany(
            "INSERT INTO verdicts (run, gate, decision, reason) VALUES (?, ?, ?, ?)",
            [(row, verdict.gate, verdict.decision, verdict.reason) for verdict in report.verdicts],
        )
        for name, value in figures_of(report).items():
            names = (case.id, environment.machine, digest, name)
            self._database.execute(
                "INSERT INTO series (case_id, machine, definition, figure) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                names,
            )
            self._database.execute(
                "INSERT INTO figures (series, run, value) SELECT id, ?, ? FROM series WHERE case_id = ? "
                "AND machine = ? AND definition = ? AND figure = ?",
                (row, value, *names),
            )
        return True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. Who writes is settled when it begins, so that none fails halfway."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _migrate(self) -> None:
        self._refuse_newer()
        if self._version() == SCHEMA:
            return
        with contextlib.suppress(sqlite3.OperationalError):  # where another process sets it at this moment
            self._database.execute("PRAGMA journal_mode = WAL")  # stays with the file
        with self._writing():
            self._refuse_newer()
            for version in range(self._version(), SCHEMA):
                for statement in MIGRATIONS[version].split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {version + 1}")

    def _version(self) -> int:
        version: int = self._database.execute("PRAGMA user_version").fetchone()[0]
        tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not version and tables:
            # another process may have made them between the two looks, and said so with the last
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if not version and tables:
            raise DiffbenchError(
                f"{self._path}: is a database of something else. Give {option('history')} another file."
            )
        return version

    def _refuse_newer(self) -> None:
        version = self._version()
        if version > SCHEMA:
            raise DiffbenchError(
                f"{self._path}: schema {version} is newer than {SCHEMA}, which this version reads. Upgrade "
                "pytest-diffbench."
            )

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """Say in one line what SQLite couldn't do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            busy = "locked" if isinstance(error, sqlite3.OperationalError) and _is_busy(error) else None
            what = f"is being written by another process for more than {_BUSY_S:.0f} s" if busy else str(error)
            raise DiffbenchError(
                f"{self._path}: {what}. Give {option('history')} another file, or check this one."
            ) from error


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _where(case_id: str | None, since: str | None) -> tuple[str, Sequence[Any]]:
    conditions = [("r.case_id = ?", case_id), ("r.started >= ?", since)]
    given = [(condition, value) for condition, value in conditions if value is not None]
    text = " AND ".join(condition for condition, _ in given)
    return (f"WHERE {text}" if text else ""), [value for _, value in given]
