"""From a measured case to its verdicts, its place in the store, and the words that fail its test."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records import CaseReport
from pytest_diffbench.records.details import RatioDetails, TimeDetails
from pytest_diffbench.report.sentences import all_worded
from pytest_diffbench.session.extra_metrics import metrics_of
from pytest_diffbench.session.saving import Saved, save, unchanged
from pytest_diffbench.session.thresholds import limits_of, thresholds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.judge import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Gate, Observation, Run, Verdict
    from pytest_diffbench.records.artifacts import Artifacts, Reference
    from pytest_diffbench.settings.options import Settings, Typed
    from pytest_diffbench.store import Store
    from pytest_diffbench.workers.against import Other

_NEEDS_BASELINE: frozenset[Gate] = frozenset({"work", "output", "memory", "time"})

_PLANNED: frozenset[Gate] = frozenset({"work", "guidance"})
"""Gates that a plan answers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Concluded:
    """A judged case. `failure` is the text that fails its test, None where it stands."""

    report: CaseReport
    failure: str | None


def _no_peers() -> Mapping[str, Sequence[Run]]:
    return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What beside a case's own run tells how sure a verdict on its time can be.

    Attributes:
        family_size: parts that the session's error budget is cut into; this case has one.
        peer_runs: reads the runs of other baselines of this machine, by case.
        more: measures the case once more in a fresh process, with the ratio of a variant; None where nothing more is
            to be had.
        notes: what `more` has to tell, of processes that died.
    """

    family_size: int = 1
    peer_runs: Callable[[], Mapping[str, Sequence[Run]]] = _no_peers
    more: Callable[[], Observation | None] = lambda: None
    notes: list[str] = dataclasses.field(default_factory=list)


def incomplete(observation: Observation, problem: str) -> Concluded:
    """A case whose measurement didn't complete: reported, neither judged nor saved."""
    return Concluded(CaseReport(observation=observation, verdicts=(), error=problem), None)


def conclude(
    observation: Observation,
    artifacts: Artifacts,
    *,
    store: Store,
    settings: Settings,
    nodeid: str,
    failed: bool,
    saved_before: bool = False,
    evidence: Evidence | None = None,
    typed: Typed | None = None,
) -> Concluded:
    """Judge a case, save it where that was asked for, and say whether its test fails.

    Args:
        observation: a complete one.
        artifacts: its images and trace.
        store: the baselines.
        settings: of the test.
        nodeid: the test's id, for the remedy.
        failed: the test has failed on its own; nothing is saved then, nor confirmed.
        saved_before: this session has saved a run of the case, in another attempt at its test or a repeat of it. A
            second one of the same process would be no further evidence.
        evidence: of time, besides this run.
        typed: what a suggested command has to repeat.
    """
    from pytest_diffbench.judge.gate_input import GateInput
    from pytest_diffbench.judge.slide import origin_distance
    from pytest_diffbench.judge.time.kernels import with_operators
    from pytest_diffbench.judge.time.variants import case_suspicions

    evidence = evidence or Evidence()
    gates: tuple[Gate, ...] = settings.gates  # type: ignore[assignment]  # checked when they were parsed
    if observation.case.definition.planned:
        # What nobody computed isn't asked about, unless nothing else is.
        gates = tuple(gate for gate in gates if gate in _PLANNED) or gates
    limits, metrics = limits_of(settings), metrics_of(settings, nodeid)
    try:
        reference = store.find(observation.case, observation.run.environment)
        ask = _Judge(observation, artifacts, reference, limits, settings.save, evidence, metrics)
        verdicts, confirmations = _confirmed(ask(gates), ask, wanted=not failed and not settings.save)
        gate_input = GateInput(observation=observation, artifacts=artifacts, reference=reference, limits=limits)
        verdicts = all_worded(with_operators(verdict, gate_input) for verdict in verdicts)
        trace_digest = _keep_looks(settings, observation, artifacts, reference)
        saved = Saved()
        if settings.save:
            departs = any(
                verdict.details.departs
                for verdict in verdicts
                if isinstance(verdict.details, TimeDetails | RatioDetails)
            )
            saved = save(
                observation, artifacts, reference, limits, store, failed, saved_before, gates, metrics, departs
            )
    except BaselineError as error:
        report = CaseReport(
            observation=noted(observation, evidence.notes), verdicts=(), error=str(error), test_failed=failed
        )
        return Concluded(report, str(error))
    report = CaseReport(
        observation=noted(observation, evidence.notes),
        verdicts=verdicts,
        confirmations=tuple(confirmation.run for confirmation in confirmations),
        confirming_ratios=tuple(
            confirmation.ratio.runs[-1] for confirmation in confirmations if confirmation.ratio is not None
        ),
        baseline_path=reference.path if reference is not None else None,
        baseline_distance=reference.distance if reference is not None else None,
        saved=saved.done,
        times_left_out=saved.times_left_out,
        thresholds=thresholds_of(settings),
        slid=saved.slid,
        changed_since=reference.changed_since(observation.run.environment) if reference is not None else (),
        baseline_damage=_damage(reference) if reference is not None and not _is_replaced(saved) else None,
        test_failed=failed,
        suspicions=case_suspicions(observation, reference, limits),
        trace_digest=trace_digest,
        origin_distance=origin_distance(observation, artifacts, reference),
    )
    return Concluded(report, _failure(report, settings, nodeid, typed))


def _is_replaced(saved: Saved) -> bool:
    return saved.done is not None and saved.done.output_anew


def _damage(reference: Reference) -> str | None:
    """A sentence on files that are missing or cut short and that no verdict needed: equal digests tell the same."""
    from pytest_diffbench.store import damage

    faults = damage(Path(reference.path), reference.baseline)
    if not faults:
        return None
    others = f", nor are {len(faults) - 1} more of its files sound" if len(faults) > 1 else ""
    why = "No verdict needed it this time; the next difference in what is returned couldn't be looked at"
    return f"{faults[0].path} {faults[0].problem}{others}. {why}. {faults[0].remedy}"


def _keep_looks(
    settings: Settings, observation: Observation, artifacts: Artifacts, reference: Reference | None
) -> str | None:
    """Keep what is asked for to look at and to accept later, before a save replaces the baseline.

    Returns:
        The digest of the trace that is kept, None where none is.
    """
    digest = None
    if settings.images is not None:
        from pytest_diffbench.store import keep, keep_trace

        keep(Path(settings.images), observation.output, artifacts)
        digest = keep_trace(Path(settings.images), artifacts)
    if settings.report is not None:
        from pytest_diffbench.session import report_page
        from pytest_diffbench.store import copy_kept

        if settings.images is not None:
            pictures = report_page.pictures_of(Path(settings.report))
            copy_kept(Path(settings.images), pictures, observation.output, digest or "")
        digest = report_page.keep(Path(settings.report), observation, artifacts, reference) or digest
    return digest


def _may_be_accepted(settings: Settings) -> bool:
    """Whether all is kept that `diffbench accept` needs: the profile has to be among it."""
    return settings.images is not None or (settings.report is not None and not Path(settings.report).suffix)


class _Judge:
    """Asks gates about one case. Other cases' runs are only read where they can tell something."""

    def __init__(
        self,
        observation: Observation,
        artifacts: Artifacts,
        reference: Reference | None,
        limits: Limits,
        saving: bool,
        evidence: Evidence,
        metrics: Sequence[ImageMetric] = (),
    ) -> None:
        self.evidence = evidence
        self._metrics = metrics
        self._subject = (observation, artifacts, reference, limits)
        self._saving = saving
        self._comparable = reference is not None and reference.distance == "machine"

    def __call__(self, gates: Sequence[Gate], more: Sequence[Observation] = ()) -> tuple[Verdict, ...]:
        from pytest_diffbench.judge import judge

        case_id = self._subject[0].case.id
        runs = self.evidence.peer_runs() if "time" in gates and self._comparable else {}
        return judge(
            *self._subject,
            gates,
            saving=self._saving,
            more_runs=[observation.run for observation in more],
            more_ratios=[observation.ratio.runs[-1] for observation in more if observation.ratio is not None],
            peer_runs={name: others for name, others in runs.items() if name != case_id},
            family_size=self.evidence.family_size,
            metrics=self._metrics,
        )


def _confirmed(
    verdicts: tuple[Verdict, ...], ask: _Judge, *, wanted: bool
) -> tuple[tuple[Verdict, ...], list[Observation]]:
    """Buy runs for as long as they can change the verdict on time; returns the last verdicts and what was bought."""
    from pytest_diffbench.judge import wants_runs

    bought: list[Observation] = []
    while wanted and any(verdict.gate == "time" and wants_runs(verdict) for verdict in verdicts):
        more = ask.evidence.more()
        if more is None:
            break
        bought.append(more)
        (time,) = ask(("time",), bought)
        verdicts = tuple(time if verdict.gate == "time" else verdict for verdict in verdicts)
    return verdicts, bought


def noted(observation: Observation, notes: Sequence[str]) -> Observation:
    """The observation with further notes."""
    import msgspec

    if not notes:
        return observation
    return msgspec.structs.replace(observation, notes=(*observation.notes, *notes))


def wants_profile(
    observation: Observation, artifacts: Artifacts, *, store: Store, settings: Settings, evidence: Evidence
) -> bool:
    """Whether to look where time goes: for a baseline without a profile, and where time is worse, or may well be.

    To be asked while the target is still as it was measured: a test may take back afterwards what it did to it.
    """
    from pytest_diffbench.judge import judge, wants_runs

    limits = limits_of(settings)
    try:
        reference = store.find(observation.case, observation.run.environment)
        if settings.save or _may_be_accepted(settings):
            if reference is None or reference.distance != "machine" or reference.baseline.profile is None:
                return True
            metrics = metrics_of(settings, observation.case.id)
            verdicts = judge(
                observation, artifacts, reference, limits, ("work", "output"), saving=True, metrics=metrics
            )
            anew = not unchanged(verdicts, reference)
            if anew or settings.save:
                return anew
        if reference is None or reference.baseline.profile is None or "time" not in settings.gates:
            return False
        (verdict,) = _Judge(observation, artifacts, reference, limits, False, evidence)(("time",))
    except BaselineError:
        return False  # told when the case is judged
    return verdict.decision == "worse" or wants_runs(verdict)


def conclude_against(
    observation: Observation,
    artifacts: Artifacts,
    other: Other,
    *,
    settings: Settings,
    nodeid: str,
    family_size: int,
    failed: bool,
) -> Concluded:
    """Judge a case by what another environment has of it. No stored baseline is read, and nothing is saved.

    Args:
        observation: a complete one.
        artifacts: its images and trace.
        other: the other environment's results.
        settings: of the test.
        nodeid: the test's id, for messages.
        family_size: parts that the session's error budget is cut into; this case has one.
        failed: the test has failed on its own.
    """
    from pytest_diffbench.judge import judge
    from pytest_diffbench.judge.time.variants import case_suspicions

    gates: tuple[Gate, ...] = settings.gates  # type: ignore[assignment]  # checked when they were parsed
    limits = limits_of(settings)
    observation = noted(observation, other.notes)
    try:
        trace_digest = _keep_looks(settings, observation, artifacts, other.reference)
        others = [gate for gate in gates if gate != "time"]
        judged = judge(observation, artifacts, other.reference, limits, others, metrics=metrics_of(settings, nodeid))
    except BaselineError as error:
        report = CaseReport(observation=observation, verdicts=(), against=other.interpreter, error=str(error))
        return Concluded(report, str(error))
    verdicts = [_without_counterpart(verdict, other) for verdict in judged]
    if "time" in gates:
        verdicts.append(_time_against(observation, other, limits, family_size))
    report = CaseReport(
        observation=observation,
        verdicts=all_worded(verdicts),
        baseline_path=other.interpreter if other.reference is not None else None,
        baseline_distance="machine" if other.reference is not None else None,
        changed_since=other.changed_since(observation.run.environment),
        against=other.interpreter,
        pairs=tuple(other.pairs),
        thresholds=thresholds_of(settings),
        test_failed=failed,
        suspicions=case_suspicions(observation, other.reference, limits),
        trace_digest=trace_digest,
    )
    return Concluded(report, _failure(report, settings, nodeid))


def interrupted_against(other: Other, observed: Observation, settings: Settings, family_size: int) -> CaseReport:
    """What the pairs tell of a case that an interrupted session didn't come to measure itself: its time alone.

    Args:
        other: the other environment's results, with pairs.
        observed: the case as one of this environment's processes measured it.
        settings: of the test.
        family_size: parts that the session's error budget is cut into; this case has one.
    """
    return CaseReport(
        observation=noted(observed, (*other.notes, "interrupted: only its time is judged, by pairs")),
        verdicts=all_worded([_time_against(observed, other, limits_of(settings), family_size)]),
        baseline_path=other.interpreter,
        baseline_distance="machine",
        changed_since=other.changed_since(observed.run.environment),
        against=other.interpreter,
        pairs=tuple(other.pairs),
        thresholds=thresholds_of(settings),
    )


def _time_against(observation: Observation, other: Other, limits: Limits, family_size: int) -> Verdict:
    from pytest_diffbench.judge import definition_changes, judge_pairs
    from pytest_diffbench.judge.reasons import verdict
    from pytest_diffbench.records.details import Unjudged

    if other.reference is None or not other.pairs:
        return verdict("time.no_baseline", details=Unjudged(missing=other.missing))
    changed = definition_changes(other.reference.baseline.case.definition, observation.case.definition)
    if changed:
        return verdict("time.definition_changed", details=Unjudged(definition=changed, elsewhere=True))
    family = observation.run.environment.family
    return judge_pairs(other.pairs, limits, family_size, family, other.peer_pairs, by_turns=other.by_turns)


def _without_counterpart(verdict: Verdict, other: Other) -> Verdict:
    """A verdict for want of a baseline, of a case that another environment doesn't have."""
    from pytest_diffbench.records.details import Unjudged

    if not isinstance(verdict.details, Unjudged) or verdict.decision != "unbaselined":
        return verdict
    return msgspec.structs.replace(verdict, details=Unjudged(missing=other.missing, rerun=verdict.details.rerun))


def _failure(report: CaseReport, settings: Settings, nodeid: str, typed: Typed | None = None) -> str | None:
    from pytest_diffbench.judge.reasons import INHERENT
    from pytest_diffbench.report.failure import failure_text

    again = (typed.command, typed.root) if typed is not None else ()
    text = functools.partial(failure_text, report, nodeid, *again)
    if report.saved is not None:
        # Saving accepts what changed; what it refused has to be seen.
        return text() if report.saved.refused else None
    fails = [verdict for verdict in report.verdicts if verdict.decision == "worse"]
    # What is new has no counterpart in another environment, and needs none.
    missing = (
        report.against is None and report.baseline_path is None and not _NEEDS_BASELINE.isdisjoint(settings.gates)
    )
    # So has a case that is another one by now: it would be green every night from now on.
    missing |= report.against is None and any(
        verdict.reason.endswith(".definition_changed") for verdict in report.verdicts
    )
    if settings.strict:
        fails = [
            verdict
            for verdict in report.verdicts
            if verdict.decision not in ("same", "better") and verdict.reason not in INHERENT
        ]
    return text() if fails or missing else None
