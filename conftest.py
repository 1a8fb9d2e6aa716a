"""For the project's own tests: pytest inside pytest, real libraries, and tests that need a GPU."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _pytest.pytester
import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warm_python import WarmPython

# what tests of several folders share: pytest finds by itself only what lies beside a test
sys.path.insert(0, str(Path(__file__).parent / "tests" / "helpers"))

pytest_plugins = ["pytester", "suite_budget"]

hypothesis.settings.register_profile("quick", max_examples=15, deadline=None)
hypothesis.settings.register_profile("full", max_examples=75, deadline=None)
hypothesis.settings.load_profile("quick")  # unless --hypothesis-profile names the other


KEPT = (str(Path(__file__).parent), *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
"""Where modules come from that no test's project brings."""


TESTS = Path(__file__).parent / "tests"


def _is_own(node: pytest.Item | pytest.Collector) -> bool:
    """Whether a test is the project's own: benchmarks run from this folder too, and nothing here may touch them."""
    return TESTS in node.path.parents


class ForgetsProjects:
    """What pytester forgets after a run inside this process: the modules of the project that it ran, and no others.

    By itself it forgets every module that the run imported. Each run would import and rewrite them anew, and torch's
    extension modules don't survive it.
    """

    def __init__(self, preserve: object = None) -> None:  # noqa: ARG002 - what pytester wants kept is kept anyway
        self._before = dict(sys.modules)

    def restore(self) -> None:
        """Forget the project's modules, and put back those whose names they took."""
        for name in sys.modules.keys() - self._before.keys():
            module = sys.modules[name]
            place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
            if place is not None and not place.startswith(KEPT):
                del sys.modules[name]
        sys.modules.update(self._before)


_pytest.pytester.SysModulesSnapshot = ForgetsProjects  # type: ignore[assignment,misc]  # has all that pytester uses of it

_read_text = importlib.metadata.PathDistribution.read_text


@functools.cache
def _read_once(place: str, name: str) -> str | None:
    return _read_text(importlib.metadata.PathDistribution(Path(place)), name)


def _read_text_once(
    distribution: importlib.metadata.PathDistribution, filename: str | os.PathLike[str]
) -> str | None:
    """Read what a package says of itself once: each session within a session asks all of them for plugins."""
    place = str(distribution._path)  # how it is made
    return _read_once(place, str(filename)) if place.startswith(KEPT) else _read_text(distribution, filename)


importlib.metadata.PathDistribution.read_text = _read_text_once  # type: ignore[method-assign,assignment]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark the tests of the full tier, those in tests/full; refuse to run where the plugin skips some as benchmarks.

    A run in which all tests are skipped ends like one in which all pass. Workers begin with what takes longest.
    """
    from pytest_diffbench import plugin

    skipped = [
        item.nodeid
        for item in items
        if _is_own(item) and any(mark.kwargs.get("reason") == plugin._IDLE for mark in item.iter_markers("skip"))
    ]
    if skipped:
        raise pytest.UsageError(f"the plugin skips {len(skipped)} of its own tests, such as {skipped[0]}")
    for item in items:
        if Path(__file__).parent / "tests" / "full" in item.path.parents:
            item.add_marker(pytest.mark.full)
    yield
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1 and not config.getoption("random_order_enabled", default=False):
        from suite_order import dearest_first

        items[:] = dearest_first(items, workers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of CUDA where there is none; fail them where one was promised."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        why = "needs a CUDA device"
        if os.environ.get("DIFFBENCH_REQUIRE_GPU") == "1":
            pytest.fail(f"{why}, and DIFFBENCH_REQUIRE_GPU=1 promises one", pytrace=False)
        pytest.skip(why)


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the locks of stores, one a store, out of the machine's folder for temporary files."""
    if not all(map(_is_own, request.session.items)):
        yield
        return
    folder = str(tmp_path_factory.mktemp("locks"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def real_libraries() -> None:
    """Import once what measuring sessions import, so that no test of a process pays for it."""
    from whole_package import import_whole_package

    import_whole_package()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let xdist's workers share a warm Python, which warms up while they start."""
    import warm_python

    if warm_python.SUPPORTED and node.config.rootpath == TESTS.parent:
        if SHARED not in node.config.stash:
            folder = tempfile.TemporaryDirectory(prefix="warm-", dir="/tmp")
            server = warm_python.launch(Path(folder.name))
            node.config.stash[SHARED] = folder.name
            node.config.add_cleanup(folder.cleanup)
            node.config.add_cleanup(functools.partial(warm_python.end, server))  # before its folder goes
        node.workerinput["warm_python"] = node.config.stash[SHARED]


SHARED = pytest.StashKey[str]()
"""The folder of the warm Python that all workers use."""


@pytest.fixture(scope="session")
def warm_python(request: pytest.FixtureRequest) -> Iterator[WarmPython]:
    """A Python that starts in a blink, for tests that start processes with torch and diffusers in them."""
    from warm_python import WarmPython

    given = getattr(request.config, "workerinput", {})
    if "warm_python" in given:
        yield WarmPython.join(Path(given["warm_python"]), given["workerid"])
        return
    with tempfile.TemporaryDirectory(prefix="warm-", dir="/tmp" if os.name == "posix" else None) as folder:
        started = WarmPython.start(Path(folder))
        yield started
        started.stop()


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap(request: pytest.FixtureRequest) -> None:
    """Keep what exists out of collections: each round begins with one, over all that tests before have imported."""
    if "torch" in sys.modules and _is_own(request.node):
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _quick_pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the kernels beside each round: no test here looks at real time, but for those of them."""
    marked = any(request.node.get_closest_marker(name) for name in ("pace", "gpu"))
    if not marked and _is_own(request.node):
        from pytest_diffbench.measure import pace

        monkeypatch.setattr(pace, "_prepared", lambda *_: lambda: {"interpreter": 0.01})


@pytest.fixture(autouse=True)
def _saved_unconfirmed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the fresh process that looks at what was saved, but for tests of it: hundreds save something."""
    if request.node.get_closest_marker("saved_afresh") is None and _is_own(request.node):
        from pytest_diffbench.session import saved_afresh

        monkeypatch.setattr(saved_afresh, "register", lambda *_: None)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: handing out work this small to several costs more than it takes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let comparisons of variants end after one pair of blocks, however wide their intervals are."""
    from pytest_diffbench.judge.time import speedups

    monkeypatch.setattr(speedups, "looks", lambda _rounds: (2,))


@pytest.fixture
def quick_processes(warm_python: WarmPython, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let all Python processes that a test starts be forked from a warm one, and measure here as they do."""
    monkeypatch.setattr(sys, "executable", str(warm_python.executable))
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a process that has run threads can't be forked, so the others have one
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)
