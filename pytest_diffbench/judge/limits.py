"""Every threshold that a gate uses, in one table, each with the reason for its default."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

from pytest_diffbench.errors import OptionError
from pytest_diffbench.outputs.kinds import PART_METRICS
from pytest_diffbench.outputs.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.outputs.metrics.metric import Metric


class TierLimits(NamedTuple):
    """Limits of a metric of output, by how near the baseline's machine is: of the same class, and of another."""

    machine: float
    drift: float


def metric_named(name: str) -> Metric:
    """A metric of images, or of another kind of output. Raises KeyError where there is none of that name."""
    return METRICS[name] if name in METRICS else PART_METRICS[name]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Thresholds of all gates. Shares and relative differences `_rel` are fractions: .05 is 5 %.

    Raises:
        OptionError: a value is negative, NaN, infinite, not a number, or outside the range of its kind.
    """

    # work
    flops_other_torch_rel: float = 0.01
    """torch's FLOP formulas are exact within one version and device type; elsewhere other kernels are counted."""

    operators_other_software_rel: float = 0.1
    """Of a component's operators: releases of torch and diffusers write the same thing in other ways."""

    python_calls_rel: float = 0.05
    """Of a call's: a helper more is no fault; a walk over all modules in each step adds half."""

    # guidance: in units of the machine epsilon of the predictions' dtype, never under the floor
    norm_ratio_eps: float = 3.0
    """Renorm in float32, float16 and bfloat16 leaves the ratio of norms within 1.6 eps of 1 (2048 rows of 128)."""

    gain_eps: float = 2.0
    """An unscaled prediction is fitted with a gain within .4 eps of 1."""

    scale_eps: float = 8.0
    """The median scale over rows is far within 1 eps; the rest is for models whose branches hardly differ."""

    guidance_floor_rel: float = 1e-4
    """Kernels differ in the order of their sums, which float32 epsilon alone would not forgive."""

    # output
    metric_limits: Mapping[str, TierLimits] = dataclasses.field(default_factory=dict)
    """Of metrics by name, where a test changed them; else those of `outputs.metrics` and `outputs.kinds` hold."""

    latents_machine_rel: float = 0.01
    """For latents and predictions, results or on their way: the same 1 % as 40 dB."""

    latents_drift_rel: float = 0.1
    """For final latents on another machine, which are compared before any pixel."""

    latents_broken_rel: float = 0.5
    """For results that are latents: half of the result is something else."""

    rerun_margin_db: float = 3.0
    """Two draws of the same noise lie 3 dB further apart than one from its mean; as a ratio, 1.41."""

    rerun_tail: float = 20.0
    """Identical calls that differ on edges: a tile's p99 reaches 16 times the RMS, with the margin above."""

    tile_size_px: int = 64
    """Small enough for a lost patch to fill one, large enough for a steady mean."""

    output_reason: str = ""
    """Why a test changed thresholds of output for its case."""

    trace_rounding_factor: float = 10.0
    """Traces part where their distance exceeds this many roundings (eps / sqrt(12)) of the dtype."""

    trace_first_rel: float = 1e-4
    """Of embeddings and of the first step, on this class of machine: kernels that sum in another order reach 1e-6 in
    float32, rounding to half precision at any place 3e-4; never under ten roundings of the dtype."""

    # memory
    memory_rel: float = 0.02
    """Allocators repeat themselves; the rest is workspace that libraries choose by heuristics."""

    memory_floor_bytes: int = 8 * 2**20
    """Four of the caching allocator's 2 MiB blocks."""

    memory_reserved_rel: float = 0.10
    """Reservations depend on fragmentation, hence on history."""

    memory_rss_rel: float = 0.25
    """A resident set holds what else the process did before."""

    memory_rss_floor_bytes: int = 256 * 2**20
    """One library more or less in the process."""

    memory_workspace_rel: float = 0.02
    """Tensors are counted exactly; the rest is for releases of torch that fuse or part operators."""

    memory_workspace_floor_bytes: int = 64 * 2**10
    """Of a stage: masks, embeddings and time steps of small models."""

    # time
    time_alpha: float = 0.01
    """Chance that a session calls any of its cases slower, by chance alone: 1 in 100 sessions, however many cases."""

    time_confirmations: int = 2
    """Fresh processes that must agree before a test fails: one may share the luck of the first. 0 lets one run do."""

    time_max_runs: int = 5
    """Runs of a case in one session, the first included: they share the day, so more would sharpen little."""

    time_spare_runs: int = 2
    """Further ones in place of those that were unsteady, or made while the machine was off its pace."""

    time_spread_cpu_rel: float = 0.03
    """Spread between runs that is believed of a shared processor, however well they agree."""

    time_spread_rel: float = 0.005
    """Spread between runs that is believed of a GPU at steady clocks, however well they agree."""

    time_day_spread_cpu_rel: float = 0.05
    """Spread between days that is expected of a shared processor before any was recorded."""

    time_day_spread_rel: float = 0.012
    """The same elsewhere."""

    time_run_spread_cpu_rel: float = 0.04
    """Spread between runs of one day that is expected of a shared processor before any was recorded."""

    time_run_spread_rel: float = 0.007
    """The same elsewhere."""

    time_part_spread: float = 1.5
    """Stages and groups of steps are expected to spread by this much more than the whole."""

    time_expected_dof: float = 6.0
    """What these expectations count for beside recorded days and runs: a first run promises little, ten days promise
    what they show."""

    time_few_days: int = 3
    """Fewer days tell nothing about the spread between days."""

    time_floor_cpu_rel: float = 0.05
    """Smaller changes on a CPU are not worth a red test."""

    time_floor_rel: float = 0.02
    """Smaller changes elsewhere are not worth a red test."""

    time_floor_s: float = 0.001
    """Smaller changes are the interpreter's, whatever their share."""

    time_part_floor_rel: float = 0.05
    """For a stage or a group of steps alone: parts are worth less than the whole, and spread more."""

    time_part_floor_cpu_rel: float = 0.125
    """The same on a CPU."""

    time_part_total_rel: float = 0.01
    """A part that costs the call less than this must not fail it: 3 ms may become 9 ms in a call of 600 ms."""

    time_prior_max_dof: float = 60.0
    """Neighbours never count for more than this many runs: they are other cases, however alike they spread."""

    time_min_pairs: int = 4
    """Fewer pairs of runs tell too little about the spread between pairs."""

    time_max_pairs: int = 10
    """Usable pairs of runs of one case: more would cost longer than what they show is worth."""

    time_spare_pairs: int = 10
    """Pairs made in place of those that can't be used, because a run of them wasn't steady or the machine changed its
    pace between the two. A restless machine that yields no usable pair at all gets none."""

    time_pair_spread_cpu_rel: float = 0.02
    """Spread between pairs on a CPU: never believed to be less. Adjacent runs share what the machine is doing."""

    time_pair_spread_rel: float = 0.005
    """The same elsewhere."""

    time_power: float = 0.95
    """The smallest change that would have been seen is meant with this probability; below 1."""

    time_blind_rel: float = 0.5
    """A gate that would sleep through half as much time again must not say `same`."""

    machine_rel: float = 0.10
    """A pace that moved by more than this says that the machine is another one today."""

    machine_explains: float = 2.0
    """A machine that is off its pace may move a case by this much more than its pace, as a logarithm: where reference
    work took 1.63 times as long, cases took 2.2 times."""

    machine_crowded_rel: float = 0.1
    """Of a run that its threads waited for a processor: with more it is never the same, since what others leave of a
    processor is slower, too: by as much as the share at most."""

    machine_unknown_rel: float = 1.0
    """What a machine may have done to a case where its pace isn't known, and few runs are recorded: shared machines
    were seen to take 1.6 times as long."""

    machine_known_runs: int = 10
    """Recorded runs from which on a case's own history shows what the machine does, without a pace."""

    unsteady_rel: float = 0.15
    """Interquartile range over median: quiet rounds on a shared two-core machine stay under .10."""

    drift_rel: float = 0.15
    """Median of the last third of the rounds against that of the first: heat, or warm-up that never ended."""

    unattributed_rel: float = 0.25
    """A quarter of a call outside all stages: what was seen doesn't explain the time."""

    unattributed_floor_s: float = 0.010
    """The pipeline's own Python between stages, which fills a large share of a call of a few milliseconds."""

    # ratios between variants, which stand under `time` too
    ratio_alpha: float = 0.001
    """Chance of an alarm, one-sided, by chance alone in one variant; below 1."""

    ratio_suspicion: float = 0.05
    """Chance that a variant with nothing wrong buys fresh runs; below 1."""

    ratio_min_runs: int = 3
    """Fewer stored ratios tell nothing of how far processes differ."""

    ratio_spread_cpu_rel: float = 0.02
    """Spread of a ratio between processes on a CPU, besides what shows within one: never believed to be less."""

    ratio_spread_rel: float = 0.005
    """The same elsewhere."""

    ratio_prior_dof: float = 8.0
    """Degrees of freedom that these spreads count for beside the stored ratios', of which there may be three."""

    ratio_family_rel: float = 0.10
    """A denoiser's share of the total differs between machines of one kind, and a saving in it counts accordingly."""

    ratio_any_rel: float = 0.25
    """Between kinds of device that share may be half or nearly all: a saving of a quarter ends up 1.14 to 1.33."""

    stage_share_rel: float = 0.2
    """A stage or component that carries at least this share of a difference is named."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(field.default, int | float):
                self._check(field.name, getattr(self, field.name), whole=isinstance(field.default, int))
        for name, tiers in self.metric_limits.items():
            metric = metric_named(name)
            for limit in tiers:
                self._check(name, limit, whole=metric.whole)
                if limit > metric.largest:
                    largest = metric.largest
                    raise OptionError(f"Limits.{name} is {limit!r}. Give a number between 0 and {largest:g}.")

    def tiers(self, name: str) -> TierLimits:
        """Limits of a metric of images, or of another kind of output."""
        metric = metric_named(name)
        return self.metric_limits.get(name, TierLimits(metric.machine, metric.drift))

    @staticmethod
    def _check(name: str, value: object, *, whole: bool) -> None:
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type,operator]  # checked just before
            kind = "a whole number" if whole else "a finite number"
            raise OptionError(f"Limits.{name} is {value!r}. Give {kind} of at least 0.")
        if (name in _OPEN_UNIT or name.endswith("_alpha")) and not 0 < value < 1:  # type: ignore[operator]  # a number by now
            raise OptionError(f"Limits.{name} is {value!r}. Give a probability between 0 and 1, both excluded.")
        least = _AT_LEAST.get(name, 0)
        if value < least:  # type: ignore[operator]  # a number by now
            raise OptionError(f"Limits.{name} is {value!r}. Give at least {least}.")


_OPEN_UNIT = frozenset({"time_alpha", "time_power", "ratio_suspicion"})
_AT_LEAST = {
    "time_min_pairs": 2,
    "time_max_pairs": 2,
    "time_max_runs": 1,
    "time_few_days": 1,
    "ratio_min_runs": 2,
    "machine_known_runs": 1,
    "time_prior_max_dof": 1,
    "tile_size_px": 1,
}
"""Two runs are the least that have a spread; a tile holds at least one pixel."""
