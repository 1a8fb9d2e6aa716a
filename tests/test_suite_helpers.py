"""What the other tests rest on: the budget of the quick tier, and the Python that starts in a blink."""

from __future__ import annotations

import signal
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import warm_python as warm
from suite_budget import LIMIT_S, Meter, Spent, reason_to_fail, reference_work
from suite_order import DEAREST, dearest_first
from two_environments import make_environment

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython


@pytest.mark.parametrize(("cost_s", "slow", "fails"), [(0.99, 1.0, False), (1.01, 1.0, True), (1.01, 1.1, False)])
def test_what_costs_more_than_the_limit_fails_and_says_so(cost_s: float, slow: float, fails: bool) -> None:
    why = reason_to_fail(Spent(0.75 * cost_s * LIMIT_S, forked_s=0.25 * cost_s * LIMIT_S, collections=7), slow)
    assert (why is not None) == fails
    if why is not None:
        assert f"costs {cost_s * LIMIT_S:.1f} s of processor time" in why
        assert f"{0.25 * cost_s * LIMIT_S:.1f} s forked ones'; all garbage was collected 7 times" in why
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
    assert meter.cost().total_s < spent_s / 2


def test_a_forked_python_is_a_separate_process(
    warm_python: WarmPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "own.py").write_text("WORD = 'found'\n", encoding="utf-8")
    code = "import os, own, sys; print(os.getcwd(), sys.argv[1], own.WORD); print('no', file=sys.stderr); sys.exit(5)"
    done = subprocess.run(
        [warm_python.executable, "-P", "-c", code, "word"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{tmp_path} word found\n", "no\n", 5)


@pytest.mark.skipif(not warm.SUPPORTED, reason="nothing is forked here")
def test_pytest_in_a_venv_is_forked_and_all_else_is_run_by_own_interpreter(
    warm_python: WarmPython, tmp_path: Path
) -> None:
    python = warm_python.taking_over(make_environment)(tmp_path / "venv")
    (site_packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site_packages / "own.py").write_text("WORD = 'found'\n", encoding="utf-8")
    test = "import sys, own\ndef test_it():\n    assert 'torch' in sys.modules and own.WORD == 'found'\n"
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    command = [str(python), "-P", "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import sys, own; print(sys.prefix, 'torch' in sys.modules, own.WORD)"
    done = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'venv'} False found\n"


@pytest.mark.parametrize(("tests", "workers"), [(1001, 3), (50, 2), (7, 4), (3, 4), (0, 2)])
def test_every_worker_begins_with_some_of_the_dearest_tests(tests: int, workers: int) -> None:
    dear = [start for start in DEAREST for _ in range(2)][:tests]
    ids = [f"cheap::{number}" for number in range(tests - len(dear))] + [f"{start}::x" for start in dear]
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in ids]
    ordered = dearest_first(items, workers)
    assert sorted(map(id, ordered)) == sorted(map(id, items))
    if tests > 2 * len(dear):
        begins = [
            sum(tests // workers + (worker >= workers - tests % workers) for worker in range(to))
            for to in range(workers)
        ]
        assert all(ordered[begin].nodeid.startswith(DEAREST) for begin in begins)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_a_forked_python_and_the_fork_dies_with_the_client(
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


@pytest.mark.skipif(not warm.SUPPORTED, reason="nothing is forked here")
def test_the_time_of_a_killed_client_is_charged_to_no_later_test(warm_python: WarmPython) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nwhile True: time.sleep(1)"
    before_s = warm_python.spent_s
    with subprocess.Popen([warm_python.executable, "-c", busy], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.kill()
        client.stdout.read()
    subprocess.run([warm_python.executable, "-c", ""], check=True)  # served after all that came before it
    nobody_s = float(warm._spent_file(warm_python.folder, warm._NOBODY).read_text(encoding="utf-8"))
    assert nobody_s > 0.2
    assert warm_python.spent_s - before_s < 0.2
