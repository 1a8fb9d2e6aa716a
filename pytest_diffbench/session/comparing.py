"""From the variants that a test asks for to what it gets back: plans, interleaved measuring, comparison, errors."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.session.compared import Compared
from pytest_diffbench.session.result import Result
from pytest_diffbench.stats.enough_rounds import USUAL_ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.judge.likeness import Shown
    from pytest_diffbench.measure.probing import Hidden
    from pytest_diffbench.measure.runner import Drive, Measurement, Plan, Progress
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Comparison, Fact, Observation, Probe, Ratio
    from pytest_diffbench.records.artifacts import Artifacts

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read

LEAST_FOR_RATIO = 2
"""Blocks without which a ratio has no interval: enough where the output alone is wanted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One variant as it will be called.

    Attributes:
        name: of the variant.
        plan: what to measure; its rounds are set here.
        target: what is called.
        args: with these positional arguments.
        kwargs: and these.
        value: of the argument that a sweep changes.
    """

    name: str
    plan: Plan
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Fact = None


class CaseMeasurement:
    """A measurement, with what is found out once its rounds are made: the ratio to a reference, and a probe.

    Args:
        measurement: of the case.
        others: what other variants call; what their weights take of a device's memory isn't this one's.
    """

    def __init__(self, measurement: Measurement, others: Sequence[Any] = ()) -> None:
        from pytest_diffbench.measure.memory import held_bytes

        self.measurement = measurement
        self._others_bytes = held_bytes(others, measurement.target)
        self.ratio: Ratio | None = None
        self.hidden: Shown | None = None
        self._probe: Probe | None = None

    @property
    def case_id(self) -> str:
        """Id of the case."""
        return self.measurement.case_id

    @property
    def target(self) -> Any:
        """What is called."""
        return self.measurement.target

    def observation(self, *, complete: bool) -> Observation:
        """All that was measured, as a record."""
        from pytest_diffbench.measure.memory import without

        measured = self.measurement.observation(complete=complete)
        memory = without(measured.memory, self._others_bytes)
        return msgspec.structs.replace(measured, memory=memory, ratio=self.ratio, probe=self._probe)

    def take(self, drive: Drive, progress: Progress) -> None:
        """See `Measurement.take`."""
        self.measurement.take(drive, progress)

    def look_closer(
        self,
        asked: Asked,
        wants_profile: Callable[[Observation, Artifacts], bool],
        earlier_probe: Callable[[Observation], Probe | None] | None,
    ) -> None:
        """Profile and probe what was measured, where that is wanted; without `earlier_probe` it isn't probed."""
        observation = self.observation(complete=True)
        if wants_profile(observation, self.artifacts()):
            self.measurement.take_profile()
        if earlier_probe is not None:
            self.take_probe(asked, hidden_for([asked]), earlier_probe(observation))

    def take_probe(self, asked: Asked, hidden: Hidden, earlier: Probe | None = None) -> None:
        """Call the target with inputs that it can't have prepared for, after everything else.

        Args:
            asked: what was measured.
            hidden: a prompt and seeds, just drawn.
            earlier: of the reference, whose prompt and seed are called as well.
        """
        from pytest_diffbench.judge.likeness import Shown
        from pytest_diffbench.judge.part_sketches import sketches_of
        from pytest_diffbench.measure.clock import clock_for
        from pytest_diffbench.measure.probing import probe
        from pytest_diffbench.pipelines.devices import devices_of
        from pytest_diffbench.records.artifacts import Artifacts

        clock = clock_for(*devices_of(asked.target, asked.plan.device))
        probed = probe(
            *(asked.target, asked.args, asked.kwargs, clock, hidden),
            seed=asked.plan.definition.seed,
            threads=asked.plan.threads,
            earlier=earlier,
        )
        observation = self.measurement.observation(complete=True)
        run, output = observation.run, observation.output
        facts, arrays = tuple(part.facts for part in probed.parts), tuple(part.kept.arrays for part in probed.parts)
        again = probed.repeated_parts
        self._probe = msgspec.structs.replace(
            probed.probe,
            round_s=run.median_s if run.rounds else None,
            parts=sketches_of(facts, arrays),
            repeated_parts=sketches_of([part.facts for part in again], [part.kept.arrays for part in again]),
        )
        self.hidden = Shown(Artifacts(images=probed.images, parts=arrays), facts)
        if output is not None:
            self.hidden = dataclasses.replace(self.hidden, rerun=output.rerun)

    def artifacts(self) -> Artifacts:
        """The images of the first timed round, and the survey's trace."""
        return self.measurement.artifacts()


def compare(
    asked: Sequence[Asked],
    reference: str,
    *,
    comparison_id: str,
    argument: str | None,
    confidence: float,
    precision_rel: float,
    seed: int,
    drive: Drive,
    progress: Progress,
    measurements: list[tuple[Any, str | None]],
    comparisons: list[Comparison],
    metrics: Sequence[ImageMetric] = (),
    float64: bool = False,
    probe: bool = False,
    prompts: Sequence[str] = (),
) -> Compared:
    """Measure variants and compare them; `measurements` and `comparisons` are added to, also where one raises.

    `metrics` are those of other packages that were asked for. With `float64`, each variant is called once more, and
    the reference in float64: how far each is from that tells its tier. With `probe`, all are called with a prompt and
    seeds that are drawn now: what is memorised, or done while no clock runs, shows in those. With `prompts`, all are
    called once by each of them, for their images.

    Raises:
        MeasureError: a setting out of its range, a label that is missing, or variants that raised.
    """
    _check_numbers(confidence, precision_rel)
    known = {comparison.id for comparison in comparisons}
    if comparison_id in known:
        raise MeasureError(
            f"{comparison_id} has already been compared. Another comparison in the same test needs its own label: "
            "compare(..., label='second')."
        )
    from pytest_diffbench.judge.time.speedups import looks
    from pytest_diffbench.judge.time.variants import Measured, estimate_of, ratio_of
    from pytest_diffbench.judge.time.variants import compare as compared_with
    from pytest_diffbench.measure.interleave import Interleaved
    from pytest_diffbench.measure.pace import Pace
    from pytest_diffbench.measure.runner import Measurement

    first_plan = asked[0].plan
    blocks = looks(first_plan.rounds if first_plan.enough is None else USUAL_ROUNDS)
    if first_plan.output_only:
        blocks = (LEAST_FOR_RATIO,)
    pace = Pace(first_plan.device, first_plan.definition.dtype)
    wrapped = {
        variant.name: CaseMeasurement(
            Measurement(
                dataclasses.replace(variant.plan, rounds=blocks[-1], enough=None),
                variant.target,
                variant.args,
                variant.kwargs,
                pace,
            ),
            [other.target for other in asked],
        )
        for variant in asked
    }

    def enough(names: Sequence[str], look: int) -> bool:
        observations = {name: wrapped[name].observation(complete=True) for name in names}
        widths = (
            estimate_of(observations[name], observations[reference], confidence, look).half_width_rel
            for name in names
        )
        return max(widths) <= precision_rel

    together = Interleaved(
        {name: measurement.measurement for name, measurement in wrapped.items()}, reference, blocks, enough, seed
    )
    first = len(measurements)
    measurements.extend((measurement, "interrupted") for measurement in wrapped.values())
    together.take(drive, progress)

    problems = _problems(together.errors, wrapped, reference)
    if probe and not problems:
        hidden = hidden_for(asked)
        for variant in asked:
            wrapped[variant.name].take_probe(variant, hidden)
    exactness = _exactness(asked, reference, seed) if float64 and not problems else {}
    by_prompt = {variant.name: _by_prompt(variant, prompts, seed) for variant in asked} if not problems else {}

    def taken() -> list[Measured]:
        return [
            Measured(
                name=variant.name,
                observation=wrapped[variant.name].observation(complete=variant.name not in problems),
                artifacts=wrapped[variant.name].artifacts(),
                value=variant.value,
                error=problems.get(variant.name),
                float64_rel=exactness.get(variant.name),
                hidden=wrapped[variant.name].hidden,
                by_prompt=by_prompt.get(variant.name, {}),
            )
            for variant in asked
        ]

    measured = taken()
    for at, variant in enumerate(asked):
        measurements[first + at] = (wrapped[variant.name], problems.get(variant.name))
    base = next(candidate for candidate in measured if candidate.name == reference)
    for result in measured:
        if result.error is None and base.error is None and result is not base:
            wrapped[result.name].ratio = ratio_of(result.observation, base.observation, confidence, together.look)
    beside = functools.partial(
        compared_with,
        reference=reference,
        comparison_id=comparison_id,
        confidence=confidence,
        look=together.look,
        argument=argument,
        metrics=metrics,
    )
    comparison = beside(measured)
    suspects = [variant.name for variant in comparison.variants if variant.inert]
    if suspects:
        # Equal to the last bit, by equal operators: whether by the same kernels too is worth a call of each.
        for name in (reference, *suspects):
            wrapped[name].measurement.take_profile()
        comparison = beside(taken())
    comparisons.append(comparison)
    if together.errors:
        raise _error_of(together.errors, comparison_id, reference)
    return Compared(comparison, {variant.name: _result(wrapped[variant.name]) for variant in asked})


def hidden_for(asked: Sequence[Asked]) -> Hidden:
    """Inputs that none of these calls has."""
    from pytest_diffbench.measure.probing import drawn

    return drawn(but_not=[value for variant in asked for value in (*variant.args, *variant.kwargs.values())])


def _by_prompt(asked: Asked, prompts: Sequence[str], seed: int) -> dict[str, Sequence[NDArray[np.uint8]]]:
    from pytest_diffbench.measure.clock import clock_for
    from pytest_diffbench.measure.probing import painted
    from pytest_diffbench.pipelines.devices import devices_of

    clock = clock_for(*devices_of(asked.target, asked.plan.device))
    call = asked.target, asked.args, asked.kwargs, clock, seed
    return {prompt: painted(*call, prompt, asked.plan.threads) for prompt in prompts}


def _exactness(asked: Sequence[Asked], reference: str, seed: int) -> dict[str, float]:
    """How far each variant's output is from that of the reference's call in float64, where that can be told."""
    from pytest_diffbench.measure.float64 import distance_rel, in_float64, outputs

    base = next(variant for variant in asked if variant.name == reference)
    exact = outputs(in_float64(base.target), base.args, base.kwargs, seed)
    distances = {
        variant.name: distance_rel(outputs(variant.target, variant.args, variant.kwargs, seed), exact)
        for variant in asked
    }
    return {name: far_rel for name, far_rel in distances.items() if far_rel is not None}


def _result(measurement: CaseMeasurement) -> Result:
    return Result(measurement.observation(complete=True), measurement.artifacts())


def _check_numbers(confidence: float, precision_rel: float) -> None:
    if not _is_number(confidence) or not 0.5 <= confidence < 1:
        raise MeasureError(
            f"compare() was given confidence={confidence!r}. Give a probability of at least 0.5 and below 1."
        )
    if not _is_number(precision_rel) or not precision_rel > 0:
        raise MeasureError(
            f"compare() was given precision_rel={precision_rel!r}. Give a positive number: 0.05 is 5 %."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _problems(errors: Mapping[str, Exception], names: Mapping[str, object], reference: str) -> dict[str, str]:
    """Why each variant broke off; where the reference did, the rounds of all ended with it."""
    problems = {name: f"{type(error).__name__}: {error}".strip(": ") for name, error in errors.items()}
    if reference in problems:
        why = f"not completed: the reference {reference!r} raised {problems[reference]}"
        problems = {name: problems.get(name, why) for name in names}
    return problems


def _error_of(errors: Mapping[str, Exception], comparison_id: str, reference: str) -> MeasureError:
    text = "; ".join(
        f"variant {name!r} raised {type(error).__name__}: {str(error).rstrip('. ')}" for name, error in errors.items()
    )
    rest = (
        "It is the reference, so the others can't be compared with anything."
        if reference in errors
        else "The others were completed, and are reported."
    )
    error = MeasureError(f"{comparison_id}: {text}. {rest} Correct its arguments, or leave it out.")
    error.__cause__ = next(iter(errors.values()))
    return error
