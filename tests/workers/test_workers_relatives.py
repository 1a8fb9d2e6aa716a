"""A measuring process knows that the session that started it is on the device, and counts it as no other process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.measure import runner
from pytest_diffbench.measure.telemetry import TelemetryWatch
from pytest_diffbench.workers import exchange, launch
from pytest_diffbench.workers.launch import Launcher
from pytest_diffbench.workers.process import Ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries")


@pytest.mark.parametrize("initialised", [True, False])
def test_a_task_says_whether_the_session_is_on_a_device(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, initialised: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialised)
    tasks: list[exchange.Task] = []

    def run(*_: Any, folder: Path, **__: Any) -> Ended:
        tasks.append(exchange.take(folder))
        return Ended(status=1, timeout_s=1, last_words="")

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(launch, "case_id", lambda item, _: item.nodeid)
    path = pytester.makepyfile("def test(): ...")
    launcher = Launcher(pytester.parseconfig())
    launcher.launch([SimpleNamespace(path=path, nodeid="test_paint.py::test")], timeout_s=1)  # type: ignore[list-item]  # all that is looked at
    assert [task.session_on_device for task in tasks] == [initialised]


@pytest.mark.parametrize("on_device", [True, False])
def test_the_session_of_a_measuring_process_is_known_where_the_device_is_read(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_device: bool
) -> None:
    relatives: list[int] = []

    def watch(device: str, count: int = 0) -> TelemetryWatch:
        relatives.append(count)
        return TelemetryWatch(device, count)

    monkeypatch.setattr(runner, "TelemetryWatch", watch)
    pytester.makepyfile(test_paint="def test_paint(diffbench):\n    diffbench(lambda: [])\n")
    exchange.give(tmp_path, exchange.Task(tests=("test_paint.py::test_paint",), session_on_device=on_device))
    monkeypatch.setenv(exchange.VARIABLE, str(tmp_path))
    pytester.runpytest_inprocess("--diffbench", "--diffbench-rounds=1")
    assert relatives == [int(on_device)]
