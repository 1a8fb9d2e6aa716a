"""What one measuring session collects, and how a verdict becomes a test's outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.errors import DiffbenchError, MissingPipelineError, OptionError, PipelineError
from pytest_diffbench.items import is_benchmark
from pytest_diffbench.records import CaseReport, Comparison, Fact, PipelineSpec
from pytest_diffbench.records.facts import environment_facts
from pytest_diffbench.report import junit
from pytest_diffbench.report.figures import was_saved
from pytest_diffbench.report.session_json import Finished
from pytest_diffbench.session import loading, saved_afresh
from pytest_diffbench.session.bench import Bench
from pytest_diffbench.session.collection import MISSING, SETTINGS, settle
from pytest_diffbench.session.combinations import refuse_combinations
from pytest_diffbench.session.lending import free_device_memory
from pytest_diffbench.session.other_environment import OtherEnvironment
from pytest_diffbench.session.progress_line import ProgressLine
from pytest_diffbench.session.results import Results
from pytest_diffbench.session.verdicts import (
    Concluded,
    Evidence,
    conclude,
    conclude_against,
    incomplete,
    wants_profile,
)
from pytest_diffbench.session.writable import refuse_unwritable
from pytest_diffbench.settings import options
from pytest_diffbench.store import MOST_NEIGHBOURS, Store
from pytest_diffbench.workers.budget import budget_of
from pytest_diffbench.workers.confirming import Confirming
from pytest_diffbench.workers.launch import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pytest_diffbench.records import Observation, Run
    from pytest_diffbench.records.artifacts import Artifacts
    from pytest_diffbench.session.selftest import SelftestSession
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.workers.turns import TurnClient

BENCH = pytest.StashKey[Bench]()
_CASES = pytest.StashKey[list[CaseReport]]()
_COMPARISONS = pytest.StashKey[list[Comparison]]()
_BEGAN_S = pytest.StashKey[float]()
_ATTEMPTS = pytest.StashKey[int]()
_REPORT = pytest.StashKey[pytest.TestReport]()


def session_of(config: pytest.Config) -> DiffbenchSession:
    """The running session. Fixtures are only reached while there is one."""
    session = config.pluginmanager.get_plugin("diffbench-session")
    assert isinstance(session, DiffbenchSession)
    return session


class DiffbenchSession:
    """Registered as a plugin while `--diffbench` is on."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failed: set[str] = set()
        self._facts: dict[str, Fact] | None = None
        self._progress = ProgressLine(config)
        self._turns: TurnClient | None = None
        self._output_only = False
        self._decisions = 1
        self._longest_setup_s = 0.0
        self._neighbours: dict[str, Mapping[str, Sequence[Run]]] = {}
        self._saved: set[str] = set()
        self._launcher = Launcher(config)
        try:
            self._settings = options.resolve(config, {}, "pytest")
            refuse_combinations(self._settings, parallel=options.is_parallel(config))
            if not hasattr(config, "workerinput") and not config.getoption("collectonly", default=False):
                refuse_unwritable(config, self._settings)
            self._models = loading.models_folder(self._settings)
        except OptionError as error:
            raise pytest.UsageError(str(error)) from None
        self._pipelines = loading.Pipelines(
            lambda spec: config.hook.pytest_diffbench_load_pipeline(spec=spec, config=config), self._models
        )
        self._budget = budget_of(
            self._settings.max_time, comparing=self._settings.selftest or self._settings.against is not None
        )
        self._other: OtherEnvironment | SelftestSession | None = None
        if self._settings.selftest:
            from pytest_diffbench.session.selftest import SelftestSession

            self._other = SelftestSession(config, self._launcher, self._budget)
            config.pluginmanager.register(self._other, "diffbench-selftest")
        elif self._settings.against is not None:
            self._other = OtherEnvironment(config, self._settings, self._launcher, self._budget)
            config.pluginmanager.register(self._other, "diffbench-against")
        self._typed = options.typed(config)
        self._store = Store(options.folder(config, self._settings.baselines))
        self._results = Results(config, self._settings, self._typed)
        config.pluginmanager.register(self._results, "diffbench-results")
        afresh = saved_afresh.SavedAfresh(
            self._launcher,
            self._budget,
            self._store,
            self._results.mark_refuted,
            self._pipelines.release,
            self._progress,
        )
        saved_afresh.register(config, self._settings, afresh)

    # -- collection

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Check every marker, and bring tests of one pipeline together so that it is loaded once."""
        places = [i for i, item in enumerate(items) if is_benchmark(item)]
        if not places:
            return
        try:
            absent = {id(items[i]) for i in places if not settle(self._config, items[i])}
        except (OptionError, PipelineError) as error:
            if hasattr(self._config, "workerinput"):
                # A worker's usage error is told nowhere: it dies of it. This is what its report at the end carries.
                session.shouldfail = str(error)
                raise session.Failed(session.shouldfail) from None
            raise pytest.UsageError(str(error)) from None
        self._decisions = max(len(places) - len(absent), 1)
        self._progress.expect(self._decisions)
        order = loading.grouped([items[i].stash[SETTINGS] for i in places])
        benchmarks = [items[places[i]] for i in order]
        for i, item in zip(places, benchmarks, strict=True):
            items[i] = item
        if self._other is not None:
            self._other.tests = [(item, item.stash[SETTINGS]) for item in benchmarks if id(item) not in absent]

    # -- fixtures

    def _settings_of(self, item: pytest.Item) -> Settings:
        """The settings that a test got when it was collected."""
        if SETTINGS not in item.stash:
            pytest.fail(
                f"{item.nodeid} asks for a fixture of diffbench while it runs, so nothing showed before that it is a "
                "benchmark. Add the marker diffbench: @pytest.mark.diffbench().",
                pytrace=False,
            )
        return item.stash[SETTINGS]

    def bench_for(self, item: pytest.Item, benchmark: Any) -> Bench:
        """The object behind the `diffbench` fixture of one test."""
        bench = Bench(
            item,
            self._settings_of(item),
            benchmark=benchmark,
            about=self._pipelines.about,
            facts=self._environment_facts(),
            progress=self._progress_of(item),
            wants_profile=functools.partial(self._wants_profile, item),
            turns=self._turns,
            output_only=self._output_only,
        )
        item.stash[BENCH] = bench
        return bench

    def _wants_profile(self, item: pytest.Item, observation: Observation, artifacts: Artifacts) -> bool:
        if self._other is not None:
            return False  # nothing stored is compared with
        return wants_profile(
            observation,
            artifacts,
            store=self._store,
            settings=item.stash[SETTINGS],
            evidence=self._evidence(observation, self._decisions),  # how many more cases come isn't known yet
        )

    def pipeline_for(self, item: pytest.Item) -> Any:
        """The pipeline that a test's marker asks for."""
        settings = self._settings_of(item)
        try:
            return self._pipelines.get(settings, item.nodeid)
        except DiffbenchError as error:
            ending = self._ending(item, error)
        raise ending  # out here, so that the error isn't told twice

    def _ending(self, item: pytest.Item, error: DiffbenchError) -> BaseException:
        """What a test ends with in place of an error: the one sentence that it is, not its cause and consequence."""
        if isinstance(error, MissingPipelineError) and not self._settings.strict:
            item.stash[MISSING] = True
            return pytest.skip.Exception(str(error))
        return pytest.fail.Exception(str(error), pytrace=False)

    @pytest.hookimpl(trylast=True)
    def pytest_diffbench_load_pipeline(self, spec: PipelineSpec) -> Any:
        """Load a registered model."""
        from pytest_diffbench.pipelines.loader import load

        return load(spec, self._models, download=self._settings.download)

    def _environment_facts(self) -> dict[str, Fact]:
        if self._facts is None:
            try:
                self._facts = environment_facts(self._config.hook.pytest_diffbench_environment(config=self._config))
            except OptionError as error:
                raise pytest.fail.Exception(str(error), pytrace=False) from None
        return self._facts

    # -- running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let go of the resident pipeline before a test that brings its own."""
        item.stash[_BEGAN_S] = time.monotonic()
        item.stash[_ATTEMPTS] = item.stash.get(_ATTEMPTS, 0) + 1
        item.stash[_CASES], item.stash[_COMPARISONS] = [], []
        item.user_properties[:] = [
            user_property for user_property in item.user_properties if not junit.is_own(user_property)
        ]
        self._failed.discard(item.nodeid)  # which may be run again
        if is_benchmark(item) and "diffbench_pipeline" not in getattr(item, "fixturenames", ()):
            self._pipelines.release()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Judge what the test measured, after its own assertions; fail it where something got worse."""
        began_s = item.stash.get(_BEGAN_S, time.monotonic())
        item.stash[_BEGAN_S] = time.monotonic()
        self._longest_setup_s = max(self._longest_setup_s, item.stash[_BEGAN_S] - began_s)
        try:
            outcome = yield
        except KeyboardInterrupt:
            self._keep_interrupted(item, self._conclude(item, failed=True))
            raise
        except DiffbenchError as error:
            self._conclude(item, failed=True)
            raise self._ending(item, error) from None
        except BaseException:
            self._conclude_failed(item)
            raise
        if getattr(item, "_excinfo", None):  # unittest's failures, told in place of what would be raised here
            self._conclude_failed(item)
            return outcome
        broken = item.nodeid in self._failed  # by subtests, whose failures aren't raised
        concluded = self._conclude(item, failed=broken)
        if BENCH in item.stash and not concluded and not broken:
            pytest.fail(
                f"{item.nodeid} asks for the fixture diffbench and measures nothing: a benchmark that can't fail. "
                "Call diffbench(pipeline, ...), or don't ask for it.",
                pytrace=False,
            )
        failures = [conclusion.failure for conclusion in concluded if conclusion.failure]
        if failures:
            pytest.fail("\n\n".join(failures), pytrace=False)
        return outcome

    def _conclude_failed(self, item: pytest.Item) -> None:
        """Conclude a test that failed by itself; what got worse besides stands beside its own words."""
        for conclusion in self._conclude(item, failed=True):
            if conclusion.failure:
                item.add_report_section("call", "diffbench", conclusion.failure)

    def _conclude(self, item: pytest.Item, *, failed: bool) -> list[Concluded]:
        bench = item.stash.get(BENCH, None)
        if bench is None:
            return []
        self._progress.finish()
        observed = [
            (measurement.observation(complete=problem is None), measurement.artifacts(), problem)
            for measurement, problem in bench.measurements
        ]
        targets = [measurement.target for measurement, _ in bench.measurements]
        for comparison in bench.comparisons:
            item.user_properties.extend(junit.comparison_properties(comparison))
        item.stash[_COMPARISONS] = list(bench.comparisons)
        bench.measurements.clear()
        bench.comparisons.clear()
        concluded: list[Concluded] = []
        # A test's share of the error budget is one, however many cases have it.
        decisions = self._decisions * max(1, sum(problem is None for *_, problem in observed))
        with contextlib.ExitStack() as room:
            room.callback(self._progress.finish)
            confirming = self._confirming(item, targets, room)
            for observation, artifacts, problem in observed:
                if problem is not None:
                    conclusion = incomplete(observation, problem)
                else:
                    conclusion = self._judged(item, observation, artifacts, confirming, failed, decisions)
                concluded.append(conclusion)
                self._config.hook.pytest_diffbench_outcome(report=conclusion.report, config=self._config)
                item.user_properties.extend(junit.properties(conclusion.report))
        item.stash[_CASES] = [conclusion.report for conclusion in concluded]
        if (attempts := item.stash.get(_ATTEMPTS, 1)) > 1:
            item.user_properties.append(("diffbench.attempts", str(attempts)))
        if _REPORT in item.stash:
            # Of an attempt before, which a plugin may log once more for this one.
            self._hand_over(item, item.stash[_REPORT])
        if confirming.interrupted:
            self._keep_interrupted(item, concluded)
            raise KeyboardInterrupt
        return concluded

    def _keep_interrupted(self, item: pytest.Item, concluded: Sequence[Concluded]) -> None:
        """Keep the cases of a test that was interrupted, which has no report to travel with."""
        self._results.add(Finished(test=item.nodeid, cases=tuple(conclusion.report for conclusion in concluded)))

    def _judged(
        self,
        item: pytest.Item,
        observation: Observation,
        artifacts: Artifacts,
        confirming: Confirming,
        failed: bool,
        decisions: int,
    ) -> Concluded:
        if isinstance(self._other, OtherEnvironment):
            return conclude_against(
                observation,
                artifacts,
                self._other.of(observation.case.id),
                settings=item.stash[SETTINGS],
                nodeid=item.nodeid,
                decisions=decisions,
            )
        notes: list[str] = []
        case = observation.case.id
        concluded = conclude(
            observation,
            artifacts,
            store=self._store,
            settings=item.stash[SETTINGS],
            nodeid=item.nodeid,
            failed=failed,
            saved_before=case in self._saved,
            typed=self._typed,
            evidence=dataclasses.replace(
                self._evidence(observation, decisions), more=confirming.source(observation.case, notes), notes=notes
            ),
        )
        if was_saved(concluded.report):
            self._saved.add(case)
        return concluded

    def _evidence(self, observation: Observation, decisions: int) -> Evidence:
        """What other cases tell about one."""
        machine = observation.run.environment.machine
        return Evidence(decisions=decisions, neighbours=lambda: self._neighbours_of(machine))

    def _confirming(self, item: pytest.Item, targets: list[Any], room: contextlib.ExitStack) -> Confirming:
        """Fresh processes for a test. The first of them is given the device's memory."""
        settings = item.stash[SETTINGS]
        parallel = hasattr(self._config, "workerinput")  # where time isn't judged

        return Confirming(
            self._launcher,
            self._budget,
            item,
            most=0 if parallel else settings.confirm,
            first_s=self._longest_setup_s + time.monotonic() - item.stash.get(_BEGAN_S, time.monotonic()),
            make_room=lambda: free_device_memory(self._pipelines, item, targets, room),
            progress=lambda *arguments: self._progress_of(item)(*arguments),  # noqa: PLW0108 - begins a line, so not before it's told
        )

    def _neighbours_of(self, machine: str) -> Mapping[str, Sequence[Run]]:
        if machine not in self._neighbours:
            self._neighbours[machine] = self._store.runs(machine, MOST_NEIGHBOURS)
        return self._neighbours[machine]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Hand the cases over with the test's report."""
        report = yield
        if is_benchmark(item):
            if call.when == "call":
                item.stash[_REPORT] = report
            self._hand_over(item, report)
        return report

    def _hand_over(self, item: pytest.Item, report: pytest.TestReport) -> None:
        cases: list[CaseReport] = []
        comparisons: list[Comparison] = []
        if report.when == "call":
            cases, comparisons = item.stash.get(_CASES, cases), item.stash.get(_COMPARISONS, comparisons)
        report.user_properties[:] = item.user_properties
        self._results.hand_over(
            report,
            cases,
            comparisons,
            missing=item.stash.get(MISSING, False),
            attempts=item.stash.get(_ATTEMPTS, 1),
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the cases of a finished test, and remember subtests that failed in one that still runs."""
        if report.when == "call" and report.failed:
            self._failed.add(report.nodeid)
        self._results.take(report)

    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the session is a part, and what of the rest is known."""
        self._results.interrupted = True
        if isinstance(self._other, OtherEnvironment):
            reached = {case.observation.case.id for case in self._results.report().cases}
            for case in self._other.unreached(reached):
                self._results.add(Finished(test=case.observation.case.id, cases=(case,)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give memory back and write the session's file."""
        self._results.interrupted |= session.exitstatus == pytest.ExitCode.INTERNAL_ERROR
        self._results.interrupted |= bool(
            session.shouldfail or session.shouldstop
        )  # by -x, --maxfail, or another plugin
        self._pipelines.release()
        self._launcher.close()
        if hasattr(self._config, "workerinput"):
            return
        if not self._results.end() and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _progress_of(self, item: pytest.Item) -> Callable[[str, int, int], None]:
        settings = item.stash[SETTINGS]
        label = f"{settings.model or 'own pipeline'} {settings.weights}"
        return self._progress.start(item.name, label, item.nodeid)
