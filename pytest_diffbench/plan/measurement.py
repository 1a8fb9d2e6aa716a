"""A case whose pipeline has blank weights: its work and its guided steps, and nothing that would need values."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import definition
from pytest_diffbench.measure.guidance import call_class_of
from pytest_diffbench.measure.state import preserved
from pytest_diffbench.plan.planning import plan_call
from pytest_diffbench.plan.record import planned_software
from pytest_diffbench.records import Case, Environment, Guidance, Observation, Run, Work
from pytest_diffbench.records.artifacts import Artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_diffbench.measure.runner import Drive, Plan, Progress

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read

MACHINE = "plan"
"""Stands where the name of a machine does: a plan is the same on all of them."""

_NOTE = "planned without weights: no time, memory or image, since no values were computed"


class PlannedMeasurement:
    """What `runner.Measurement` is for a pipeline that runs."""

    def __init__(
        self, plan: Plan, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._plan = plan
        self._target = target
        self._args = args
        self._kwargs = kwargs
        self._arguments = definition.bind(target, args, kwargs)
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._environment = Environment(
            machine=MACHINE,
            family=MACHINE,
            hardware={},
            settings={},
            software=planned_software(target) | dict(plan.facts),
            state={},
        )
        self._work: Work | None = None
        self._guidance: Guidance | None = None
        self._notes = [_NOTE]

    @property
    def case_id(self) -> str:
        """Id of the case."""
        return self._plan.case_id

    @property
    def target(self) -> Any:
        """What is called."""
        return self._target

    def take(self, _drive: Drive, progress: Progress) -> None:
        """Plan the call. Raises NotPlannableError where it needs values, and whatever the target raises."""
        progress("plan", 0, 1)
        with preserved(self._plan.threads):
            survey, _, _ = plan_call(self._target, self._args, self._kwargs, self._plan.definition.seed)
        self._work = survey.work()
        facts = definition.resolved_facts(self._target, self._arguments)
        self._guidance = survey.guidance(self._plan.definition.pipeline, facts, call_class_of(self._target))
        if not self._work.denoiser:
            self._notes.append("no denoiser call was observed")
        if not self._work.steps:
            self._notes.append("no scheduler step was observed")

    def take_profile(self) -> None:
        """Nothing ran, so there is nowhere that time goes."""

    def observation(self, *, complete: bool) -> Observation:
        """All that was seen, as a record. Its run has no rounds."""
        return Observation(
            case=Case(id=self._plan.case_id, definition=self._plan.definition),
            run=Run(id=uuid.uuid4().hex[:12], started=self._started, rounds=(), environment=self._environment),
            work=self._work,
            guidance=self._guidance,
            complete=complete,
            notes=tuple(self._notes),
        )

    def artifacts(self) -> Artifacts:
        """None: there is neither an image nor a trace."""
        return Artifacts()
