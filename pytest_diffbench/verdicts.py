"""From a measured case to its verdicts, its place in the store, and the words that fail its test."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records import CaseReport

if TYPE_CHECKING:
    from pytest_diffbench.artifacts import Artifacts, Reference
    from pytest_diffbench.judge import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.options import Settings
    from pytest_diffbench.records import Environment, Gate, Observation, Verdict
    from pytest_diffbench.store import Store

_NEEDS_BASELINE: frozenset[Gate] = frozenset({"work", "output", "memory", "time"})


@dataclasses.dataclass(frozen=True, slots=True)
class Concluded:
    """A judged case. `failure` is the text that fails its test, None where it stands."""

    report: CaseReport
    failure: str | None


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
) -> Concluded:
    """Judge a case, save it where that was asked for, and say whether its test fails.

    Args:
        observation: a complete one.
        artifacts: its images and trace.
        store: the baselines.
        settings: of the test.
        nodeid: the test's id, for the remedy.
        failed: the test has failed on its own; nothing is saved then.
    """
    from pytest_diffbench.judge import judge
    from pytest_diffbench.judge.question import Question

    gates: tuple[Gate, ...] = settings.gates  # type: ignore[assignment]  # checked when they were parsed
    limits = limits_of(settings)
    try:
        reference = store.find(observation.case, observation.run.environment)
        verdicts = judge(observation, artifacts, reference, limits, gates, saving=settings.save)
        question = Question(observation=observation, artifacts=artifacts, reference=reference, limits=limits)
        verdicts = tuple(_explained(one, question) for one in verdicts)
        saved = None
        if settings.save:
            saved = _save(observation, artifacts, reference, limits, store, failed)
    except BaselineError as error:
        report = CaseReport(observation=observation, verdicts=(), error=str(error))
        return Concluded(report, str(error))
    report = CaseReport(
        observation=observation,
        verdicts=verdicts,
        baseline_path=reference.path if reference is not None else None,
        baseline_distance=reference.distance if reference is not None else None,
        saved=saved,
        changed_since=_changed_since(reference, observation.run.environment),
    )
    return Concluded(report, _failure(report, settings, nodeid))


def wants_profile(observation: Observation, artifacts: Artifacts, *, store: Store, settings: Settings) -> bool:
    """Whether to look where time goes: for a baseline that has no profile, and where time is worse than its baseline.

    To be asked while the target is still as it was measured: a test may take back afterwards what it did to it.
    """
    from pytest_diffbench.judge import judge

    limits = limits_of(settings)
    try:
        reference = store.find(observation.case, observation.run.environment)
        if settings.save:
            if reference is None or reference.distance != "machine" or reference.baseline.profile is None:
                return True
            verdicts = judge(observation, artifacts, reference, limits, ("work", "output"), saving=True)
            return not _unchanged(verdicts, reference)
        if reference is None or reference.baseline.profile is None or "time" not in settings.gates:
            return False
        (verdict,) = judge(observation, artifacts, reference, limits, ("time",))
    except BaselineError:
        return False  # told when the case is judged
    return verdict.decision == "worse"


def _explained(verdict: Verdict, question: Question) -> Verdict:
    """A verdict on time that is worse, with the operators that make it so."""
    from pytest_diffbench.judge.kernels import kernel_changes

    if (verdict.gate, verdict.decision) != ("time", "worse"):
        return verdict
    return msgspec.structs.replace(verdict, changes=(*verdict.changes, *kernel_changes(question)))


def limits_of(settings: Settings) -> Limits:
    """The thresholds of a test: the defaults, and what its marker or the ini file says."""
    from pytest_diffbench.judge import Limits

    changed: dict[str, float] = {}
    if settings.memory_limit_rel is not None:
        changed |= {"memory_rel": settings.memory_limit_rel, "memory_rss_rel": settings.memory_limit_rel}
    if settings.time_floor_rel is not None:
        changed |= {"time_floor_rel": settings.time_floor_rel, "time_floor_cpu_rel": settings.time_floor_rel}
    return Limits(**changed)  # type: ignore[arg-type]  # only thresholds that are floats


def _save(
    observation: Observation,
    artifacts: Artifacts,
    reference: Reference | None,
    limits: Limits,
    store: Store,
    failed: bool,
) -> str:
    """Save a case; returns what was done, or `refused: why`."""
    from pytest_diffbench.judge import doubts, judge

    if failed:
        return "refused: the test failed"
    doubt = doubts(observation.run, limits)
    if doubt is not None:
        return f"refused: {doubt[1]}"
    verdicts = judge(observation, artifacts, reference, limits, ("work", "guidance", "output"), saving=True)
    broken = [one for one in verdicts if one.decision == "worse" and _needs_no_baseline(one)]
    if broken:
        return f"refused: {broken[0].message}"
    return store.save(observation, artifacts, reference, reference is not None and _unchanged(verdicts, reference))


def _unchanged(verdicts: tuple[Verdict, ...], reference: Reference) -> bool:
    """Whether work and output are what the baseline holds; a part that neither side has seen is no change."""
    baseline = reference.baseline
    parts: dict[Gate, object] = {"work": baseline.work, "output": baseline.output}
    return all(
        one.decision == "same" or (one.reason.endswith(".not_seen") and parts[one.gate] is None)
        for one in verdicts
        if one.gate in parts
    )


def _needs_no_baseline(verdict: Verdict) -> bool:
    return verdict.gate == "guidance" or verdict.reason in {
        "output.not_finite",
        "output.no_images",
        "output.constant",
    }


def _failure(report: CaseReport, settings: Settings, nodeid: str) -> str | None:
    from pytest_diffbench.report.terminal import failure_text

    if report.saved is not None:
        # Saving accepts what changed; what it refused has to be seen.
        return failure_text(report, nodeid) if report.saved.startswith("refused") else None
    fails = [one for one in report.verdicts if one.decision == "worse"]
    missing = report.baseline_path is None and not _NEEDS_BASELINE.isdisjoint(settings.gates)
    if settings.strict:
        fails = [one for one in report.verdicts if one.decision not in ("same", "better")]
    return failure_text(report, nodeid) if fails or missing else None


def _changed_since(reference: Reference | None, now: Environment) -> tuple[str, ...]:
    if reference is None:
        return ()
    then = reference.baseline.runs[-1].environment
    changed: list[str] = []
    for kind in ("hardware", "settings", "software"):
        before, after = getattr(then, kind), getattr(now, kind)
        changed += [
            f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
            for name in dict.fromkeys([*before, *after])
            if before.get(name) != after.get(name)
        ]
    return tuple(changed)
