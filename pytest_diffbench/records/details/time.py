"""The figures behind verdicts on time."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, Distance, Record, Stage
from pytest_diffbench.records.details.common import FieldChange, Incomparable

DoubtKind: TypeAlias = Literal[
    "invalid", "parallel", "traced", "warmup", "spread", "drift", "unattributed", "crowded", "throttled"
]


class Doubt(Record, frozen=True, kw_only=True):
    """What speaks against a run's time, whatever it is compared with."""

    kind: DoubtKind
    found_rel: float | None = None
    """Spread, drift or waiting of the rounds, as a share."""

    allowed_rel: float | None = None
    seconds: tuple[float, ...] = ()
    """Of what lies outside all stages: its time, the call's, and what is allowed."""

    rounds: tuple[Count, Count] | None = None
    """Rounds that it concerns, and all of them; of a warm-up its rounds."""

    names: tuple[str, ...] = ()
    """Who traced the call, why the device was throttled, why a warm-up was never steady."""

    workers: Count = 0
    """Test processes that ran at once."""


class PartTime(Record, frozen=True, kw_only=True):
    """Time of a part before and now."""

    name: str
    """`total`, a stage, or `steps 0-7`."""

    kind: Literal["total", "stage", "step"] = "stage"
    before_s: float
    after_s: float
    each: bool = False
    """The times are those of one step."""

    share_rel: float | None = None
    """Of the difference of the whole call."""


class OperatorChange(Record, frozen=True, kw_only=True):
    """A row of two profiles that differs; 0 calls on the side that lacks it."""

    stage: Stage
    name: str
    calls: tuple[Count, Count]
    seconds: tuple[float, float]
    added_rel: float | None = None
    """Share of all added time; None where it added none."""


class LeftOut(Record, frozen=True, kw_only=True):
    """Runs or pairs that weren't compared, and why."""

    what: Literal["baseline run", "session run", "pair"]
    why: Literal[
        "pace", "environment", "doubt", "crowded", "incomparable", "replaced", "died", "ratio", "cold", "stray"
    ]
    count: Count = 1
    run: Count | None = None
    """Number of the run, where it is one."""

    doubt: Doubt | None = None
    environment: Incomparable | None = None
    seconds: tuple[float, float] | None = None
    """Of a run that is far from the others: what is usual, and its own time."""


class MachineReadings(Record, frozen=True, kw_only=True):
    """What the machine did meanwhile."""

    rounds: Count
    throttled_rounds: Count = 0
    throttled_by: tuple[str, ...] = ()
    other_processes: Count = 0
    """On the device."""

    others_rel: float | None = None
    """Share of the processors that other processes had, where it is more than any machine's background."""

    steal_rel: float | None = None
    """The same of the hypervisor's other guests."""


class Clocks(Record, frozen=True, kw_only=True):
    """A slowdown that vanishes in clock cycles of the device."""

    before_mhz: float
    after_mhz: float
    name: str
    """Of the part, `total` for the call."""

    cycles_rel: float
    """By how much it changed in cycles."""


class TimeDetails(Record, frozen=True, kw_only=True, tag="time", tag_field="kind"):
    """Of the time gate, against a baseline or in pairs of runs. Ratios are now over before."""

    runs: Count = 0
    """Of the baseline, that were compared."""

    days: Count = 0
    session_runs: Count = 0
    rounds: Count = 0
    by_turns: bool | None = None
    """Of pairs: whether like rounds lay side by side."""

    pairs: Count | None = None
    pairs_needed: Count = 0
    median_s: float | None = None
    baseline_s: float | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    chance_interval: tuple[float, float] | None = None
    adjusted_ratio: float | None = None
    """Without what the machine did."""

    adjusted_chance_interval: tuple[float, float] | None = None
    pace_known: bool = False
    machine_ratio: float | None = None
    """Time of reference work, now over then."""

    pace_rel: float | None = None
    """By how much reference work changed, where that is more than usual."""

    stage_ratios: dict[str, float] = {}
    floor_rel: float | None = None
    """Smallest change of the total that is worth a failure."""

    leading_floor_rel: float | None = None
    """The same of the part that names the verdict."""

    spread_rel: float | None = None
    moderated_spread_rel: float | None = None
    detectable_rel: float | None = None
    chance_detectable_rel: float | None = None
    """The same without the floor."""

    parts_detectable_rel: dict[str, float] = {}
    confirmed: Count = 0
    fresh_runs: Count = 0
    confirmations_wanted: bool = False
    decisions: Count = 1
    more_runs_help: bool = False
    """A run of a fresh process, or another pair, may change the verdict."""

    departs: bool = False
    """Accepted, these times begin anew."""

    strayed: bool = False
    """Single runs of unchanged code strayed as far."""

    aside: tuple[Count, ...] = ()
    """Numbers of runs of the baseline that are far from the others."""

    waited: bool | None = None
    """Wall time grew alone, while the processor time didn't."""

    slower: tuple[PartTime, ...] = ()
    """What is slower, or may be."""

    places: tuple[PartTime, ...] = ()
    """Where the difference lies, the largest part first."""

    moved_steps: PartTime | None = None
    attention_rel: tuple[float, float] | None = None
    """Its share of the denoiser's time, where that changed."""

    operators: tuple[OperatorChange, ...] = ()
    further_operators: Count = 0
    operators_pace_rel: float | None = None
    """By how much operators changed that are called as often as before."""

    left_out: tuple[LeftOut, ...] = ()
    levels_rel: float | None = None
    """How far two levels are apart that the baseline's runs lie at."""

    machine: MachineReadings | None = None
    clocks: Clocks | None = None
    doubt: Doubt | None = None


class RatioDetails(Record, frozen=True, kw_only=True, tag="ratio", tag_field="kind"):
    """Of the time gate, of a variant: how many times as fast as its reference it is."""

    speedup_rel: float = 1.0
    baseline_speedup_rel: float = 1.0
    ratio_change_rel: float = 0.0
    runs: Count = 0
    runs_needed: Count = 0
    session_runs: Count = 0
    blocks: Count = 0
    distance: Distance = "machine"
    allowed_rel: float = 0.0
    detectable_rel: float | None = None
    confirmed: Count = 0
    fresh_runs: Count = 0
    decisions: Count = 1
    more_runs_help: bool = False
    departs: bool = False
    itself_s: tuple[float, float] | None = None
    """The variant's own time before and now, where it takes less."""

    denoise_speedup_rel: tuple[float, float] | None = None
    reference: tuple[FieldChange, ...] = ()
    """In which the stored reference was called otherwise."""
