"""The order of a measurement: survey, layers, warm-up, timed rounds, and a profiled one where it is asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure import clock as host
from pytest_diffbench.measure import definition
from pytest_diffbench.measure.agreement import changed_call, follow_manner
from pytest_diffbench.measure.argument_values import identified_by_class
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.compiling import CompileMeter, compiled_s
from pytest_diffbench.measure.components import components_of, denoisers_of, sites_of
from pytest_diffbench.measure.environment import environment_of
from pytest_diffbench.measure.guidance import call_class_of
from pytest_diffbench.measure.layers import call_by_layers, timer_for_survey
from pytest_diffbench.measure.left_behind import ComponentStates, component_states, left_behind, weights_of
from pytest_diffbench.measure.matmul import matmul_facts
from pytest_diffbench.measure.memory import is_out_of_memory
from pytest_diffbench.measure.outputs import output_of
from pytest_diffbench.measure.pace import Pace, PaceReadings
from pytest_diffbench.measure.profiling import profile_call, release_host_memory
from pytest_diffbench.measure.rounds import Caller, TimedRound, drive_plainly
from pytest_diffbench.measure.state import preserved
from pytest_diffbench.measure.surveying import (
    Surveyed,
    SurveyedRound,
    count_call,
    survey_call,
    with_workspace,
)
from pytest_diffbench.measure.telemetry import TelemetryWatch
from pytest_diffbench.pipelines.devices import devices_of
from pytest_diffbench.pipelines.tuned import is_compiled
from pytest_diffbench.records import (
    Case,
    Definition,
    Fact,
    Guidance,
    LayerTimes,
    Memory,
    Observation,
    Profile,
    Round,
    Run,
    Warmup,
    Work,
)
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.stats.steadiness import doubt_about, still_falling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.survey import Survey

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read

Drive: TypeAlias = "Callable[[Callable[[], None], Callable[[], None], Callable[[], None], int], None]"
"""Runs `prepare, run, finish` a number of times: `drive(prepare, run, finish, rounds)`."""

Progress: TypeAlias = "Callable[[str, int, int], None]"
"""Is told `phase, done, total`."""

MOST_EXTRA_WARMUPS = 5
"""Calls that are made beyond `warmup_rounds` while the times still fall, or torch still compiles."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how.

    Attributes:
        case_id: test id, with the label of the call.
        device: torch device that the target runs on.
        definition: of the case, arguments included.
        rounds: timed rounds, at least 1.
        enough: given the times of all rounds so far, says whether they suffice; asked once `rounds` are made, and
            then after each. None to make just `rounds`.
        warmup_rounds: least number of calls before them, besides the survey and the pass over the layers; with 0
            there are none, else up to `MOST_EXTRA_WARMUPS` more until they are steady.
        threads: torch's threads on the CPU while measuring; None leaves them as they are.
        workers: test processes that run at once, this one among them.
        relatives: processes on the device that started this one.
        facts: the user's own facts of the environment.
        plain_call: make a call with nothing attached, to which the others are compared, though no warm-up is wanted.
        output_only: neither count nor time layers: what the call returns is wanted.
        profile: look where time goes, in one more call behind the timed rounds.
        profile_again: make a short call under the profiler once more, so that of each operator the quieter time is
            known; else a profile is of one call.
        trace_file: where that call's trace is written to, a gzipped Chrome trace; None for nowhere.
    """

    case_id: str
    device: str
    definition: Definition
    rounds: int = 5
    enough: Callable[[Sequence[float]], bool] | None = None
    warmup_rounds: int = 1
    threads: int | None = None
    workers: int = 1
    relatives: int = 0
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    plain_call: bool = False
    output_only: bool = False
    profile: bool = False
    profile_again: bool = True
    trace_file: Path | None = None


class Measurement:
    """One case being measured. What was seen so far can be had at any time, even after an interruption."""

    def __init__(
        self,
        plan: Plan,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        pace: Pace | None = None,
    ) -> None:
        host.refuse_standstill()
        self._plan = plan
        self._pace = pace or Pace(plan.device, plan.definition.dtype)
        self._pace_readings = PaceReadings(self._pace, plan.rounds)
        self._target = target
        self._arguments = definition.bind(target, args, kwargs)
        self._devices = devices_of(target, plan.device)
        self._clock = clock_for(*self._devices)
        self._caller = Caller(target, args, kwargs, plan.definition.seed, self._clock)
        self._sites = list(sites_of(target))
        self._run_id = uuid.uuid4().hex[:12]
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._environment = environment_of(plan.device, target, plan.facts, plan.threads, plan.workers)
        self._telemetry: TelemetryWatch | None = None
        self._telemetry_notes: tuple[str, ...] = ()
        self._compiling = CompileMeter()
        self._compiled_last = False
        self._extra_warmups_spent = False
        self._survey: Survey | None = None
        self._work: Work | None = None
        self._guidance: Guidance | None = None
        self._memory: Memory | None = None
        self._layers: LayerTimes | None = None
        self._layers_call_s: float | None = None
        self._profile: Profile | None = None
        self._warmup_s: list[float] = []
        self._rounds: list[Round] = []
        self._returned: list[Returned] = []
        self._untimed: list[Returned] = []
        self._notes: list[str] = []
        self._initial_states: ComponentStates = {}
        self._left_behind: tuple[str, ...] = ()

    @property
    def case_id(self) -> str:
        """Id of the case."""
        return self._plan.case_id

    @property
    def target(self) -> Any:
        """What is measured."""
        return self._target

    def take(self, drive: Drive, progress: Progress) -> None:
        """Measure. Raises whatever the target raises; a device that runs out of memory raises MeasureError."""
        with preserved(self._plan.threads):
            try:
                self._take(drive, progress)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                text = str(error).partition("\n")[0]
            else:
                return
            finally:
                self._caller.close()
                self._pace.release()
                self._end_telemetry()
        # Raised out here, so that nothing refers to the frames that hold the tensors, nor they to the device.
        self._caller = None  # type: ignore[assignment]  # this measurement is over
        raise MeasureError(
            f"{self._plan.case_id}: the device ran out of memory ({text}). Measured so far: {self._so_far()}. "
            "Use offload='model' or 'sequential' in the marker, a smaller image, or a smaller dtype."
        )

    def _take(self, drive: Drive, progress: Progress) -> None:
        plan = self._plan
        total = 3 + plan.warmup_rounds + plan.rounds
        # Before all else, so that its memory is given back by the time that anything is measured.
        reported = self._environment.hardware.get("device")
        self._add_state(matmul_facts(plan.device, plan.definition.dtype, reported))
        self._compiling.begin()
        self._initial_states = component_states(self._target)
        if not plan.output_only:
            self._take_passes(progress, total)
        for i in range(plan.warmup_rounds):
            progress(f"warm-up {i + 1}/{plan.warmup_rounds}", 3 + i, total)
            self._take_warmup()
        self._warm_up_until_steady(lambda i: progress(f"extra warm-up {i}", 2 + plan.warmup_rounds, total))
        self._compiling.end()
        timed_round = self._timed_round()
        telemetry = self._begin_telemetry()
        wanted = plan.rounds

        def prepare() -> None:
            done = len(self._rounds)
            before = 3 + plan.warmup_rounds
            progress(f"round {done + 1}/{wanted}", before + done, before + wanted)
            self._pace_readings.before_round()
            self._compiling.begin()
            timed_round.prepare()
            telemetry.before()

        def finish() -> None:
            around = telemetry.after()
            round_, returned = timed_round.finish(f"round {len(self._rounds) + 1}")
            self._compiling.end()
            round_ = msgspec.structs.replace(round_, telemetry=around)
            if len(self._rounds) < wanted:  # pytest-benchmark's profiler adds a call that isn't a round
                self._rounds.append(round_)
                self._keep(returned)

        drive(prepare, timed_round.run, finish, wanted)
        while plan.enough is not None and not plan.enough([round_.total_s for round_ in self._rounds]):
            wanted += 1
            drive_plainly(prepare, timed_round.run, finish, 1)
        self._pace_readings.after_rounds()
        if plan.plain_call and not self._warmup_s:
            self._untimed.append(self._call_plainly("warm-up")[1])
        self._refuse_changed_call()
        self._left_behind = left_behind(self._initial_states, component_states(self._target))
        if plan.profile or plan.trace_file is not None:
            progress("profile", total, total)
            self._take_profile()

    def take_profile(self) -> None:
        """Look where time goes, in further calls, after `take`: for a target that turned out slower.

        Never raises but for an interruption; a profile that was taken already isn't taken again.
        """
        if self._profile is None and self._caller is not None:
            with preserved(self._plan.threads, collect=False):
                try:
                    self._take_profile()
                finally:
                    self._caller.close()

    def observation(self, *, complete: bool) -> Observation:
        """All that was measured, as a record."""
        plan = self._plan
        return Observation(
            case=Case(id=plan.case_id, definition=plan.definition),
            run=Run(
                id=self._run_id,
                started=self._started,
                warmup_s=tuple(self._warmup_s),
                warmup=self._warmup(),
                rounds=tuple(self._rounds),
                pace_s=self._pace_readings.times_s,
                environment=self._environment,
            ),
            work=msgspec.structs.replace(self._work, compiled=dict(self._compiling.counts)) if self._work else None,
            guidance=self._guidance,
            output=output_of(
                self._survey,
                self._returned,
                self._untimed,
                drew_from=self._caller.drew_from if self._caller is not None else (),
                weights=weights_of(self._initial_states),
            ),
            memory=self._memory,
            layers=self._layers,
            profile=self._profile,
            remarks=(
                *identified_by_class(plan.definition.arguments),
                *(self._survey.remarks() if self._survey is not None else ()),
            ),
            left_behind=self._left_behind,
            complete=complete,
            notes=(*self._notes, *self._telemetry_notes, *self._pace_readings.notes),
        )

    def artifacts(self) -> Artifacts:
        """What the first timed round returned, and the survey's trace."""
        calls = self._returned or self._untimed
        return Artifacts(
            images=calls[0].pixels.arrays if calls else (),
            parts=tuple(part.kept.arrays for part in calls[0].parts) if calls else (),
            trace=self._survey.trace(calls[0].tensors if calls else ()) if self._survey is not None else {},
        )

    def _take_passes(self, progress: Progress, total: int) -> None:
        progress("survey", 0, total)
        self._take_survey()
        progress("count", 1, total)
        self._take_count()
        if self._layers is None:
            progress("layers", 2, total)
            self._take_layers()

    def _timed_round(self) -> TimedRound:
        common = self._caller, self._sites, self._clock
        if self._plan.output_only:
            return SurveyedRound(*common, self._target, self._devices, self._keep_survey)
        return TimedRound(*common)

    def _take_survey(self) -> None:
        layers = timer_for_survey(self._target, self._plan.device, self._clock)
        with layers.installed() if layers is not None else contextlib.nullcontext():
            surveyed = survey_call(self._caller, self._sites, self._target, self._devices)
        self._layers = layers.times() if layers is not None else None
        self._untimed.append(surveyed.returned)
        self._keep_survey(surveyed)

    def _keep_survey(self, surveyed: Surveyed) -> None:
        self._survey, self._memory, returned = surveyed
        if returned.no_images is not None and not returned.parts:
            self._notes.append(f"no images were returned: {returned.no_images}")
        if not components_of(self._target):
            self._notes.append("the target has no components: only its total time and its output were measured")
            return
        self._work = self._survey.work()
        facts = definition.resolved_facts(self._target, self._arguments)
        self._guidance = self._survey.guidance(self._plan.definition.pipeline, facts, call_class_of(self._target))
        expected = {"denoiser call": self._work.denoiser, "scheduler step": self._work.steps}
        self._notes += [f"no {name} was observed" for name, found in expected.items() if not found]

    def _take_count(self) -> None:
        if self._work is None or self._survey is None:
            return
        counted = count_call(self._caller, self._sites, self._target)
        self._work = counted.work
        self._memory = with_workspace(self._memory, counted.workspace_bytes)
        if not self._survey.take_flops_of(counted.survey):
            self._notes.append("work is that of the second call: the first call used the denoiser differently")

    def _take_layers(self) -> None:
        denoisers = denoisers_of(self._target)
        if not denoisers:
            return
        if any(is_compiled(module) for module in denoisers.values()):
            self._notes.append(
                "the denoiser is compiled: its time can't be split by layer without compiling it again"
            )
            return
        self._untimed.append(self._call_by_layers())

    def _call_by_layers(self) -> Returned:
        self._layers, self._layers_call_s, returned = call_by_layers(self._caller, self._target, self._clock)
        return returned

    def _take_warmup(self) -> None:
        before_s = compiled_s()
        took_s, returned = self._call_plainly(f"warm-up {len(self._warmup_s) + 1}")
        self._warmup_s.append(took_s)
        self._untimed.append(returned)
        self._compiled_last = compiled_s() != before_s

    def _call_plainly(self, name: str) -> tuple[float, Returned]:
        """Call the target with nothing attached to it, as its user does; returns how long that took, too."""
        round_, returned = TimedRound(self._caller, (), self._clock).once(name)
        return round_.total_s, returned

    def _refuse_changed_call(self) -> None:
        """Raise MeasureError where the target returns something else while it's observed."""
        calls = [*self._untimed, *self._returned]
        if follow_manner(
            calls,
            {
                "survey": lambda: survey_call(self._caller, self._sites, self._target, self._devices).returned,
                "layers": self._call_by_layers,
                "warm-up": lambda: self._call_plainly("warm-up")[1],
                "round": lambda: TimedRound(self._caller, self._sites, self._clock).once("round")[1],
            },
        ):
            raise MeasureError(f"{self._plan.case_id}: {changed_call(calls)}")

    def _warm_up_until_steady(self, progress: Callable[[int], None]) -> None:
        if not self._warmup_s:
            return  # none were wanted
        # The pass over the layers is a call, too; its hooks are far less than what counts as falling.
        times_s = [*([self._layers_call_s] if self._layers_call_s is not None else []), *self._warmup_s]
        for i in range(MOST_EXTRA_WARMUPS):
            if not (self._compiled_last or still_falling(times_s)):
                return
            progress(i + 1)
            self._take_warmup()
            times_s.append(self._warmup_s[-1])
        self._extra_warmups_spent = self._compiled_last or still_falling(times_s)

    def _warmup(self) -> Warmup | None:
        if not self._warmup_s and not self._rounds:
            return None
        # The last warm-up is one of the steady calls already, and six times show a drift that five can't.
        doubt = doubt_about([*self._warmup_s[-1:], *(round_.total_s for round_ in self._rounds)])
        if doubt is None and self._extra_warmups_spent:
            doubt = f"still warming up after {len(self._warmup_s)} calls"
        return Warmup(
            rounds=len(self._warmup_s),
            steady=doubt is None,
            doubt=doubt,
            compile_s=self._compiling.total_s or None,
        )

    def _begin_telemetry(self) -> TelemetryWatch:
        self._telemetry = TelemetryWatch(self._plan.device, self._plan.relatives)
        self._add_state(self._telemetry.facts())
        return self._telemetry

    def _add_state(self, facts: Mapping[str, Fact]) -> None:
        if facts:
            state = self._environment.state | dict(facts)
            self._environment = msgspec.structs.replace(self._environment, state=state)

    def _end_telemetry(self) -> None:
        if self._telemetry is not None:
            self._telemetry_notes = self._telemetry.notes
            self._telemetry.close()

    def _take_profile(self) -> None:
        plan = self._plan
        self._profile, note = profile_call(
            self._caller, self._sites, plan.device, plan.trace_file, again=plan.profile_again
        )
        release_host_memory()
        if note is not None:
            self._notes.append(note)

    def _keep(self, returned: Returned) -> None:
        # Only what differs is worth its memory; the first is the reference.
        if self._returned and returned.digest == self._returned[0].digest:
            first = self._returned[0].latents
            if first is None or returned.latents is None or (first == returned.latents).all():
                returned = dataclasses.replace(self._returned[0], call=returned.call)
        self._returned.append(returned)

    def _so_far(self) -> str:
        passes = [name for name, part in (("survey", self._survey), ("layers", self._layers)) if part]
        return ", ".join([*passes, f"{len(self._rounds)} rounds"])
