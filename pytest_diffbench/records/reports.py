"""A measured case, what is stored of it, and what was made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from pytest_diffbench.records.base import Count, Decision, Distance, Fact, Gate, NotNegative, PositiveCount, Record
from pytest_diffbench.records.case import Case
from pytest_diffbench.records.comparison import Comparison, Ratio, RatioRun
from pytest_diffbench.records.details import Details, GuidanceFault
from pytest_diffbench.records.guidance import Guidance, GuidanceGroup
from pytest_diffbench.records.origin import Origin, OriginDistance
from pytest_diffbench.records.output import Memory, Output, ToleranceChange
from pytest_diffbench.records.probe import Probe, Suspicion
from pytest_diffbench.records.run import Efficiency, LayerTimes, Profile, Run
from pytest_diffbench.records.verification import Verification
from pytest_diffbench.records.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence


class Thresholds(Record, frozen=True, kw_only=True):
    """Limits that a test's marker or the ini file changes; None, or no entry, is the default."""

    tolerance: dict[str, float] = {}
    """Of output, by the name of the figure: `psnr_db`, `latents_rel` ..."""

    reason: str | None = None
    """Why thresholds of output are looser than by default."""

    memory_rel: NotNegative | None = None
    time_floor_rel: NotNegative | None = None
    time_floor_s: NotNegative | None = None
    confirmations: Count | None = None
    """Fresh processes that may confirm a time, at most."""

    pairs: Count | None = None
    """Pairs of processes, one of each environment, that are made of all cases."""


MOST_ACCEPTANCES = 20
"""That a baseline keeps; the oldest go first."""


class Acceptance(Record, frozen=True, kw_only=True):
    """One result of a session that `diffbench accept` put into a baseline."""

    accepted: str
    """When: UTC, ISO 8601."""

    what: Literal["created", "added", "new_generation", "kept"]
    """What it did to the baseline; `kept`: nothing had changed, and there were no times to add."""

    generation: PositiveCount
    """That it made or added to."""

    run: str
    """Id of the run that was accepted."""

    reason: str | None = None
    """Why, where one was given."""

    command: str
    """That accepted it, as it was typed."""


BASELINE_SCHEMA = 1
"""Version of `baseline.json`. Newer files are refused by name; older ones are migrated by `store`."""

SESSION_SCHEMA = 2
"""Version of the file that `--diffbench-json` writes."""


class Observation(Record, frozen=True, kw_only=True):
    """All that was measured of one case in one process. Parts that weren't seen are None, and `notes` says why."""

    case: Case
    run: Run
    work: Work | None = None
    guidance: Guidance | None = None
    output: Output | None = None
    memory: Memory | None = None
    layers: LayerTimes | None = None
    profile: Profile | None = None
    ratio: Ratio | None = None
    """Of a variant that was measured against a reference: its one run."""

    probe: Probe | None = None
    """Calls with inputs that were drawn once the target was fixed; None where nobody asked."""

    remarks: tuple[str, ...] = ()
    """What is odd about the call whatever the baseline, each a sentence without its end."""

    left_behind: tuple[str, ...] = ()
    """What the calls changed in the pipeline's components, for whoever calls it next: `vae: dtype float32, was
    float16`."""

    complete: bool = True
    """False when the measurement was interrupted or raised; such a run is reported but never judged or saved."""

    notes: tuple[str, ...] = ()


class Baseline(Record, frozen=True, kw_only=True):
    """What was accepted for a case on a class of machine."""

    schema: int = BASELINE_SCHEMA
    case: Case
    generation: PositiveCount = 1
    """Counts up whenever work or output were accepted anew."""

    runs: Annotated[tuple[Run, ...], Meta(min_length=1)]
    """Oldest first, of this generation only. A run whose times were left out when it was saved has no rounds."""

    work: Work | None = None
    guidance: tuple[GuidanceGroup, ...] = ()
    """What each step did; empty where no scheduler step was seen."""

    output: Output | None = None
    memory: Memory | None = None
    layers: LayerTimes | None = None
    profile: Profile | None = None
    probe: Probe | None = None
    """The first that was made, with what it painted by a prompt that was drawn then."""

    ratio: Ratio | None = None
    """Of a variant: how much faster than its reference it was in each of the last runs."""
    tolerances: tuple[ToleranceChange, ...] = ()
    """How the thresholds of output were changed for this case, oldest first, over all generations."""

    origin: Origin | None = None
    """What was accepted first under this definition; None where that was saved before there were any."""

    acceptances: tuple[Acceptance, ...] = ()
    """What `diffbench accept` put into it without measuring again, oldest first, over all generations."""

    times_from: str | None = None
    """Id of the first run whose times count: those before it are history, since a slowdown was accepted with it. None
    where all count."""

    @property
    def timed_runs(self) -> tuple[Run, ...]:
        """The runs with times: none where all of them were left out, and of a plan."""
        return tuple(run for run in self.runs if run.rounds)

    @property
    def times(self) -> tuple[Run, ...]:
        """The timed runs that count: from `times_from` on, where that is still kept."""
        begin = next((n for n, run in enumerate(self.runs) if run.id == self.times_from), 0)
        return tuple(run for run in self.runs[begin:] if run.rounds)


def baseline_of(
    observation: Observation,
    runs: Sequence[Run] = (),
    *,
    generation: int = 1,
    tolerances: tuple[ToleranceChange, ...] = (),
    ratio: Ratio | None = None,
    origin: Origin | None = None,
    acceptances: tuple[Acceptance, ...] = (),
) -> Baseline:
    """What was observed, as a baseline.

    Args:
        observation: with at least one timed round, or planned.
        runs: of its case, oldest first; its own alone by default.
        generation: see `Baseline`.
        tolerances: see `Baseline`.
        ratio: see `Baseline`; a variant without one is judged by its time.
        origin: see `Baseline`.
        acceptances: see `Baseline`.
    """
    probe = observation.probe
    return Baseline(
        case=observation.case,
        generation=generation,
        runs=tuple(runs) or (observation.run,),
        work=observation.work,
        guidance=observation.guidance.groups() if observation.guidance is not None else (),
        output=observation.output,
        memory=observation.memory,
        layers=observation.layers,
        ratio=ratio,
        profile=observation.profile,
        probe=msgspec.structs.replace(probe, repeated=(), repeated_parts=()) if probe is not None else None,
        tolerances=tolerances,
        origin=origin,
        acceptances=acceptances,
    )


class Verdict(Record, frozen=True, kw_only=True):
    """A gate's answer."""

    gate: Gate
    decision: Decision
    reason: str
    """Stable code, `gate.what`: `work.denoiser_calls`, `time.few_runs` ..."""

    formerly: str | None = None
    """What this reason used to be called."""

    details: Details | None = None
    """The figures behind it; None in files of versions that had others."""

    baseline_fault: tuple[GuidanceFault, ...] = ()
    """How the baseline's guidance wasn't as requested, where it now is and that explains another picture."""

    message: str = ""
    """For a person: what, how much, where, the limit. Made from reason and details by `report.sentences`."""

    changes: tuple[str, ...] = ()
    """Further lines for a person: each thing that changed, and where."""


class SaveOutcome(Record, frozen=True, kw_only=True):
    """What became of a case that was to be saved."""

    what: Literal["created", "added", "new_generation", "kept", "refused"]
    """`kept`: the baseline stays as it is, and nothing is wrong."""

    number: Count | None = None
    """Of runs that are kept now, or of the generation."""

    times_anew: bool = False
    """Times count from this run on."""

    why: str = ""
    """Why it was kept or refused, for a person."""

    refuted: bool = False
    """A fresh process returned something else."""

    @property
    def refused(self) -> bool:
        """Whether the case was to be accepted, and wasn't."""
        return self.what == "refused"

    @property
    def output_anew(self) -> bool:
        """Whether the baseline holds this run's output now."""
        return self.what in ("created", "new_generation")


class CaseReport(Record, frozen=True, kw_only=True):
    """One case of a session: what was measured and what was made of it."""

    observation: Observation
    verdicts: tuple[Verdict, ...]
    baseline_path: str | None = None
    baseline_distance: Distance | None = None
    saved: SaveOutcome | None = None
    """None: nothing was to be saved."""

    times_left_out: str | None = None
    """Why the run's times weren't saved with the rest; None where they were, or nothing was to be saved."""

    slid: str | None = None
    """How far the case has gone from its origin by accepted steps, where that is further than one step may go."""

    changed_since: tuple[str, ...] = ()
    """Facts of the environment that differ from the baseline's newest run: `torch 2.12.0 -> 2.13.0`."""

    baseline_damage: str | None = None
    """What is wrong with files of the baseline that no verdict needed, such as images where the output is the same by
    its digests; None where nothing is."""

    confirmations: tuple[Run, ...] = ()
    """Runs of fresh processes, made since the first run left the verdict on time open, oldest first."""

    confirming_ratios: tuple[RatioRun, ...] = ()
    """Of those runs, where the case is a variant; `run` says of which."""

    against: str | None = None
    """Interpreter of the environment that it was held against in place of a baseline."""

    pairs: tuple[tuple[Run, Run], ...] = ()
    """Runs of that environment and of this one, made by turns in fresh processes."""

    error: str | None = None
    """Why the measurement didn't complete."""

    test_failed: bool = False
    """The test failed by itself, whatever the verdicts; nothing of it is ever accepted."""

    suspicions: tuple[Suspicion, ...] | None = None
    """Why a gain isn't believed; None where the case, or what it was compared with, wasn't probed."""

    trace_digest: str | None = None
    """Of the trace that was kept beside the session's file; None where none was."""

    origin_distance: OriginDistance | None = None
    """How far the images are from those that this machine accepted first; None where that isn't known."""

    thresholds: Thresholds = Thresholds()
    """Limits that its test asked for in place of the defaults."""

    efficiency: Efficiency | None = None
    """Set where the session is written; None for a case without rounds."""

    attempts: PositiveCount = 1
    """How often its test was run, by a plugin that runs failed tests again; this is the last."""


class Skipped(Record, frozen=True, kw_only=True):
    """A benchmark that was selected and wasn't run."""

    test: str
    reason: str
    missing: bool = False
    """For want of its pipeline, not because the test's author wants it so."""


class SessionReport(Record, frozen=True, kw_only=True):
    """What `--diffbench-json` holds."""

    schema: int = SESSION_SCHEMA
    diffbench: str
    """Version of the plugin."""

    started: str
    finished: str
    interrupted: bool
    settings: dict[str, Fact]
    counts: dict[Decision, Count]
    command: tuple[str, ...] = ("pytest",)
    """What a command that measures the same again begins with: its options."""

    root: str = ""
    """Path from where that was typed to the folder that ids of tests begin at."""

    missing_baselines: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    """Benchmarks that were selected and not run, of which nothing is known."""

    cases: tuple[CaseReport, ...]
    comparisons: tuple[Comparison, ...] = ()
    """Variants that were measured against each other; each is a case of its own, too."""

    verifications: tuple[Verification, ...] = ()
    """Of pipelines that tests asked to be verified without a baseline."""
