"""`diffbench judge`: a stored session's cases against those of another one, or against baselines, without a rerun."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.commands.parser import checked
from pytest_diffbench.errors import DiffbenchError, OptionError
from pytest_diffbench.settings.options import GATE_NAMES
from pytest_diffbench.settings.values import choices

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from pytest_diffbench.records import (
        Case,
        CaseReport,
        Gate,
        Output,
        SessionReport,
    )
    from pytest_diffbench.records.artifacts import Artifacts, Reference, Sides

    Images: TypeAlias = Callable[[Case, Output | None], Artifacts]


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """What was found.

    Attributes:
        session: the new one, with these verdicts in place of its own.
        only_new: ids of cases that there is nothing to hold against.
        only_old: ids of cases that the new session lacks.
        unjudged: what was asked and can't be told from the files, a sentence each.
        sides: gives what is at hand of a case, without arrays where it is told False.
    """

    session: SessionReport
    only_new: tuple[str, ...]
    only_old: tuple[str, ...]
    unjudged: tuple[str, ...]
    sides: Callable[[CaseReport, bool], Sides]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("new", metavar="NEW.json", type=Path, help="the session to judge")
    parser.add_argument("old", metavar="OLD.json|BASELINES", type=Path, help="what to compare with")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="folder with images of the sessions: from --diffbench-images, or baselines; can be repeated",
    )
    parser.add_argument(
        "--gates",
        type=checked(choices("gates", *GATE_NAMES)),
        metavar="LIST",
        default=None,
        help="gates to judge, separated by commas (default: all)",
    )
    parser.add_argument(
        "--report",
        metavar="PATH",
        type=Path,
        default=None,
        help="also make a page to look at: FILE.html, or a folder",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="also show the messages of gates that passed")


def judge(arguments: argparse.Namespace) -> Judged:
    """Judge one session by another, or by baselines.

    Raises:
        DiffbenchError: a file or folder can't be used, or the two have no case in common.
    """
    from pytest_diffbench.records import GATES
    from pytest_diffbench.report import session_json
    from pytest_diffbench.store import kept

    for folder in arguments.images:
        if not folder.is_dir():
            raise OptionError(
                f"--images {folder}: isn't a folder. Name a folder written by --diffbench-images, or a folder of "
                "baselines."
            )
    new = session_json.load(arguments.new)
    if arguments.old.is_dir():
        images = functools.partial(kept, [*arguments.images, *kept_with(new, arguments.new), arguments.old])
        references, old_ids = _stored(new, arguments.old), []
    else:
        old = session_json.load(arguments.old)
        folders = [*arguments.images, *kept_with(new, arguments.new), *kept_with(old, arguments.old)]
        images = functools.partial(kept, folders)
        references = _measured(old, str(arguments.old), images)
        old_ids = [case.observation.case.id for case in old.cases]
    ids = [case.observation.case.id for case in new.cases]
    if not references.keys() & set(ids):
        stored = arguments.old.is_dir()
        lacks = f"{'has a baseline' if stored else 'was measured to the end'} in {arguments.old}"
        remedy = f"Give {'baselines' if stored else 'two sessions'} of the same tests."
        raise DiffbenchError(
            f"{arguments.new}: none of its {len(ids)} cases {lacks}, so nothing can be judged. {remedy}"
        )
    judged = _judged(new, references, images, arguments.gates or GATES)
    return Judged(
        session=judged,
        only_new=tuple(dict.fromkeys(new_id for new_id in ids if new_id not in references)),
        only_old=tuple(dict.fromkeys(old_id for old_id in old_ids if old_id not in ids)),
        unjudged=tuple(_unjudged(judged, arguments.gates or GATES)),
        sides=functools.partial(_sides, references, images),
    )


def _sides(references: dict[str, Reference], images: Images, report: CaseReport, arrays: bool) -> Sides:
    """Both sides of a judged case, as far as its pictures are at hand."""
    from pytest_diffbench.records.artifacts import Artifacts, Sides

    observation = report.observation
    reference = references.get(observation.case.id)
    baseline = reference.baseline if reference is not None else None
    if not arrays:
        return Sides(baseline=baseline)
    base = Artifacts()
    if reference is not None:
        with contextlib.suppress(DiffbenchError):
            base = reference.artifacts()
    with contextlib.suppress(DiffbenchError):
        return Sides(now=images(observation.case, observation.output), base=base, baseline=baseline)
    return Sides(base=base, baseline=baseline)


def kept_with(session: SessionReport, path: Path) -> list[Path]:
    """The images that a session was told to keep: beside its file, which may have moved, or where they were."""
    named = session.settings.get("images")
    if not isinstance(named, str):
        return []
    return [folder for folder in (path.parent / Path(named).name, Path(named)) if folder.is_dir()]


def _stored(new: SessionReport, root: Path) -> dict[str, Reference]:
    """The nearest baseline of each case."""
    from pytest_diffbench.store import Store

    store = Store(root)
    nearest = {
        case.observation.case.id: store.find(case.observation.case, case.observation.run.environment)
        for case in new.cases
    }
    return {name: reference for name, reference in nearest.items() if reference is not None}


def _measured(old: SessionReport, path: str, images: Images) -> dict[str, Reference]:
    """Each case of a session as the baseline of its id. Several runs of one definition make up one baseline."""
    from pytest_diffbench.records import baseline_of
    from pytest_diffbench.records.artifacts import Reference

    runs: dict[str, list[CaseReport]] = {}
    for report in old.cases:
        observation = report.observation
        known = runs.setdefault(observation.case.id, [])
        if (
            observation.complete
            and observation.run.rounds
            and (not known or known[0].observation.case == observation.case)
        ):
            known.append(report)
    references: dict[str, Reference] = {}
    for case_id, reports in runs.items():
        if reports:
            first = reports[0].observation
            # How near the machine is depends on the case that is judged.
            references[case_id] = Reference(
                baseline=baseline_of(first, [report.observation.run for report in reports]),
                distance="any",
                path=path,
                artifacts=functools.partial(images, first.case, first.output),
            )
    return references


def _judged(
    new: SessionReport, references: dict[str, Reference], images: Images, gates: Sequence[Gate]
) -> SessionReport:
    """The new session with verdicts against these references in place of its own."""
    import msgspec

    from pytest_diffbench.judge import judge, limits_with
    from pytest_diffbench.records import DECISIONS, CaseReport
    from pytest_diffbench.records.artifacts import Artifacts
    from pytest_diffbench.report.sentences import all_worded
    from pytest_diffbench.store import digests

    cases: list[CaseReport] = []
    for report in new.cases:
        observation = report.observation
        reference = references.get(observation.case.id)
        if reference is not None:
            then, now = reference.baseline.runs[-1].environment, observation.run.environment
            near = then.machine == now.machine
            reference = dataclasses.replace(
                reference, distance="machine" if near else "family" if then.family == now.family else "any"
            )
        # Pixels are asked for where they decide.
        same = reference is not None and digests(observation.output) == digests(reference.baseline.output)
        verdicts = judge(
            observation,
            Artifacts() if reference is None or same else images(observation.case, observation.output),
            reference,
            limits_with(report.thresholds),
            gates,
            more_runs=report.confirmations,
            more_ratios=report.confirming_ratios,
            peer_runs={
                name: other.baseline.times
                for name, other in references.items()
                if name != observation.case.id
                and other.baseline.runs[-1].environment.machine == observation.run.environment.machine
            },
            family_size=len(new.cases),
        )
        cases.append(
            CaseReport(
                observation=observation,
                verdicts=all_worded(verdicts) if observation.complete else (),
                baseline_path=reference.path if reference is not None else None,
                baseline_distance=reference.distance if reference is not None else None,
                changed_since=reference.changed_since(observation.run.environment) if reference is not None else (),
                confirmations=report.confirmations,
                confirming_ratios=report.confirming_ratios,
                thresholds=report.thresholds,
                error=report.error,
            )
        )
    decisions = [verdict.decision for case in cases for verdict in case.verdicts]
    return msgspec.structs.replace(
        new,
        counts={decision: decisions.count(decision) for decision in DECISIONS},
        missing_baselines=(),
        cases=tuple(cases),
    )


def _unjudged(judged: SessionReport, gates: Sequence[Gate]) -> Iterator[str]:
    """What these files can't tell of what was asked, with what would."""
    without = ",".join(gate for gate in gates if gate != "output")
    or_not = f", or leave the gate out: --gates {without}" if without else ""
    for report in judged.cases:
        name = report.observation.case.id
        for verdict in report.verdicts:
            if verdict.reason == "output.not_kept":
                output = report.observation.output
                how = (
                    f"Give the folder written by pytest --diffbench-images=FOLDER: --images FOLDER{or_not}"
                    if output is not None and (output.images or output.parts)
                    else f"Measure again, with baselines{or_not}"
                )
                yield f"{name}: the output can't be judged from this file: {verdict.message} {how}."
        redefined = [verdict.gate for verdict in report.verdicts if verdict.reason.endswith(".definition_changed")]
        if redefined:
            gate_names = ", ".join(redefined)
            yield (
                f"{name}: {gate_names} can't be judged: the definitions of the case differ. "
                "Measure both with the same arguments."
            )
