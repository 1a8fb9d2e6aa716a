"""Two environments whose processes leave what a test says, for the tests of their pairs."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from observations import CASE_ID as CASE
from observations import make_observation, make_run

from pytest_diffbench.session.modes import environment as module
from pytest_diffbench.session.modes.environment import OtherEnvironment
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.workers.against import Against
from pytest_diffbench.workers.budget import Budget
from pytest_diffbench.workers.exchange import Done, Measured, Outcome
from pytest_diffbench.workers.launch import ProcessResult
from pytest_diffbench.workers.process import Ended

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Launcher:
    """Stands in for the real one: what each side's processes leave, in their order; the last one again and again.

    An exception among them is raised. Each process takes `takes_s` by a clock of its own.
    """

    takes_s = 0.0
    now_s = 0.0

    def __init__(self, folder: Path, **sides: list[Any]) -> None:
        self.folder = folder
        self.sides = sides
        self.order = ""
        self.timeouts_s: list[float] = []

    def launch(
        self, items: Any, *, timeout_s: float, interpreter: str | None = None, artifacts: bool = False
    ) -> ProcessResult:
        side = "head" if interpreter is None else "base"
        assert artifacts is (side == "base")
        self.order += side[0]
        self.timeouts_s.append(timeout_s)
        self.now_s += self.takes_s
        return self.next_of(side)

    def launch_interleaved(
        self, items: Any, *, timeout_s: float, interpreters: tuple[str | None, str | None], first: int
    ) -> tuple[ProcessResult, ProcessResult]:
        assert interpreters == ("other/python", None)
        self.order += "BH"[first]
        self.timeouts_s.append(timeout_s)
        self.now_s += self.takes_s
        return self.next_of("base"), self.next_of("head")

    def next_of(self, side: str) -> ProcessResult:
        left = self.sides[side]
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, ProcessResult)
        return outcome


def measured_result(
    tmp_path: Path, *, modules: dict[str, str] | None = None, labels: tuple[str, ...] = (), total_s: float = 0.1
) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,),
        folder=tmp_path,
        ended=Ended(0, 60, ""),
        measured=tuple(
            Measured(
                test=CASE,
                observation=make_observation(make_run(total_s=total_s), case_id=identity),
                artifacts="case-0",
            )
            for identity in (CASE, *(f"{CASE}#{label}" for label in labels))
        ),
        outcomes=(),
        done=Done(tests=(CASE,), modules=modules or {}),
    )


def met(result: ProcessResult, *cases: str) -> ProcessResult:
    return dataclasses.replace(result, met=frozenset(cases))


def died(tmp_path: Path, status: int | None = -11) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,), folder=tmp_path, ended=Ended(status, 60, "last words"), measured=(), outcomes=(), done=None
    )


def failed(tmp_path: Path) -> ProcessResult:
    return ProcessResult(
        asked=(CASE,),
        folder=tmp_path,
        ended=Ended(1, 60, ""),
        measured=(),
        outcomes=(Outcome(test=CASE, when="call", outcome="failed", text="ValueError: no"),),
        done=Done(tests=(CASE,), modules={}),
    )


def against(
    launcher: Launcher, *, begins: float = 0.0, pairs: int = 4, most: int = 6, budget_s: float = 600
) -> Against:
    return Against(
        launcher,  # type: ignore[arg-type]  # stands in for it
        Budget(budget_s, lambda: launcher.now_s),
        "other/python",
        pairs=pairs,
        most=most,
        notify=lambda _: None,
        chance=lambda: begins,
    )


def other_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OtherEnvironment:
    """The session's side, with two tests."""
    monkeypatch.setattr(module, "checked_interpreter", lambda *_: "other/python")
    config: Any = SimpleNamespace(
        rootpath=tmp_path,
        invocation_params=SimpleNamespace(dir=tmp_path),
        getoption=lambda _, default=None: default,
        get_verbosity=lambda: -1,
        pluginmanager=SimpleNamespace(get_plugin=lambda _: None),
    )
    launcher: Any = None
    session = OtherEnvironment(config, Settings(against="other/python"), launcher, Budget(600))
    tests: list[Any] = [
        SimpleNamespace(path=tmp_path / "tests" / "test_it.py", nodeid=name, config=config)
        for name in (CASE, f"{CASE}_too")
    ]
    session.begin([(test, Settings()) for test in tests])
    return session
