"""Measures a case once more in fresh processes, within a number and a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.items import case_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from pytest_diffbench.records import Case, Observation
    from pytest_diffbench.workers.budget import Budget
    from pytest_diffbench.workers.launch import Launcher, ProcessResult


class Confirming:
    """Further runs of the cases of one test.

    Several cases of a test come from each process, so the runs that one case has bought are there for the next.

    Args:
        launcher: starts the processes.
        budget: their time.
        item: the test.
        most: processes at most.
        first_s: time that the test took in this process, loading its pipeline included.
        make_room: gives the device's memory back, before the first process starts; says in words what couldn't be.
        progress: is told `phase, done, total`.
    """

    def __init__(
        self,
        launcher: Launcher,
        budget: Budget,
        item: pytest.Item,
        *,
        most: int,
        first_s: float,
        make_room: Callable[[], Sequence[str]],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._launcher = launcher
        self._budget = budget
        self._item = item
        self._most = most
        self._first_s = first_s
        self._make_room = make_room
        self._progress = progress
        self._processes: list[ProcessResult] = []
        self._over: str | None = None
        self._stayed: Sequence[str] = ()
        self.interrupted = False

    def source(self, case: Case, notes: list[str]) -> Callable[[], Observation | None]:
        """Where a case gets its further runs from.

        Args:
            case: as it was measured first.
            notes: is given what there is to tell of processes that died, and of what was in their way.
        """
        taken = 0

        def more() -> Observation | None:
            nonlocal taken
            while taken < self._most:
                if taken == len(self._processes) and not self._start():
                    if self._over is not None:
                        notes.append(self._over)
                    return None
                result = self._processes[taken]
                if not taken:
                    notes.extend(self._stayed)
                taken += 1
                observation = _observation_of(result, case)
                if not isinstance(observation, str):
                    return observation
                notes.append(
                    f"process {taken} of at most {self._most} to confirm the time gave no run: {observation}"
                )
            return None

        return more

    def _start(self) -> bool:
        """Run the test in one more process. False where there is no time for one, or somebody interrupts it."""
        if self.interrupted or self._over is not None:
            return False
        self._over = self._out_of_time(self._most - len(self._processes))
        if self._over is not None:
            return False
        number = len(self._processes) + 1
        phase = f"confirming its time: process {number} of at most {self._most}, each about {self._first_s:.0f} s"
        self._progress(phase, 0, 0)
        try:
            if not self._processes:
                self._stayed = self._make_room()
            with self._budget:
                result = self._launcher.launch([self._item], timeout_s=self._budget.timeout_s(self._first_s))
        except KeyboardInterrupt:
            self.interrupted = True
            return False
        except OSError as error:
            self._over = f"no process could be started to confirm the time: {error}"
            return False
        self._processes.append(result)
        if result.ended.status is None:
            # It would hang again, unless it was the time that was too short for it.
            self._over = self._out_of_time(self._most - len(self._processes) + 1) or (
                f"no more processes to confirm the time after one that didn't end in {case_id(self._item, None)}"
            )
        return True

    def _out_of_time(self, wanted: int) -> str | None:
        why = self._budget.too_little(self._first_s, processes=wanted)
        more = " more" if self._processes else ""
        return f"no{more} process to confirm the time: {why}" if why is not None else None


def _observation_of(result: ProcessResult, case: Case) -> Observation | str:
    """What a process has of a case, or why it has none."""
    from pytest_diffbench.judge import definition_changes

    measured = result.case(case.id)
    if isinstance(measured, str):
        return measured
    changed = definition_changes(case.definition, measured.observation.case.definition)
    if changed:
        return f"it measured another case: {', '.join(change.field for change in changed)} differ"
    observation: Observation = measured.observation
    return observation if observation.run.rounds else "it timed no rounds"
