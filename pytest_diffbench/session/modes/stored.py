"""The usual mode: cases are held against stored baselines, or saved as such."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.report.figures import was_saved
from pytest_diffbench.session import saved_afresh
from pytest_diffbench.session.expected import expected_s
from pytest_diffbench.session.lending import free_device_memory
from pytest_diffbench.session.mode import Conclusion, MeasuredCase, MeasuredTest, Mode
from pytest_diffbench.session.verdicts import Concluded, Evidence, conclude, incomplete, wants_profile
from pytest_diffbench.settings import options
from pytest_diffbench.store import MOST_PEERS, Store
from pytest_diffbench.workers.confirming import Confirming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_diffbench.records import Observation, Probe, Run
    from pytest_diffbench.records.artifacts import Artifacts
    from pytest_diffbench.session.context import Context
    from pytest_diffbench.settings.options import Settings


class StoredBaselines(Mode):
    """Holds cases against stored baselines, buys runs that may decide, and saves.

    Args:
        context: the session's.
    """

    probes = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = Store(options.folder(context.config, context.settings.baselines))
        self._peer_runs: dict[str, Mapping[str, Sequence[Run]]] = {}
        self._saved: set[str] = set()
        afresh = saved_afresh.SavedAfresh(
            context.launcher,
            context.budget,
            self._store,
            context.results.mark_refuted,
            context.pipelines.release,
            context.progress,
        )
        saved_afresh.register(context.config, context.settings, afresh)

    def begin(self, tests: Sequence[tuple[pytest.Item, Settings]]) -> None:
        """Look how long the tests took before."""
        config = self._context.config
        shown = config.getoption("verbose", default=-1) >= 0  # without a terminal there is no such option
        if shown and not (self._context.is_parallel_worker or config.option.collectonly):
            self.expected_s = expected_s(tests, self._peer_runs_of)

    def wants_profile(self, settings: Settings, observation: Observation, artifacts: Artifacts) -> bool:
        """Where time is worse, may be, or has no profile in its baseline."""
        # How many more cases the test will have isn't known yet.
        evidence = self._evidence(observation, self._context.benchmarks)
        return wants_profile(observation, artifacts, store=self._store, settings=settings, evidence=evidence)

    def earlier_probe(self, observation: Observation) -> Probe | None:
        """That of the baseline, if it is of this machine."""
        with contextlib.suppress(BaselineError):  # told when the case is judged
            reference = self._store.find(observation.case, observation.run.environment)
            if reference is not None and reference.distance == "machine":
                return reference.baseline.probe
        return None

    def conclude(self, test: MeasuredTest) -> Conclusion:
        """Judge each case, and save it where that was asked for."""
        with contextlib.ExitStack() as room:
            room.callback(self._context.progress.finish)
            confirming = self._confirming(test, room)
            concluded = [
                incomplete(case.observation, case.problem)
                if case.problem is not None
                else self._judged(test, case, confirming)
                for case in test.cases
            ]
        return Conclusion(concluded, interrupted=confirming.interrupted)

    def _judged(self, test: MeasuredTest, case: MeasuredCase, confirming: Confirming) -> Concluded:
        notes: list[str] = []
        observation = case.observation
        concluded = conclude(
            observation,
            case.artifacts,
            store=self._store,
            settings=test.settings,
            nodeid=test.item.nodeid,
            failed=test.failed,
            saved_before=observation.case.id in self._saved,
            typed=self._context.typed,
            evidence=dataclasses.replace(
                self._evidence(observation, test.family_size),
                more=confirming.source(observation.case, notes),
                notes=notes,
            ),
        )
        if was_saved(concluded.report):
            self._saved.add(observation.case.id)
        return concluded

    def _evidence(self, observation: Observation, family_size: int) -> Evidence:
        """What other cases tell about one."""
        machine = observation.run.environment.machine
        return Evidence(family_size=family_size, peer_runs=lambda: self._peer_runs_of(machine))

    def _peer_runs_of(self, machine: str) -> Mapping[str, Sequence[Run]]:
        if machine not in self._peer_runs:
            self._peer_runs[machine] = self._store.runs(machine, MOST_PEERS)
        return self._peer_runs[machine]

    def _confirming(self, test: MeasuredTest, room: contextlib.ExitStack) -> Confirming:
        """Fresh processes for a test. The first of them is given the device's memory."""
        context = self._context

        def progress(phase: str, done: int, total: int) -> None:
            context.progress_of(test.item, test.settings)(phase, done, total)  # begins a line, so not before

        return Confirming(
            context.launcher,
            context.budget,
            test.item,
            most=0 if context.is_parallel_worker else test.settings.confirm,  # where time isn't judged
            first_s=test.took_s,
            make_room=lambda: free_device_memory(context.pipelines, test.item, test.targets, room),
            progress=progress,
        )
