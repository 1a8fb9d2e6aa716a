"""`--diffbench-against`: cases are held against what another environment measures in the same session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import MeasureError, OptionError, PipelineError
from pytest_diffbench.items import case_id
from pytest_diffbench.judge import judge_pairs, wants_runs
from pytest_diffbench.session.mode import Conclusion, MeasuredTest, Mode
from pytest_diffbench.session.thresholds import limits_of
from pytest_diffbench.session.verdicts import conclude_against, incomplete, interrupted_against
from pytest_diffbench.settings import options
from pytest_diffbench.workers import turns
from pytest_diffbench.workers.against import Against, Other
from pytest_diffbench.workers.interpreter import checked_interpreter

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence

    from pytest_diffbench.records import CaseReport, Observation, Probe
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.workers.budget import Budget
    from pytest_diffbench.workers.launch import Launcher, ProcessResult


class OtherEnvironment(Mode):
    """Measures pairs of processes, one of each environment, before the session's own tests run.

    Args:
        config: pytest's.
        settings: of the session.
        launcher: starts the processes.
        budget: their time.

    Raises:
        UsageError: the other environment can't be used.
    """

    probes = True

    def __init__(self, config: pytest.Config, settings: Settings, launcher: Launcher, budget: Budget) -> None:
        self._tests: Sequence[tuple[pytest.Item, Settings]] = ()
        self._config = config
        name = settings.against or ""
        try:
            interpreter = checked_interpreter(name, config.invocation_params.dir)
        except OptionError as error:
            raise pytest.UsageError(str(error)) from None
        limits = limits_of(settings)
        most = limits.time_max_pairs + limits.time_spare_pairs
        self._against = Against(launcher, budget, interpreter, pairs=settings.pairs, most=most, notify=self._notify)

    def begin(self, tests: Sequence[tuple[pytest.Item, Settings]]) -> None:
        """Learn which tests both environments are to run."""
        self._tests = tests

    def earlier_probe(self, observation: Observation) -> Probe | None:
        """That of the other environment."""
        reference = self._against.of(observation.case.id).reference
        return reference.baseline.probe if reference is not None else None

    def conclude(self, test: MeasuredTest) -> Conclusion:
        """Hold each case against what the other environment has of it."""
        return Conclusion(
            [
                incomplete(case.observation, case.problem)
                if case.problem is not None
                else conclude_against(
                    case.observation,
                    case.artifacts,
                    self._against.of(case.observation.case.id),
                    settings=test.settings,
                    nodeid=test.item.nodeid,
                    family_size=test.family_size,
                    failed=test.failed,
                )
                for case in test.cases
            ]
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Measure both environments before anything is loaded here."""
        broken = session.testsfailed and not self._config.getoption("continue_on_collection_errors")
        if not broken and not self._config.getoption("collectonly"):
            by_turns = self._goes_by_turns()
            try:
                self._against.measure(
                    [item for item, _ in self._tests],
                    self._undecided,
                    by_turns=by_turns is True,
                    has_room=_has_room if by_turns is None else None,
                )
            except MeasureError as error:
                raise pytest.UsageError(str(error)) from None
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Warn where both sides ran the same code."""
        shared = self._against.shared_modules
        if shared:
            terminalreporter.write_line(
                f"{options.flag('against')}: both environments import {', '.join(shared)} from "
                f"{self._config.rootpath}, so differences in it have no effect. Install it in both environments, "
                "and keep it off "
                "the tests' import path.",
                yellow=True,
            )

    def unreached(self, reached: Collection[str]) -> list[CaseReport]:
        """What the pairs tell of the cases that an interrupted session didn't come to; it came to those `reached`."""
        return [
            interrupted_against(other, other.observed, settings, family_size)
            for _, settings, cases, family_size in self._paired()
            for case, other in cases.items()
            if case not in reached and other.pairs and other.observed is not None and "time" in settings.gates
        ]

    def _goes_by_turns(self) -> bool | None:
        """Whether the two processes of a pair run at once; None where the first pair tells whether there is room."""
        all_settings = [settings for _, settings in self._tests]
        wanted = next((settings.turns for settings in all_settings), "processes")
        if wanted != "auto":
            return wanted == "rounds"
        if not turns.SUPPORTED:
            return False
        from pytest_diffbench.pipelines.loader import resolve_device

        try:
            if {resolve_device(settings.device) for settings in all_settings} != {"cpu"}:
                return False
        except PipelineError:
            return False  # which the test that asks for it tells
        small = all(settings.weights in ("mini", "plan") for settings in all_settings)
        fixtures = [getattr(item, "fixturenames", ()) for item, _ in self._tests]
        return True if small and all("diffbench_pipeline" in names for names in fixtures) else None

    def _undecided(self) -> list[pytest.Item]:
        """Tests of which a further pair may decide a case."""
        return [
            item
            for item, settings, cases, family_size in self._paired()
            if "time" in settings.gates
            and any(self._is_undecided(case, settings, family_size) for case in cases.values())
        ]

    def _paired(self) -> Iterator[tuple[pytest.Item, Settings, dict[str, Other], int]]:
        """Each test with its cases, and how many parts the session's error budget is cut into for one of them."""
        all_cases = self._against.cases
        for item, settings in self._tests:
            test = case_id(item, None)
            cases = {
                all_case: self._against.of(all_case)
                for all_case in all_cases
                if all_case == test or all_case.startswith(f"{test}#")
            }
            yield item, settings, cases, len(self._tests) * len(cases)

    @staticmethod
    def _is_undecided(other: Other, settings: Settings, family_size: int) -> bool:
        if not other.pairs:
            return False
        family = other.pairs[0][1].environment.family
        return wants_runs(
            judge_pairs(
                other.pairs, limits_of(settings), family_size, family, other.peer_pairs, by_turns=other.by_turns
            )
        )

    def _notify(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.get_verbosity() >= 0:
            reporter.write_line(f"diffbench: {text}")


_ROOM_REL = 1.25
"""Of what both processes took one after the other, which is to be free for both at once."""


def _has_room(processes: Sequence[ProcessResult]) -> bool:
    """Whether the memory has room for processes at once that ran one after the other."""
    from pytest_diffbench.pipelines.free_memory import free_bytes

    free = free_bytes("cpu")
    memories = [[case.observation.memory for case in process.measured] for process in processes]
    peaks = [max((memory.peak_bytes for memory in known if memory is not None), default=0) for known in memories]
    return free is not None and all(peaks) and _ROOM_REL * sum(peaks) <= free
