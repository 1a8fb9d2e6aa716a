"""What all parts of a session share: its settings, its pipelines, its processes and the time for them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.errors import OptionError
from pytest_diffbench.records.facts import environment_facts
from pytest_diffbench.session import loading
from pytest_diffbench.session.combinations import refuse_combinations
from pytest_diffbench.session.progress_line import ProgressLine
from pytest_diffbench.session.results import Results
from pytest_diffbench.session.writable import refuse_unusable
from pytest_diffbench.settings import options
from pytest_diffbench.workers.budget import Budget, budget_of
from pytest_diffbench.workers.launch import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_diffbench.records import Fact
    from pytest_diffbench.settings.options import Settings, Typed


@dataclasses.dataclass(slots=True, kw_only=True)
class Context:
    """One measuring session.

    Attributes:
        config: pytest's.
        settings: of the session; a test's marker may change them for that test.
        typed: what a suggested command has to repeat.
        models: folder of pretrained models, where one was named.
        pipelines: loads them; one is resident at a time.
        launcher: starts processes.
        budget: their time.
        progress: tells how far the session is.
        results: of the session's tests.
        benchmarks: how many will run. The session's error budget is shared among them.
    """

    config: pytest.Config
    settings: Settings
    typed: Typed
    models: Path | None
    pipelines: loading.Pipelines
    launcher: Launcher
    budget: Budget
    progress: ProgressLine
    results: Results
    benchmarks: int = 1
    _facts: dict[str, Fact] | None = None

    @property
    def is_parallel_worker(self) -> bool:
        """Whether this process is one of pytest-xdist's workers."""
        return hasattr(self.config, "workerinput")

    def facts(self) -> dict[str, Fact]:
        """Facts on the environment that `pytest_diffbench_environment` adds. Fails the test that needs them first."""
        if self._facts is None:
            try:
                self._facts = environment_facts(self.config.hook.pytest_diffbench_environment(config=self.config))
            except OptionError as error:
                raise pytest.fail.Exception(str(error), pytrace=False) from None
        return self._facts

    def progress_of(self, item: pytest.Item, settings: Settings) -> Callable[[str, int, int], None]:
        """Begin a line of progress for a test; returns what is given `phase, done, total`."""
        label = f"{settings.model or 'own pipeline'} {settings.weights}"
        return self.progress.start(item.name, label, item.nodeid)


def context_of(config: pytest.Config, *, in_logs: bool = True) -> Context:
    """The context of a session that begins.

    Args:
        config: pytest's.
        in_logs: tell of progress where no terminal is, too.

    Raises:
        UsageError: options can't be used, or not together.
    """
    try:
        settings = options.resolve(config, {}, "pytest")
        refuse_combinations(settings, parallel=options.is_parallel(config))
        if not hasattr(config, "workerinput") and not config.getoption("collectonly", default=False):
            refuse_unusable(config, settings)
        models = loading.models_folder(settings)
    except OptionError as error:
        raise pytest.UsageError(str(error)) from None
    typed = options.typed(config)
    return Context(
        config=config,
        settings=settings,
        typed=typed,
        models=models,
        pipelines=loading.Pipelines(
            lambda spec: config.hook.pytest_diffbench_load_pipeline(spec=spec, config=config), models
        ),
        launcher=Launcher(config),
        budget=budget_of(settings.max_time, comparing=settings.selftest or settings.against is not None),
        progress=ProgressLine(config, in_logs=in_logs),
        results=Results(config, settings, typed),
    )
