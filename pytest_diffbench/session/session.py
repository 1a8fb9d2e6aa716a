"""A measuring session among pytest's hooks: which tests run, what their fixtures are, how a verdict ends a test."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_diffbench.errors import DiffbenchError, MissingPipelineError, OptionError, PipelineError
from pytest_diffbench.items import is_benchmark
from pytest_diffbench.report import junit
from pytest_diffbench.report.progress import rough_duration
from pytest_diffbench.report.session_json import Finished
from pytest_diffbench.report.units import format_count
from pytest_diffbench.session import attachments, loading
from pytest_diffbench.session.bench import Bench
from pytest_diffbench.session.collection import MISSING, SETTINGS, settle
from pytest_diffbench.session.context import Context, context_of
from pytest_diffbench.session.failures import fail, shorten
from pytest_diffbench.session.mode import MeasuredCase, MeasuredTest, Mode
from pytest_diffbench.session.modes import is_worker, mode_of
from pytest_diffbench.settings.pytest_private import has_failed_quietly

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pytest_diffbench.records import CaseReport, Comparison, PipelineSpec, Verification
    from pytest_diffbench.session.verdicts import Concluded
    from pytest_diffbench.settings.options import Settings


def begin(config: pytest.Config) -> None:
    """Begin a measuring session.

    Raises:
        UsageError: options can't be used, or not together.
    """
    # What a worker writes may be told as its last words.
    context = context_of(config, in_logs=not is_worker())
    mode = mode_of(context)
    config.pluginmanager.register(mode, "diffbench-mode")
    config.pluginmanager.register(DiffbenchSession(context, mode), "diffbench-session")
    if mode.reports:
        config.pluginmanager.register(context.results, "diffbench-results")


def session_of(config: pytest.Config) -> DiffbenchSession:
    """The running session. Fixtures are only reached while there is one."""
    session = config.pluginmanager.get_plugin("diffbench-session")
    assert isinstance(session, DiffbenchSession)
    return session


@dataclasses.dataclass(slots=True)
class Attempt:
    """A benchmark that is being run. Another plugin may run it again.

    Attributes:
        number: of the attempt, from 1.
        began_s: when its setup began, then its call.
        bench: the object behind its fixture, where it asks for one.
        cases: what it measured, judged.
        comparisons: what it compared.
        verifications: what it verified.
        report: of its call.
        extras: for a report of pytest-html.
        explained: ids of cases that the test's failure tells of.
    """

    number: int
    began_s: float
    bench: Bench | None = None
    cases: Sequence[CaseReport] = ()
    comparisons: Sequence[Comparison] = ()
    verifications: Sequence[Verification] = ()
    report: pytest.TestReport | None = None
    extras: Sequence[attachments.Extra] = ()
    explained: Sequence[str] = ()


_ATTEMPT = pytest.StashKey[Attempt]()


class DiffbenchSession:
    """Registered as a plugin while `--diffbench` is on.

    Args:
        context: what all parts of the session share.
        mode: what it measures for.
    """

    def __init__(self, context: Context, mode: Mode) -> None:
        self._context = context
        self._mode = mode
        self._failed: set[str] = set()
        self._longest_setup_s = 0.0

    # -- collection

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Check every marker, and bring tests of one pipeline together so that it is loaded once."""
        places = [i for i, item in enumerate(items) if is_benchmark(item)]
        if not places:
            return
        config = session.config
        try:
            absent = {id(items[i]) for i in places if not settle(config, items[i])}
        except (OptionError, PipelineError) as error:
            if self._context.is_parallel_worker:
                # A worker's usage error is told nowhere: it dies of it. This is what its report at the end carries.
                session.shouldfail = str(error)
                raise session.Failed(session.shouldfail) from None
            raise pytest.UsageError(str(error)) from None
        self._context.benchmarks = max(len(places) - len(absent), 1)
        self._context.progress.expect(self._context.benchmarks)
        order = loading.grouped([items[i].stash[SETTINGS] for i in places])
        benchmarks = [items[places[i]] for i in order]
        for i, item in zip(places, benchmarks, strict=True):
            items[i] = item
        self._mode.begin([(item, item.stash[SETTINGS]) for item in benchmarks if id(item) not in absent])

    def pytest_report_collectionfinish(self) -> str | None:
        """Tell how long the session will take, where that is known."""
        expected_s = self._mode.expected_s
        if expected_s is None:
            return None
        tests = format_count(self._context.benchmarks, "benchmark")
        return f"diffbench: {tests}, about {rough_duration(expected_s)} by earlier sessions on this class of machine"

    # -- fixtures

    def _settings_of(self, item: pytest.Item) -> Settings:
        """The settings that a test got when it was collected, as the mode measures with them."""
        if SETTINGS not in item.stash:
            pytest.fail(
                f"{item.nodeid} requests a fixture of diffbench at run time, so it wasn't recognised as a "
                f"benchmark. Add the marker: @pytest.mark.diffbench().",
                pytrace=False,
            )
        return self._mode.settings_of(item.stash[SETTINGS])

    def bench_for(self, item: pytest.Item, benchmark: Any) -> Bench:
        """The object behind the `diffbench` fixture of one test."""
        settings = self._settings_of(item)
        bench = Bench(
            item,
            settings,
            benchmark=benchmark,
            about=self._context.pipelines.about,
            facts=self._context.facts(),
            progress=self._context.progress_of(item, settings),
            wants_profile=functools.partial(self._mode.wants_profile, settings),
            earlier_probe=self._mode.earlier_probe if self._mode.probes else None,
            turns=self._mode.turns,
            output_only=self._mode.output_only,
            relatives=self._mode.relatives,
        )
        self._attempt(item).bench = bench
        return bench

    def pipeline_for(self, item: pytest.Item) -> Any:
        """The pipeline that a test's marker asks for."""
        settings = self._settings_of(item)
        try:
            pipeline = self._context.pipelines.get(settings, item.nodeid)
            self._mode.prepare(pipeline)
        except DiffbenchError as error:
            ending = self._ending(item, error)
        else:
            return pipeline
        raise ending  # out here, so that the error isn't told twice

    def _ending(self, item: pytest.Item, error: DiffbenchError) -> BaseException:
        """What a test ends with in place of an error: the one sentence that it is, not its cause and consequence."""
        if isinstance(error, MissingPipelineError) and not self._context.settings.strict:
            item.stash[MISSING] = True
            return pytest.skip.Exception(str(error))
        return pytest.fail.Exception(str(error), pytrace=False)

    @pytest.hookimpl(trylast=True)
    def pytest_diffbench_load_pipeline(self, spec: PipelineSpec) -> Any:
        """Load a registered model."""
        from pytest_diffbench.pipelines.loader import load

        return load(spec, self._context.models, download=self._context.settings.download)

    # -- running

    @staticmethod
    def _attempt(item: pytest.Item) -> Attempt:
        return item.stash.setdefault(_ATTEMPT, Attempt(1, time.monotonic()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let go of the resident pipeline before a test that brings its own."""
        before = item.stash.get(_ATTEMPT, None)
        item.stash[_ATTEMPT] = Attempt(1, time.monotonic())
        if before is not None:
            item.stash[_ATTEMPT] = Attempt(before.number + 1, time.monotonic(), report=before.report)
        item.user_properties[:] = [
            user_property for user_property in item.user_properties if not junit.is_own(user_property)
        ]
        self._failed.discard(item.nodeid)  # which may be run again
        if is_benchmark(item) and "diffbench_pipeline" not in getattr(item, "fixturenames", ()):
            self._context.pipelines.release()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Judge what the test measured, after its own assertions; fail it where something got worse."""
        attempt = self._attempt(item)
        setup_began_s, attempt.began_s = attempt.began_s, time.monotonic()
        self._longest_setup_s = max(self._longest_setup_s, attempt.began_s - setup_began_s)
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
        if has_failed_quietly(item):
            self._conclude_failed(item)
            return outcome
        broken = item.nodeid in self._failed  # by subtests, whose failures aren't raised
        concluded = self._conclude(item, failed=broken)
        if attempt.bench is not None and not concluded and not attempt.verifications and not broken:
            pytest.fail(
                f"{item.nodeid} uses the fixture diffbench but measures nothing, so it can't fail. Call "
                f"diffbench(pipeline, ...) or diffbench.verify(pipeline, ...), or remove the fixture.",
                pytrace=False,
            )
        failures = {
            conclusion.report.observation.case.id: conclusion.failure
            for conclusion in concluded
            if conclusion.failure
        }
        if failures:
            attempt.explained = tuple(failures)
            fail("\n\n".join(failures.values()))
        return outcome

    def _conclude_failed(self, item: pytest.Item) -> None:
        """Conclude a test that failed by itself; what got worse besides stands beside its own words."""
        for conclusion in self._conclude(item, failed=True):
            if conclusion.failure:
                item.add_report_section("call", "diffbench", conclusion.failure)

    def _conclude(self, item: pytest.Item, *, failed: bool) -> Sequence[Concluded]:
        attempt = self._attempt(item)
        if attempt.bench is None:
            return []
        self._context.progress.finish()
        measured = self._measured(item, attempt, attempt.bench, failed=failed)
        conclusion = self._mode.conclude(measured)
        for case in conclusion.cases if self._mode.reports else ():
            self._context.config.hook.pytest_diffbench_outcome(report=case.report, config=self._context.config)
            item.user_properties.extend(junit.properties(case.report))
        attempt.cases = [case.report for case in conclusion.cases]
        page = self._context.settings.report
        attempt.extras = attachments.attach(item.config, conclusion.cases, measured.cases, page)
        if attempt.number > 1:
            item.user_properties.append(("diffbench.attempts", str(attempt.number)))
        if attempt.report is not None:
            # Of an attempt before, which a plugin may log once more for this one.
            self._hand_over(item, attempt.report)
        if conclusion.interrupted:
            self._keep_interrupted(item, conclusion.cases)
            raise KeyboardInterrupt
        return conclusion.cases

    def _measured(self, item: pytest.Item, attempt: Attempt, bench: Bench, *, failed: bool) -> MeasuredTest:
        """What a test has measured. It is taken from its bench, which holds nothing on the device from now on."""
        spent_s = time.monotonic() - attempt.began_s
        cases = []
        for measurement, problem in bench.measurements:
            observation = measurement.observation(complete=problem is None)
            run = msgspec.structs.replace(observation.run, took_s=spent_s / len(bench.measurements))
            observation = msgspec.structs.replace(observation, run=run)
            cases.append(MeasuredCase(observation, measurement.artifacts(), problem))
        targets = [measurement.target for measurement, _ in bench.measurements]
        for comparison in bench.comparisons:
            item.user_properties.extend(junit.comparison_properties(comparison))
        attempt.comparisons = list(bench.comparisons)
        attempt.verifications = list(bench.verifications)
        bench.measurements.clear()
        bench.comparisons.clear()
        return MeasuredTest(
            item=item,
            settings=item.stash[SETTINGS],
            cases=cases,
            targets=targets,
            failed=failed,
            # A test's share of the error budget is one, however many cases have it.
            family_size=self._context.benchmarks * max(1, sum(case.problem is None for case in cases)),
            took_s=self._longest_setup_s + spent_s,
        )

    def _keep_interrupted(self, item: pytest.Item, concluded: Sequence[Concluded]) -> None:
        """Keep the cases of a test that was interrupted, which has no report to travel with."""
        cases = tuple(conclusion.report for conclusion in concluded)
        self._context.results.add(Finished(test=item.nodeid, cases=cases))

    # -- reporting

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Hand the cases over with the test's report."""
        report = yield
        if is_benchmark(item):
            if call.when == "call":
                shorten(report, call)
                self._attempt(item).report = report
                if extras := self._attempt(item).extras:
                    shown: Any = report  # pytest-html reads them there
                    shown.extras = [*getattr(report, "extras", ()), *extras]
            self._hand_over(item, report)
        return report

    def _hand_over(self, item: pytest.Item, report: pytest.TestReport) -> None:
        attempt, called = self._attempt(item), report.when == "call"
        report.user_properties[:] = item.user_properties
        self._context.results.hand_over(
            report,
            attempt.cases if called else (),
            attempt.comparisons if called else (),
            attempt.verifications if called else (),
            explained=attempt.explained if called else (),
            missing=item.stash.get(MISSING, False),
            attempts=attempt.number,
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember subtests that failed in a test that still runs."""
        if report.when == "call" and report.failed:
            self._failed.add(report.nodeid)

    def pytest_keyboard_interrupt(self) -> None:
        """Keep what is known of the tests that the session didn't come to."""
        results = self._context.results
        reached = {case.observation.case.id for case in results.report().cases}
        for case in self._mode.unreached(reached):
            results.add(Finished(test=case.observation.case.id, cases=(case,)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Give memory and folders back."""
        self._context.pipelines.release()
        self._context.launcher.close()
