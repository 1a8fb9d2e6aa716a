"""What the other tests rest on: the budget of the quick tier, and the Python that starts in a blink."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from suite_budget import LIMIT_S, Meter, reason_to_fail, reference_work

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython


@pytest.mark.parametrize(("cost_s", "slow", "fails"), [(0.99, 1.0, False), (1.01, 1.0, True), (1.01, 1.1, False)])
def test_what_costs_more_than_the_limit_fails_and_says_so(cost_s: float, slow: float, fails: bool) -> None:
    why = reason_to_fail(cost_s * LIMIT_S, slow)
    assert (why is not None) == fails
    if why is not None:
        assert f"costs {cost_s * LIMIT_S:.1f} s of processor time" in why
        assert "tests/full" in why


def test_what_tests_share_is_counted_apart_once() -> None:
    meter = Meter()
    meter.begin()
    with meter.apart(), meter.apart():
        begin_s = time.process_time()
        for _ in range(5):
            reference_work()
        spent_s = time.process_time() - begin_s
    assert meter.shared_s >= spent_s - 0.02  # the system counts in hundredths of a second
    assert meter.cost_s() < spent_s / 2


def test_a_forked_python_is_a_process_of_its_own(
    warm_python: WarmPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "own.py").write_text("WORD = 'found'\n", encoding="utf-8")
    code = "import os, own, sys; print(os.getcwd(), sys.argv[1], own.WORD); print('no', file=sys.stderr); sys.exit(5)"
    done = subprocess.run(
        [warm_python.executable, "-P", "-c", code, "word"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{tmp_path} word found\n", "no\n", 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_a_forked_python_and_it_dies_with_its_client(
    warm_python: WarmPython, number: signal.Signals
) -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [warm_python.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"\n"
        client.send_signal(number)
        assert client.wait(60) == -number
        assert client.stdout.read() == b"", "the forked process, which held the other end, is gone"
