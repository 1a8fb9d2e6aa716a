"""The plain data that flows from measuring to judging to reporting.

Every record is frozen and slotted, is written to and read from JSON as it stands, and refuses unknown fields.
Units stand in names: seconds `_s`, bytes `_bytes`, decibels `_db`, shares and relative differences `_rel`.
Arrays never stand in a record; they travel beside it, see `artifacts`.
"""

from __future__ import annotations

import statistics
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

BASELINE_SCHEMA = 1
"""Version of `baseline.json`. Newer files are refused by name; older ones are migrated by `store`."""

SESSION_SCHEMA = 1
"""Version of the file that `--diffbench-json` writes."""

Gate: TypeAlias = Literal["work", "guidance", "output", "memory", "time"]
GATES: tuple[Gate, ...] = ("work", "guidance", "output", "memory", "time")

Decision: TypeAlias = Literal["same", "better", "worse", "unsure", "incomparable", "unbaselined"]
DECISIONS: tuple[Decision, ...] = ("worse", "unsure", "incomparable", "unbaselined", "better", "same")
"""From what needs a reader most to what needs one least."""

Stage: TypeAlias = Literal["text_encode", "vae_encode", "denoise", "vae_decode", "unattributed"]
STAGES: tuple[Stage, ...] = ("text_encode", "vae_encode", "denoise", "vae_decode", "unattributed")

Branch: TypeAlias = Literal["cond", "uncond", "joint", "unknown"]
JointOrder: TypeAlias = Literal["uncond_cond", "cond_uncond"]
Weights: TypeAlias = Literal["mini", "random", "pretrained", "own"]
"""`own`: a pipeline that the test built itself and passed in."""

Offload: TypeAlias = Literal["none", "model", "sequential"]
Distance: TypeAlias = Literal["machine", "family", "any"]
"""How near the machine of a baseline is: the same class, the same type of device, or another."""

Fact: TypeAlias = str | int | float | bool | None
PositiveSeconds = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
PositiveCount = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: frozen, slotted, strict about unknown fields. Subclasses take keywords only."""


class PipelineSpec(Record, frozen=True, kw_only=True):
    """Which pipeline to load, and how. Two equal specs are served by one resident pipeline."""

    model: str
    weights: Weights
    device: str
    dtype: str
    offload: Offload = "none"
    source: str | None = None
    """Folder or hub id for `pretrained` weights; None for those that are built in code."""


class Definition(Record, frozen=True, kw_only=True):
    """All that makes a case what it is. Results of unequal definitions are never compared."""

    pipeline: str
    """Name of the pipeline's class, or of the callable."""

    weights: Weights
    model: str | None = None
    revision: str | None = None
    """Identity of the weights: hub commit, a digest of the folder's configuration, or one of a mini's checksums."""

    dtype: str
    offload: Offload = "none"
    seed: int
    arguments: dict[str, Any]
    """Every argument that the test passed, as plain JSON; a tensor or image stands as shape, dtype and digest."""


class Case(Record, frozen=True, kw_only=True):
    """One benchmarked call: test id and definition."""

    id: str
    definition: Definition


class Environment(Record, frozen=True, kw_only=True):
    """What a run ran on. Units stand in the names of the facts; a fact that couldn't be read is None.

    `hardware` and `settings` decide whether times and memory of two runs may be compared. `software` does not: it is
    listed as changed since the baseline, since a slower library is what the plugin is there to catch. `state` tells
    how busy the machine was.
    """

    machine: str
    """Name of the class of machine, e.g. `cuda-nvidia-h200` or `cpu-amd-epyc-2c`; a folder under `baselines/`."""

    family: str
    """Type of the device: `cpu`, `cuda`, `mps` ..."""

    hardware: dict[str, Fact]
    settings: dict[str, Fact]
    software: dict[str, Fact]
    state: dict[str, Fact]


class Round(Record, frozen=True, kw_only=True):
    """One timed call, synchronised at its outer boundaries.

    `stages_s` holds the stages that were seen, and `unattributed`; they add up to `total_s`. A target whose
    components can't be seen has no stages at all.
    """

    total_s: PositiveSeconds
    stages_s: dict[Stage, Seconds] = {}
    steps_s: tuple[Seconds, ...] = ()
    """One figure a scheduler step, from the end of the step before to its own end."""

    output_digest: str | None = None
    """Digest of the images' pixels: equal digests, equal bits."""


class Run(Record, frozen=True, kw_only=True):
    """The rounds of one case in one process: the unit of statistical evidence."""

    id: str
    started: str
    """UTC, ISO 8601."""

    warmup_s: tuple[PositiveSeconds, ...] = ()
    rounds: tuple[Round, ...]
    calibration_s: tuple[PositiveSeconds, ...] = ()
    """A fixed piece of work, timed between the rounds on the same device: tells a slow machine from slow code."""

    environment: Environment

    @property
    def totals_s(self) -> tuple[float, ...]:
        """Wall time of each round."""
        return tuple(one.total_s for one in self.rounds)

    @property
    def median_s(self) -> float:
        """Median wall time of the rounds. Raises StatisticsError on a run without rounds."""
        return statistics.median(self.totals_s)

    @property
    def stage_medians_s(self) -> dict[Stage, float]:
        """Median time of each stage that was seen in every round, in the order of `STAGES`."""
        return {
            stage: statistics.median(one.stages_s[stage] for one in self.rounds)
            for stage in STAGES
            if self.rounds and all(stage in one.stages_s for one in self.rounds)
        }

    @property
    def step_medians_s(self) -> tuple[float, ...]:
        """Median time of each step over the rounds; empty where rounds differ in their number of steps."""
        if not self.rounds or len({len(one.steps_s) for one in self.rounds}) != 1:
            return ()
        return tuple(statistics.median(times) for times in zip(*(one.steps_s for one in self.rounds), strict=True))


class LayerTimes(Record, frozen=True, kw_only=True):
    """Time inside the denoiser by kind of layer, from a pass of its own (each layer is bracketed there).

    Only the shares carry over to other passes: bracketing hundreds of layers costs time itself.
    """

    attention_s: Seconds
    other_s: Seconds
    attention_layers: Count
    """Attention modules found in the denoiser; 0 means none was recognised, and `attention_s` is then 0 too."""

    @property
    def attention_rel(self) -> float | None:
        """Attention's share of the denoiser's time, None when nothing was timed."""
        total_s = self.attention_s + self.other_s
        return self.attention_s / total_s if self.attention_layers and total_s > 0 else None


class CallGroup(Record, frozen=True, kw_only=True):
    """Denoiser calls that are alike in all but their step."""

    component: str
    branch: Branch
    batch: PositiveCount
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor argument, by the name of the argument."""

    flops: Count
    """Of one call."""

    steps: str
    """The steps, counted from 0, as ranges: `0-14,20`. A step that calls twice alike stands twice: `0,0`."""


class Work(Record, frozen=True, kw_only=True):
    """What was computed, whatever it ran on."""

    steps: Count
    """Scheduler steps."""

    denoiser: tuple[CallGroup, ...]
    component_calls: dict[str, Count]
    """Outermost calls by component; methods stand behind a dot: `vae.decode`."""

    flops: dict[str, Count]
    """By component, as counted by torch's formulas (one multiply-add is two)."""

    parameters: dict[str, Count]
    attention_parameters: dict[str, Count]

    @property
    def denoiser_calls(self) -> int:
        """Number of calls of the denoiser over all steps and branches."""
        return sum(len(parse_steps(group.steps)) for group in self.denoiser)

    @property
    def total_flops(self) -> int:
        """FLOPs of all components together."""
        return sum(self.flops.values())

    def calls_by_branch(self) -> dict[Branch, int]:
        """Number of denoiser calls of each branch that occurs."""
        counts: dict[Branch, int] = {}
        for group in self.denoiser:
            counts[group.branch] = counts.get(group.branch, 0) + len(parse_steps(group.steps))
        return counts


class GuidanceStep(Record, frozen=True, kw_only=True):
    """What one step really did, derived from the denoiser's predictions and from what the scheduler was handed.

    With c and u the conditional and unconditional predictions and o the scheduler's input, every row along the last
    axis is fitted by least squares as `o = a (u + w (c - u))`.

    Attributes:
        branches: in the order of the calls.
        used: what the scheduler's input is made of.
        sign: of o against the prediction that it is made of; 0 where it isn't known.
        scale: median w.
        gain_min: least |a|, a twentieth of the rows aside; `gain_max` the greatest.
        norm_ratio_min: least norm of a row of o over that of the same row of c; `norm_ratio_max` the greatest.
        residual_rel: norm of what the fit leaves unexplained, over the norm of o.
        cosine: between c and u, over all of their elements.
        norm_ratio: norm of o over that of c, in the sample of the batch where it is furthest from 1.
        samples: of each sample the median |a|, and norm and standard deviation of o over those of c.
        joint_order: of the halves of a joint call, guessed from the sign of the scale; None where embeddings told it.
        timestep: the scheduler's.
    """

    branches: tuple[Branch, ...]
    used: Literal["guided", "cond", "uncond", "unknown"]
    sign: Literal[-1, 0, 1]
    scale: float | None = None
    gain_min: float | None = None
    gain_max: float | None = None
    norm_ratio_min: float | None = None
    norm_ratio_max: float | None = None
    residual_rel: float | None = None
    cosine: float | None = None
    norm_ratio: float | None = None
    samples: tuple[tuple[float, float, float], ...] = ()
    joint_order: JointOrder | None = None
    timestep: float | None = None


class Guidance(Record, frozen=True, kw_only=True):
    """What guidance did in the survey round, beside the arguments that should have decided it.

    `arguments` are the call's with the pipeline's defaults filled in (plain values only); `dtype_eps`, the machine
    epsilon of the predictions' dtype, is the unit of rounding; `call_class` is where `pipeline` has its call from.
    """

    pipeline: str
    arguments: dict[str, Fact]
    dtype_eps: Annotated[float, Meta(gt=0)]
    steps: tuple[GuidanceStep, ...]
    call_class: str | None = None

    @property
    def guided_steps(self) -> int:
        """Steps whose scheduler input mixes both branches."""
        return sum(step.used == "guided" for step in self.steps)


class ImageFacts(Record, frozen=True, kw_only=True):
    """What can be said of one image without another to compare it with."""

    width_px: PositiveCount
    height_px: PositiveCount
    mode: str
    constant: bool
    """All pixels are equal, as in a black image."""

    digest: str


class RerunNoise(Record, frozen=True, kw_only=True):
    """How far identical calls drifted within this run. Distances are of the worst round; None is 'no difference'."""

    rounds: Count
    identical: bool
    psnr_db: float | None = None
    latents_rel: float | None = None
    """Relative L2 distance of the final latents."""


class Output(Record, frozen=True, kw_only=True):
    """The result of a call: its images and its final latents."""

    images: tuple[ImageFacts, ...]
    finite: bool
    """No NaN or infinity in the final latents nor in what the decoder returned."""

    not_finite_where: str | None = None
    """First place where a value wasn't finite: `latents, step 3` or `vae.decode`."""

    latents_shape: tuple[int, ...] | None = None
    latents_dtype: str | None = None
    rerun: RerunNoise


class StageMemory(Record, frozen=True, kw_only=True):
    """Peak memory while a stage ran."""

    peak_bytes: Bytes
    reserved_bytes: Bytes | None = None
    """Peak of the caching allocator's reservation; None where there is no such allocator."""


class Memory(Record, frozen=True, kw_only=True):
    """Peak memory of the survey round, weights included.

    `source` tells how rough it is: `cuda_allocator` is exact; `process_rss` is the process's resident set, which
    includes everything else the process holds; `process_lifetime` can't even be reset between stages.
    """

    source: Literal["cuda_allocator", "device_allocator", "process_rss", "process_lifetime"]
    peak_bytes: Annotated[int, Meta(gt=0)]
    reserved_bytes: Bytes | None = None
    stages: dict[Stage, StageMemory] = {}


class Observation(Record, frozen=True, kw_only=True):
    """All that was measured of one case in one process. Parts that weren't seen are None, and `notes` says why."""

    case: Case
    run: Run
    work: Work | None = None
    guidance: Guidance | None = None
    output: Output | None = None
    memory: Memory | None = None
    layers: LayerTimes | None = None
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
    """Oldest first, of this generation only."""

    work: Work | None = None
    output: Output | None = None
    memory: Memory | None = None
    layers: LayerTimes | None = None


class Verdict(Record, frozen=True, kw_only=True):
    """A gate's answer."""

    gate: Gate
    decision: Decision
    reason: str
    """Stable code, `gate.what`: `work.denoiser_calls`, `time.few_runs` ..."""

    message: str
    """One sentence for a person, with the figures."""

    details: dict[str, Any] = {}
    """The figures behind it, as plain JSON."""

    changes: tuple[str, ...] = ()
    """Further lines: each thing that changed, and where."""


class CaseReport(Record, frozen=True, kw_only=True):
    """One case of a session: what was measured and what was made of it."""

    observation: Observation
    verdicts: tuple[Verdict, ...]
    baseline_path: str | None = None
    baseline_distance: Distance | None = None
    saved: str | None = None
    """`added run 3`, `new generation 2`, `created`, or `refused: why`; None when nothing was to be saved."""

    changed_since: tuple[str, ...] = ()
    """Facts of the environment that differ from the baseline's newest run: `torch 2.12.0 -> 2.13.0`."""

    error: str | None = None
    """Why the measurement didn't complete."""


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
    missing_baselines: tuple[str, ...]
    cases: tuple[CaseReport, ...]


def format_steps(steps: list[int]) -> str:
    """Write step numbers as ranges: `[0, 1, 2, 5]` becomes `0-2,5`; a repeated step starts a new range."""
    ranges: list[list[int]] = []
    for step in steps:
        if ranges and step == ranges[-1][1] + 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def parse_steps(text: str) -> list[int]:
    """Read what `format_steps` wrote. Raises ValueError on anything else."""
    steps: list[int] = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        steps.extend(range(int(first), int(last or first) + 1))
    return steps
