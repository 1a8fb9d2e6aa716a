"""`diffbench accept`: makes baselines of what a session measured, for instance in CI, without measuring again."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError, OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Acceptance, CaseReport, Gate, SessionReport
    from pytest_diffbench.records.artifacts import Artifacts, Reference
    from pytest_diffbench.report.accepted import Accepted
    from pytest_diffbench.report.sentences.saving import Obstacle
    from pytest_diffbench.session.saving import Saved
    from pytest_diffbench.store import Store

    Matcher: TypeAlias = Callable[[str], bool]


_KEPT = "kept"
"""Folder beside the page of `--diffbench-report=FOLDER`, see `session.report_page`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "results",
        metavar="RESULT",
        nargs="+",
        type=Path,
        help="sessions, written by pytest --diffbench-json, or folders with one, as CI keeps them",
    )
    parser.add_argument(
        "-k", dest="expression", metavar="EXPRESSION", help="accept only cases that match, as in pytest"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why, for the history in the baseline")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder with what the sessions kept: of --diffbench-images, or the page of --diffbench-report; can be "
        "repeated",
    )
    parser.add_argument(
        "--baselines",
        metavar="DIR",
        type=Path,
        default=Path("baselines"),
        help="folder of the baselines (default: baselines)",
    )


def accept(arguments: argparse.Namespace) -> list[Accepted]:
    """Accept cases of sessions; gives what became of each.

    Raises:
        DiffbenchError: a file or a folder can't be used, or no case is chosen.
    """
    from pytest_diffbench.report import session_json
    from pytest_diffbench.store import Store

    chosen = selection(arguments.expression)
    for folder in arguments.images:
        if not folder.is_dir():
            raise OptionError(f"--images {folder}: isn't a folder. Name one that pytest wrote.")
    if arguments.baselines.exists() and not arguments.baselines.is_dir():
        raise OptionError(f"--baselines {arguments.baselines}: isn't a folder. Name another one.")
    store = Store(arguments.baselines)
    command = shlex.join(["diffbench", *arguments.typed])
    accepted: list[Accepted] = []
    for path in map(session_file, arguments.results):
        session = session_json.load(path)
        folders = kept_folders(session, path, arguments.images)
        accepter = _Accepter(session, folders, store, arguments.reason, command)
        accepted += [accepter.accept(report) for report in session.cases if chosen(report.observation.case.id)]
    if not accepted:
        which = f" that match -k {arguments.expression!r}" if arguments.expression else ""
        raise DiffbenchError(
            f"{', '.join(map(str, arguments.results))}: no cases{which}, so nothing can be accepted. Name sessions "
            "with cases."
        )
    return accepted


def session_file(path: Path) -> Path:
    """The session's file that a path means: itself, or of a folder the only `*.json` in it.

    Raises:
        OptionError: the folder has none, or several.
    """
    if not path.is_dir():
        return path
    if (path / "session.json").is_file():
        return path / "session.json"
    files = sorted(path.glob("*.json"))
    if len(files) != 1:
        what = "several files *.json" if files else "no file *.json"
        raise OptionError(f"{path}: has {what}. Name the file that pytest --diffbench-json wrote.")
    return files[0]


def kept_folders(session: SessionReport, path: Path, named: Sequence[Path]) -> list[Path]:
    """Folders in which a session's images, other parts and traces may be.

    Args:
        session: whose settings name some; where they have moved, they are looked for beside its file.
        path: of the session's file.
        named: further ones.
    """
    folders = [*named, *(folder / _KEPT for folder in named)]
    for setting in ("images", "report"):
        place = session.settings.get(setting)
        if isinstance(place, str):
            for folder in (path.parent / Path(place).name, Path(place)):
                folders += [folder, folder / _KEPT]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


@dataclasses.dataclass(frozen=True, slots=True)
class _Material:
    """What a save takes of a case."""

    artifacts: Artifacts
    reference: Reference | None
    metrics: tuple[ImageMetric, ...]


class _Accepter:
    """Accepts cases of one session, with what was kept of it in `folders`."""

    def __init__(
        self, session: SessionReport, folders: Sequence[Path], store: Store, reason: str | None, command: str
    ) -> None:
        self._session = session
        self._folders = folders
        self._store = store
        self._reason = reason
        self._command = command
        self._accepted: set[str] = set()
        from pytest_diffbench.report.figures import node_id

        tests = [node_id(report.observation.case.id) for report in session.cases]
        self._cases_of = {test: tests.count(test) for test in tests}
        self._benchmarks = len(self._cases_of) + sum(not skipped.missing for skipped in session.skipped)

    def accept(self, report: CaseReport) -> Accepted:
        """Accept one case, or say why not."""
        from pytest_diffbench.records import SaveOutcome
        from pytest_diffbench.report.accepted import Accepted
        from pytest_diffbench.report.sentences import saving
        from pytest_diffbench.session.saving import Saved

        try:
            refused = self._why_not(report)
            saved = Saved(SaveOutcome(what="refused", why=saving.refusal(refused))) if refused else self._save(report)
        except DiffbenchError as error:
            saved = Saved(SaveOutcome(what="refused", why=str(error)))
        case = report.observation.case
        if saved.done is not None and saved.done.what in ("created", "added", "new_generation"):
            self._accepted.add(case.id)
        return Accepted(case.id, saved.done, saved.times_left_out, saved.slid)

    @staticmethod
    def _why_not(report: CaseReport) -> Obstacle | None:
        """What forbids it whatever the baseline."""
        if report.error is not None or not report.observation.complete:
            return "incomplete"
        if report.test_failed:
            return "test_failed"
        if report.saved is not None and report.saved.refuted:
            return "refuted"
        return "no_trace" if report.trace_digest is None and report.observation.output is not None else None

    def _save(self, report: CaseReport) -> Saved:
        from pytest_diffbench.judge import limits_with
        from pytest_diffbench.records import SaveOutcome
        from pytest_diffbench.report.sentences import saving
        from pytest_diffbench.session.saving import Saved, save

        observation = report.observation
        reference = self._store.find(observation.case, observation.run.environment)
        if reference is not None and _holds(reference, observation.run.id):
            return Saved(SaveOutcome(what="kept", why=saving.TWICE))
        material = _Material(self._artifacts(report), reference, self._metrics_of(report))
        limits = limits_with(report.thresholds)
        return save(
            observation,
            material.artifacts,
            reference,
            limits,
            self._store,
            failed=False,
            saved_before=observation.case.id in self._accepted,
            gates=_gates_of(report),
            metrics=material.metrics,
            departs=self._departs(report, material),
            acceptance=self._note(observation.run.id),
        )

    def _artifacts(self, report: CaseReport) -> Artifacts:
        """The arrays that were kept, each held against its digest."""
        from pytest_diffbench.report.sentences import saving
        from pytest_diffbench.store import kept, kept_trace

        observation, digest = report.observation, report.trace_digest
        artifacts = kept([*self._folders, self._store.root], observation.case, observation.output)
        trace = kept_trace(self._folders, digest) if digest is not None else {}
        output = observation.output
        lacking = output is not None and (
            len(artifacts.images) != len(output.images)
            or any(part.arrays and not arrays for part, arrays in zip(output.parts, artifacts.parts, strict=True))
        )
        if trace is None or lacking:
            raise DiffbenchError(saving.refusal("not_at_hand"))
        return dataclasses.replace(artifacts, trace=trace)

    def _metrics_of(self, report: CaseReport) -> tuple[ImageMetric, ...]:
        """The metrics of other packages by which the session judged the case."""
        from pytest_diffbench.outputs.metrics import OPTIONAL
        from pytest_diffbench.records.details import OutputDetails
        from pytest_diffbench.session.extra_metrics import Asked, metrics_named

        settings = self._session.settings
        names = set(str(settings.get("metrics") or "").split(","))
        for verdict in report.verdicts:
            if isinstance(verdict.details, OutputDetails):
                names |= {name for image in verdict.details.images for name in image}
        asked = [name for name in OPTIONAL if name in names]
        if not asked:
            return ()
        backbone = settings.get("lpips_backbone")
        where = Asked(report.observation.case.id, "the session's metrics", "the path that it was measured with")
        return metrics_named(asked, Path(backbone) if isinstance(backbone, str) else None, where)

    def _departs(self, report: CaseReport, material: _Material) -> bool:
        """Whether its times are others than the baseline's, beyond chance."""
        from pytest_diffbench.judge import judge, limits_with
        from pytest_diffbench.records.details import RatioDetails, TimeDetails
        from pytest_diffbench.report.figures import node_id
        from pytest_diffbench.store import MOST_PEERS

        observation, reference = report.observation, material.reference
        if reference is None or reference.distance != "machine" or "time" not in _gates_of(report):
            return False
        peers = self._store.runs(observation.run.environment.machine, MOST_PEERS)
        test = node_id(observation.case.id)
        (verdict,) = judge(
            observation,
            material.artifacts,
            reference,
            limits_with(report.thresholds),
            ("time",),
            saving=True,
            more_runs=report.confirmations,
            more_ratios=report.confirming_ratios,
            peer_runs={name: runs for name, runs in peers.items() if name != observation.case.id},
            family_size=self._benchmarks * self._cases_of[test],
        )
        details = verdict.details
        return isinstance(details, TimeDetails | RatioDetails) and details.departs

    def _note(self, run: str) -> Acceptance:
        from pytest_diffbench.records import Acceptance

        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return Acceptance(
            accepted=now, what="created", generation=1, run=run, reason=self._reason, command=self._command
        )


def _gates_of(report: CaseReport) -> tuple[Gate, ...]:
    """The gates that the session asked."""
    return tuple(verdict.gate for verdict in report.verdicts)


def _holds(reference: Reference, run: str) -> bool:
    """Whether a run is in a baseline of this machine already, or has been."""
    baseline = reference.baseline
    runs = {*(kept.id for kept in baseline.runs), *(accepted.run for accepted in baseline.acceptances)}
    return reference.distance == "machine" and run in runs


_TOKEN = re.compile(r"\s*(?:(?P<bracket>[()])|(?P<word>[^\s()]+))")


def selection(expression: str | None) -> Matcher:
    """A function that tells whether a case is chosen, by its id.

    Args:
        expression: words that are looked for in the id, whatever their case, joined by `and`, `or`, `not` and
            brackets; None and an empty text choose all.

    Raises:
        OptionError: it isn't such an expression.
    """
    if expression is None or not expression.strip():
        return lambda _: True
    parser = _Parser(expression)
    matcher = parser.alternatives()
    if parser.rest:
        raise parser.error(f"{parser.rest[0]!r} is too much")
    return matcher


class _Parser:
    """Reads an expression from left to right: `or` binds least, then `and`, then `not`."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self.rest = [match["bracket"] or match["word"] for match in _TOKEN.finditer(expression)]

    def error(self, problem: str) -> OptionError:
        return OptionError(
            f"-k {self._expression!r}: {problem}. Give words joined by `and`, `or`, `not` and brackets."
        )

    def alternatives(self) -> Matcher:
        matchers = [self._all_of()]
        while self._takes("or"):
            matchers.append(self._all_of())
        return lambda name: any(matches(name) for matches in matchers)

    def _all_of(self) -> Matcher:
        matchers = [self._negated()]
        while self._takes("and"):
            matchers.append(self._negated())
        return lambda name: all(matches(name) for matches in matchers)

    def _negated(self) -> Matcher:
        if self._takes("not"):
            matcher = self._negated()
            return lambda name: not matcher(name)
        if self._takes("("):
            inner = self.alternatives()
            if not self._takes(")"):
                raise self.error("a bracket isn't closed")
            return inner
        if not self.rest or self.rest[0] in ("and", "or", ")"):
            raise self.error("a word is missing")
        word = self.rest.pop(0).lower()
        return lambda name: word in name.lower()

    def _takes(self, token: str) -> bool:
        if self.rest and self.rest[0] == token:
            self.rest.pop(0)
            return True
        return False
