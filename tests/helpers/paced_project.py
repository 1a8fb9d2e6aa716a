"""A project whose processes each have a pace of their own, by a clock that only moves when it is told to."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import suite_budget

from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_diffbench.records import CaseReport

PACED = '''
import json, os, pathlib, threading, types
import pytest
from PIL import Image
from pytest_diffbench.measure import clock
from pytest_diffbench.measure import pace as machine_pace
from pytest_diffbench.measure import telemetry

class Clock:
    now_ns = 0
    def __call__(self):
        self.now_ns += 1000
        return self.now_ns

CLOCK = clock.now_ns = Clock()
# By this clock real work takes no time.
machine_pace._prepared = lambda device, dtype: lambda: {"interpreter": 1e-6}
telemetry.Waiting = lambda: types.SimpleNamespace(read=lambda: None)  # nor does anything wait

def paint(shade=200, size=32):
    CLOCK.now_ns += round(0.1e9 * STATE["pace"])
    image = Image.new("RGB", (size, size), (shade, 0, 0))
    image.putpixel((0, 0), (0, 255, 0))
    return [image]

HERE = pathlib.Path(__file__).parent
STATE = {}

@pytest.fixture(autouse=True, scope="module")
def pace():
    """The pace of this process: the next one of the list."""
    paces = json.loads((HERE / "paces.json").read_text())
    # Two processes may come here at once: neither is to read half of it.
    rest = HERE / f"paces-{os.getpid()}.json"
    rest.write_text(json.dumps(paces[1:]))
    rest.replace(HERE / "paces.json")
    STATE["pace"] = paces[0]
    if paces[0] == "exit":
        print("the last words", file=__import__("sys").stderr, flush=True)
        os._exit(3)
    if paces[0] == "hang":
        threading.Event().wait()
    if paces[0] == "fail":
        pytest.fail("it has had enough")
    if paces[0] == "skip":
        pytest.skip("it is Sunday")
'''

SINGLE_TEST = PACED + "\ndef test_case(diffbench):\n    diffbench(paint)\n"


class Paced:
    """The project, with a baseline of five runs that differ by a percent, kept in `saved` where that is given."""

    def __init__(
        self,
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
        test_file: str = SINGLE_TEST,
        saved: Path | None = None,
    ) -> None:
        from pytest_diffbench.measure import clock, telemetry
        from pytest_diffbench.measure import pace as machine_pace

        # put back what the test file replaces
        monkeypatch.setattr(clock, "now_ns", clock.now_ns)
        monkeypatch.setattr(machine_pace, "_prepared", machine_pace._prepared)
        monkeypatch.setattr(telemetry, "Waiting", vars(telemetry)["Waiting"])
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        self.pytester = pytester
        pytester.makepyfile(test_project=test_file)
        own_baselines = pytester.path / "baselines"
        if saved is not None and saved.exists():
            shutil.copytree(saved, own_baselines)
            return
        with suite_budget.shared() if saved is not None else contextlib.nullcontext():
            for pace in (0.99, 1.0, 1.01, 1.0, 0.995):
                assert self.run("--diffbench-save", paces=[pace]).ret == 0
        if saved is not None:
            shutil.copytree(own_baselines, saved)

    def run(self, *arguments: str, paces: list[float | str], subprocess: bool = False) -> pytest.RunResult:
        """Run in this process, or in another where this one mustn't be interrupted.

        Args:
            *arguments: pytest's.
            paces: of this process, and of those that it starts, in their order: time of a call over .1 s; or `exit`,
                `hang`, `fail`, `skip`.
            subprocess: run in another process.
        """
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        (self.pytester.path / "paces.json").write_text(json.dumps(paces))
        return run("--diffbench-rounds=3", f"--diffbench-json={self.pytester.path / 'session.json'}", *arguments)

    def left(self) -> list[float | str]:
        """Paces that no process has taken."""
        left: list[float | str] = json.loads((self.pytester.path / "paces.json").read_text())
        return left

    def case(self) -> CaseReport:
        (case,) = session_json.load(self.pytester.path / "session.json").cases
        return case

    def time(self) -> Any:
        return next(verdict for verdict in self.case().verdicts if verdict.gate == "time")
