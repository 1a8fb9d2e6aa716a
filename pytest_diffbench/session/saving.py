"""What of a case is saved, and what is said of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.records import SaveOutcome
from pytest_diffbench.report.sentences import all_worded
from pytest_diffbench.report.sentences.saving import slide_text
from pytest_diffbench.report.sentences.time import creep_phrase, doubt_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.judge import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Acceptance, Gate, Observation, Run, Verdict
    from pytest_diffbench.records.artifacts import Artifacts, Reference
    from pytest_diffbench.store import Store


@dataclasses.dataclass(frozen=True, slots=True)
class Saved:
    """What became of a case that was to be saved.

    Attributes:
        done: as `records.CaseReport.saved`.
        times_left_out: as `records.CaseReport.times_left_out`.
        slid: as `records.CaseReport.slid`.
    """

    done: SaveOutcome | None = None
    times_left_out: str | None = None
    slid: str | None = None


def save(
    observation: Observation,
    artifacts: Artifacts,
    reference: Reference | None,
    limits: Limits,
    store: Store,
    failed: bool,
    saved_before: bool,
    gates: Sequence[Gate],
    metrics: Sequence[ImageMetric],
    departs: bool = False,
    acceptance: Acceptance | None = None,
) -> Saved:
    """Save of a case what is sound.

    Args:
        observation: a complete one.
        artifacts: its images and trace.
        reference: the nearest baseline.
        limits: of the test.
        store: the baselines.
        failed: the test has failed on its own.
        saved_before: this session has saved a run of the case already.
        gates: that were asked for.
        metrics: further ones for images.
        departs: its times are others than the baseline's, beyond chance: accepted, they begin anew.
        acceptance: what is noted in the baseline's history of a result that is accepted later, without measuring.

    Raises:
        BaselineError: it can't be a baseline, or can't be written.
    """
    from pytest_diffbench.judge import judge
    from pytest_diffbench.judge.output.loosening import history_with
    from pytest_diffbench.judge.reasons import NEVER_ACCEPTED
    from pytest_diffbench.judge.slide import origin_with, slide

    if failed:
        return Saved(SaveOutcome(what="refused", why="the test failed"))
    verdicts = all_worded(
        judge(observation, artifacts, reference, limits, ("work", "guidance", "output"), saving=True, metrics=metrics)
    )
    broken = [verdict for verdict in verdicts if verdict.reason in NEVER_ACCEPTED and verdict.gate in gates]
    if broken:
        return Saved(SaveOutcome(what="refused", why=broken[0].message))
    same = reference is not None and unchanged(verdicts, reference)
    if saved_before:
        if same:
            return Saved(SaveOutcome(what="kept", why="this session has already saved a run of it"))
        differs = " ".join(verdict.message for verdict in verdicts if verdict.decision in ("worse", "better"))
        why = f"it differs from what this session saved for it before. {differs}".strip()
        return Saved(SaveOutcome(what="refused", why=why))
    planned = observation.case.definition.planned
    if planned and same:
        return Saved(SaveOutcome(what="kept", why="the plan is the same"))  # it would be no further evidence
    left_out = None if planned else _why_untimed(observation, limits)
    if left_out is not None:
        observation = msgspec.structs.replace(observation, run=untimed(observation.run))
    done = store.save(
        observation,
        artifacts,
        reference,
        same,
        functools.partial(history_with, limits),
        functools.partial(origin_with, observation, artifacts, departs),
        new_times=departs,
        acceptance=acceptance,
    )
    if reference is None or reference.distance != "machine":
        return Saved(done, left_out)
    generation = reference.baseline.generation + (not same)
    slid = slide(observation, artifacts, reference, limits, generation)
    far = (slide_text(slid) if slid is not None else "", _crept(observation, reference, limits))
    gone = [text for text in far if text]
    if not gone:
        return Saved(done, left_out)
    advice = f"If that is intended, delete {reference.path} and save again"
    return Saved(done, left_out, f"{'; '.join(gone)}. {advice}")


def _crept(observation: Observation, reference: Reference, limits: Limits) -> str:
    """How far times have gone since the first, accepted ones."""
    from pytest_diffbench.judge.time.runs import creep_rel

    base, run = reference.baseline, observation.run
    if base.origin is None or not run.rounds or reference.distance != "machine":
        return ""
    change_rel = creep_rel(base.origin.times, (*base.timed_runs, run), limits, run.environment.family)
    return "" if change_rel is None else creep_phrase(change_rel, len(base.origin.times))


def _why_untimed(observation: Observation, limits: Limits) -> str | None:
    """Why a run is no evidence of time; None where it is. Rounds of variants needn't be steady by themselves."""
    from pytest_diffbench.judge import doubts, slowed_down

    doubt = doubts(observation.run, limits, alone=observation.ratio is None) or slowed_down(observation.run, limits)
    return doubt_sentence(doubt) if doubt is not None else None


def untimed(run: Run) -> Run:
    """A run without its times."""
    return msgspec.structs.replace(run, rounds=(), warmup_s=(), calibration_s=(), pace_s={})


def unchanged(verdicts: Sequence[Verdict], reference: Reference) -> bool:
    """Whether work and output are what the baseline holds; a part that neither side has seen is no change."""
    baseline = reference.baseline
    if any(verdict.reason in ("guidance.changed", "guidance.newly_read") for verdict in verdicts):
        return False
    parts: dict[Gate, object] = {"work": baseline.work, "output": baseline.output}
    return all(
        verdict.decision == "same" or (verdict.reason.endswith(".not_seen") and parts[verdict.gate] is None)
        for verdict in verdicts
        if verdict.gate in parts
    )
