"""The object behind the `diffbench` fixture: turns a call into a measured case."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.items import case_id
from pytest_diffbench.records.facts import fact_of
from pytest_diffbench.report.verification import broken_text
from pytest_diffbench.session.compared import Compared, Swept
from pytest_diffbench.session.comparing import Asked, CaseMeasurement, compare
from pytest_diffbench.session.defining import definition_of, threads_of, trace_file
from pytest_diffbench.session.extra_metrics import metrics_of
from pytest_diffbench.session.failures import fail
from pytest_diffbench.session.prompts import MOST_PROMPTS, first_prompt, prompts_of
from pytest_diffbench.session.publishing import How, write_table
from pytest_diffbench.session.result import Result
from pytest_diffbench.session.variants import check, sweep_of, value_name
from pytest_diffbench.settings.pytest_private import argument_names
from pytest_diffbench.stats.enough_rounds import AUTO, LEAST_ROUNDS, are_enough
from pytest_diffbench.workers.turns import BEGIN, END

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    from pytest_diffbench.measure.runner import Drive, Plan, Progress
    from pytest_diffbench.plan.measurement import PlannedMeasurement
    from pytest_diffbench.records import Comparison, Fact, Observation, Probe, Verification
    from pytest_diffbench.records.artifacts import Artifacts
    from pytest_diffbench.session.loading import Loaded
    from pytest_diffbench.session.variants import Variant
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.workers.turns import TurnClient

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


class Bench:
    """Measures calls within one test.

    The verdict falls after the test's own assertions: a case that got worse fails the test in its call phase.
    """

    def __init__(
        self,
        item: pytest.Item,
        settings: Settings,
        *,
        benchmark: Any,
        about: Callable[[object], Loaded | None],
        facts: Mapping[str, Fact],
        progress: Progress,
        wants_profile: Callable[[Observation, Artifacts], bool] = lambda _observation, _artifacts: False,
        earlier_probe: Callable[[Observation], Probe | None] | None = None,
        turns: TurnClient | None = None,
        output_only: bool = False,
        relatives: int = 0,
    ) -> None:
        self._item = item
        self._settings = settings
        self._benchmark = benchmark if _is_free(benchmark, item) else None
        self._about = about
        self._facts = facts
        self._progress = progress
        self._wants_profile = wants_profile
        self._earlier_probe = earlier_probe
        self._turns = turns
        self._output_only = output_only
        self._relatives = relatives
        self.measurements: list[tuple[CaseMeasurement | PlannedMeasurement, str | None]] = []
        """Each with why it didn't complete, or None."""

        self.comparisons: list[Comparison] = []
        """What was compared, broken-off variants included."""

        self.verifications: list[Verification] = []
        """What was verified."""

    @property
    def weights(self) -> str:
        """Kind of weights that the test runs on: `mini`, `plan`, `random` or `pretrained`."""
        return self._settings.weights

    def __call__(
        self, target: Any, /, *args: Any, label: str | None = None, probe: bool = False, **kwargs: Any
    ) -> Result:
        """Measure `target(*args, **kwargs)`.

        Args:
            target: a diffusers pipeline, or any callable.
            *args: its positional arguments.
            label: tells several calls in one test apart; becomes part of the case's name.
            probe: make further calls with a prompt and seeds that are drawn now, as the option does for all cases.
            **kwargs: its keyword arguments. For a pipeline from `diffbench_pipeline`, the model's recommended
                settings (steps, guidance, size) fill in what isn't given.

        Returns:
            What was measured. Its images are those that were timed.

        Raises:
            MeasureError: for arguments that the target doesn't take, a second call without a label of its own, or a
                device that ran out of memory. What the target itself raises passes through.
        """
        plan, kwargs = self._plan(target, args, kwargs, label)
        if self._turns is not None:
            self._turns.wait(plan.case_id, BEGIN)
        measurement = self._measurement(plan, target, args, kwargs)
        drive = self._drive()
        self.measurements.append((measurement, "interrupted"))
        progress = (
            self._progress if self._turns is None else self._turns.before_progress(plan.case_id, self._progress)
        )
        try:
            measurement.take(drive, progress)
            if isinstance(measurement, CaseMeasurement):
                # Now, since the test may take back what it did to the target as soon as it has its result.
                earlier = self._earlier_probe if probe or self._settings.probe else None
                measurement.look_closer(Asked("", plan, target, args, kwargs), self._wants_profile, earlier)
        except BaseException as error:
            self.measurements[-1] = (measurement, f"{type(error).__name__}: {error}".strip(": "))
            raise
        else:
            self.measurements[-1] = (measurement, None)
        finally:
            if self._turns is not None:
                self._turns.wait(plan.case_id, END)
        return Result(measurement.observation(complete=True), measurement.artifacts())

    def compare(
        self,
        target: Any,
        /,
        *args: Any,
        variants: Mapping[str, Mapping[str, Any] | Variant],
        reference: str | None = None,
        label: str | None = None,
        confidence: float = 0.99,
        precision_rel: float = 0.05,
        float64: bool = False,
        publish: str | PathLike[str] | None = None,
        probe: bool = False,
        prompts: str | PathLike[str] | Sequence[str] | None = None,
        most_prompts: int = MOST_PROMPTS,
        **kwargs: Any,
    ) -> Compared:
        """Measure variants of a call against each other, their timed rounds interleaved.

        Each variant is surveyed as a call of its own, and is a case of its own: the test's id with `#` and the
        variant's name. A block is one round of each; there are at least six, more where `rounds` asks for them, and
        up to four times as many while an interval is wider than `precision_rel`.

        Args:
            target: a diffusers pipeline, or any callable.
            *args: positional arguments that all variants share.
            variants: by name the keyword arguments that a variant changes, or a `variants.Variant` where it has a
                target of its own.
            reference: name of the variant that the others are compared with; the first by default.
            label: tells several comparisons in one test apart.
            confidence: of each variant's interval, for whatever number of blocks.
            precision_rel: rounds go on, within the bound, while an interval reaches further above its value.
            float64: make the reference's call in float64 too, and tell by it whether a variant loses more than
                rounding does: for a pipeline that fits twice more, as a mini on the CPU.
            publish: file for the table, by its ending .md, .csv, .tex or .txt.
            probe: make three further calls of each with a prompt and seeds that are drawn now, for shortcuts.
            prompts: a text file with one on each line, a CSV file with a column `prompt` or `prompts`, or the prompts
                themselves. Images are compared for each of them, in one call of each variant; the first is timed
                where the call has no prompt of its own.
            most_prompts: how many of them are taken, the first ones.
            **kwargs: keyword arguments that all variants share; a variant's own win.

        Raises:
            MeasureError: for what can't be compared, before anything is measured; and, once the others were measured
                to the end, for variants that raised.
        """
        named, reference = check(variants, reference)
        asked = prompts_of(prompts, most_prompts, self._item.path.parent)
        how = How(label, confidence, precision_rel, float64, publish, probe=probe, prompts=asked)
        return self._compare(target, args, kwargs, named, reference, how)

    def sweep(
        self,
        target: Any,
        /,
        *args: Any,
        reference: Any = None,
        label: str | None = None,
        confidence: float = 0.99,
        precision_rel: float = 0.05,
        float64: bool = False,
        publish: str | PathLike[str] | None = None,
        prompts: str | PathLike[str] | Sequence[str] | None = None,
        most_prompts: int = MOST_PROMPTS,
        **kwargs: Any,
    ) -> Swept:
        """Compare the values of one argument: time against likeness to the reference's images.

        `sweep(pipeline, prompt, "cfg_trunc_ratio", [1.0, 0.7, 0.5])`: the name and the values come last, behind the
        call's own positional arguments. `reference` is one of the values, the first by default. Everything else is as
        for `compare`.
        """
        args, argument, values = sweep_of(args, kwargs)
        names = {value_name(value): value for value in values}
        chosen = None if reference is None else value_name(reference)
        named, chosen = check({name: {argument: value} for name, value in names.items()}, chosen)
        asked = prompts_of(prompts, most_prompts, self._item.path.parent)
        how = How(label, confidence, precision_rel, float64, publish, argument, prompts=asked)
        compared = self._compare(target, args, kwargs, named, chosen, how, names)
        return Swept(compared.comparison, compared.results)

    def verify(
        self,
        target: Any,
        /,
        *args: Any,
        only: Sequence[str] = (),
        waive: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Verification:
        """Look for what is wrong with a pipeline, without any baseline; the test fails where an invariant is broken.

        Some thirty calls are made: few steps and a small picture do.

        Args:
            target: a diffusers pipeline.
            *args: positional arguments of the call that is varied.
            only: codes of invariants, or their families, such as `batch`; all where there are none.
            waive: known faults that are accepted, by their code, each with the reason. They are printed.
            **kwargs: its keyword arguments; the model's recommended settings fill in what isn't given.

        Raises:
            MeasureError: the pipeline fails at the call itself, or doesn't take an argument.
            OptionError: `only` or `waive` has a code that there isn't, or a reason is empty.
        """
        if self.weights == "plan":
            pytest.skip("invariants compare outputs, and a plan has none")
        from pytest_diffbench import invariants
        from pytest_diffbench.measure import definition

        arguments = self._with_recommended(target, definition.bind(target, args, kwargs))
        self._time_nothing()
        verification = invariants.verify(
            target, arguments, seed=self._settings.seed, only=only, waive=waive, progress=self._progress
        )
        verification = msgspec.structs.replace(verification, test=self._item.nodeid)
        self.verifications.append(verification)
        if verification.having("broken"):
            fail(broken_text(verification))
        return verification

    def _time_nothing(self) -> None:
        """pytest-benchmark warns where its fixture isn't used; where nothing is timed, it must not show a time."""
        if self._benchmark is not None and not self.measurements:
            self._benchmark.disabled = True
            self._benchmark.pedantic(lambda: None)

    def _with_recommended(self, target: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments of a call, with the model's own where none are given."""
        from pytest_diffbench.measure import definition

        loaded = self._about(target)
        if loaded is None:
            return arguments
        takes = definition.parameters_of(target)
        return {name: value for name, value in loaded.recommended.items() if name in takes} | arguments

    def _compare(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        variants: Mapping[str, Variant],
        reference: str,
        how: How,
        values: Mapping[str, Any] | None = None,
    ) -> Compared:
        """See `compare`."""
        metrics = metrics_of(self._settings, self._item.nodeid)
        kwargs = first_prompt(target, args, kwargs, how.prompts)
        asked = []
        for name, variant in variants.items():
            chosen = target if variant.target is None else variant.target
            part = name if how.argument is None else f"{how.argument}={name}"
            try:
                plan, whole = self._plan(
                    chosen,
                    args,
                    kwargs | dict(variant.arguments),
                    part if how.label is None else f"{how.label}:{part}",
                )
            except MeasureError as error:
                raise MeasureError(f"variant {name!r}: {error}") from None
            if plan.definition.planned:
                pytest.skip("variants are timed against each other, and a plan times nothing")
            asked.append(Asked(name, plan, chosen, args, whole, fact_of((values or {}).get(name))))
        identity = case_id(self._item, how.label)
        if self._turns is not None:
            self._turns.wait(identity, BEGIN)  # the whole of it, since its variants go by turns already
        try:
            compared = compare(
                asked,
                reference,
                comparison_id=identity,
                argument=how.argument,
                confidence=how.confidence,
                precision_rel=how.precision_rel,
                seed=self._settings.seed,
                drive=self._drive(),
                progress=self._progress,
                measurements=self.measurements,
                comparisons=self.comparisons,
                metrics=metrics,
                float64=how.float64,
                probe=how.probe or self._settings.probe,
                prompts=how.prompts,
            )
        finally:
            if self._turns is not None:
                self._turns.wait(identity, END)
        if not self._relatives:  # the table is that of the session, not of a process that confirms it
            write_table(compared.comparison, how)
        return compared

    def _measurement(
        self, plan: Plan, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CaseMeasurement | PlannedMeasurement:
        if plan.definition.planned:
            from pytest_diffbench.plan.measurement import PlannedMeasurement

            self._time_nothing()
            return PlannedMeasurement(plan, target, args, kwargs)
        from pytest_diffbench.measure.runner import Measurement

        return CaseMeasurement(Measurement(plan, target, args, kwargs))

    def _plan(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str | None
    ) -> tuple[Plan, dict[str, Any]]:
        from pytest_diffbench.measure import definition
        from pytest_diffbench.measure.argument_values import describe
        from pytest_diffbench.measure.runner import Plan

        identity = case_id(self._item, label)
        if any(before.case_id == identity for before, _ in self.measurements):
            raise MeasureError(
                f"{identity} has already been measured. Another call in the same test needs its own label: "
                "diffbench(pipeline, ..., label='second')."
            )
        loaded = self._about(target)
        given = definition.bind(target, args, kwargs)
        arguments = self._with_recommended(target, given)
        kwargs = kwargs | {name: value for name, value in arguments.items() if name not in given}
        device, call_definition = definition_of(target, loaded, describe(arguments), self._settings)
        rounds = self._settings.rounds
        plan = Plan(
            case_id=identity,
            device=device,
            definition=call_definition,
            rounds=LEAST_ROUNDS if rounds == AUTO else int(rounds),
            enough=are_enough if rounds == AUTO else None,
            warmup_rounds=self._settings.warmup_rounds,
            threads=threads_of(device, call_definition, self._settings),
            plain_call=self._settings.save,
            profile_again=not self._settings.save,
            output_only=self._output_only,
            relatives=self._relatives,
            workers=getattr(self._item.config, "workerinput", {}).get("workercount", 1),
            facts=self._facts,
            trace_file=trace_file(self._item.config, self._settings.profile, identity, call_definition),
        )
        return plan, kwargs

    def _drive(self) -> Drive:
        from pytest_diffbench.measure.rounds import drive_plainly

        benchmark = self._benchmark
        if benchmark is None or self.measurements:
            return drive_plainly  # pytest-benchmark has one row a test, which the first call has got

        def drive(
            prepare: Callable[[], None], run: Callable[[], None], finish: Callable[[], None], rounds: int
        ) -> None:
            if not callable(sys.getprofile() or print):
                benchmark.disabled = True  # it stops on its way back to a profiler in C, such as cProfile's
            if benchmark.disabled:
                # It runs one call and times nothing, yet warns where it isn't used.
                benchmark.pedantic(run, setup=prepare)
                finish()
                drive_plainly(prepare, run, finish, rounds - 1)
            else:
                benchmark.pedantic(run, setup=prepare, teardown=finish, rounds=rounds, iterations=1)

        return drive


def _is_free(benchmark: Any, item: pytest.Item) -> bool:
    """Whether pytest-benchmark's fixture is there to drive the rounds: it is its own, and the test doesn't use it."""
    own = hasattr(benchmark, "disabled") and hasattr(benchmark, "pedantic")  # pytest-codspeed has another
    return own and "benchmark" not in argument_names(item)
