"""From a measured case to its verdicts, its place in the store, and the words that fail its test."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records import CaseReport

if TYPE_CHECKING:
    from pytest_diffbench.artifacts import Artifacts, Reference
    from pytest_diffbench.judge import Limits
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

    gates: tuple[Gate, ...] = settings.gates  # type: ignore[assignment]  # checked when they were parsed
    limits = limits_of(settings)
    try:
        reference = store.find(observation.case, observation.run.environment)
        verdicts = judge(observation, artifacts, reference, limits, gates, saving=settings.save)
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


def limits_of(settings: Settings) -> Limits:
    """The thresholds of a test: the defaults, and what its marker or the ini file says."""
    from pytest_diffbench.judge import Limits
    from pytest_diffbench.judge.loosening import limit_fields

    changed = limit_fields(settings.tolerance or (), settings.reason)
    if settings.memory_limit_rel is not None:
        changed |= {"memory_rel": settings.memory_limit_rel, "memory_rss_rel": settings.memory_limit_rel}
    if settings.time_floor_rel is not None:
        changed |= {"time_floor_rel": settings.time_floor_rel, "time_floor_cpu_rel": settings.time_floor_rel}
    return Limits(**changed)


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
    from pytest_diffbench.judge.loosening import history_with

    if failed:
        return "refused: the test failed"
    doubt = doubts(observation.run, limits)
    if doubt is not None:
        return f"refused: {doubt[1]}"
    verdicts = judge(observation, artifacts, reference, limits, ("work", "guidance", "output"), saving=True)
    broken = [one for one in verdicts if one.decision == "worse" and _needs_no_baseline(one)]
    if broken:
        return f"refused: {broken[0].message}"
    unchanged = reference is not None and _unchanged(verdicts, reference)
    return store.save(observation, artifacts, reference, unchanged, functools.partial(history_with, limits))


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
