"""Readings of the machine around a round, from made-up files and a made-up driver: no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_diffbench.measure.telemetry import Host, HostReading, TelemetryWatch, telemetry

HERTZ = os.sysconf("SC_CLK_TCK")


def ticks(user: int = 0, idle: int = 0, steal: int = 0, system: int = 0) -> tuple[int, ...]:
    return (user, 0, system, idle, 0, 0, 0, steal)


def host(process_s: float = 0.0, at: tuple[int, ...] | None = None, mhz: float | None = None) -> HostReading:
    return HostReading(process_s=process_s, ticks=at, mhz=mhz)


def test_time_of_the_machine_is_shared_out() -> None:
    # 200 ticks: 100 busy, of which this process had 60; 20 stolen.
    reading = telemetry(
        host(1.0, ticks(user=1000, idle=500, steal=7)),
        host(1.0 + 60 / HERTZ, ticks(user=1080, idle=580, steal=27, system=20)),
        None,
        None,
    )
    assert reading.cpu_s == pytest.approx(60 / HERTZ)
    assert reading.steal_rel == pytest.approx(0.1)
    assert reading.others_rel == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, None),
        (ticks(1000), None),
        (ticks(1000, 10), ticks(1010, 15)),  # 15 ticks: too few for a share
        (ticks(1000, 10), ticks(990, 100)),  # a counter that ran backwards
        (ticks(1000, 10, 5), ticks(1090, 100, 4)),
    ],
)
def test_an_unknown_share_is_none(before: Any, after: Any) -> None:
    reading = telemetry(host(0, before), host(0.1, after), None, None)
    assert (reading.steal_rel, reading.others_rel) == (None, None)
    assert reading.cpu_s == pytest.approx(0.1)


def test_a_process_with_the_whole_machine_leaves_nothing_below_zero() -> None:
    reading = telemetry(host(0, ticks(0, 0)), host(101 / HERTZ, ticks(100, 100)), None, None)
    assert reading.others_rel == 0


def test_of_two_clocks_the_slower_is_kept() -> None:
    assert telemetry(host(mhz=3000), host(mhz=2500), None, None).cpu_mhz == 2500
    assert telemetry(host(mhz=None), host(mhz=2500), None, None).cpu_mhz == 2500


class Files:
    """A made-up /proc and /sys."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        (self.proc / "self").mkdir(parents=True)
        self.write("stat", "cpu  10 1 2 300 4 5 6 7 0 0\ncpu0 10 1 2 300 4 5 6 7 0 0\n")
        self.write("self/stat", f"12 (a (strange) name) S {' '.join(str(n) for n in range(4, 53))}\n")
        self.write("cpuinfo", "processor\t: 38\ncpu MHz\t: 1000.5\n\nprocessor\t: 39\ncpu MHz\t: 2000.25\n")

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def read(self) -> HostReading:
        return Host(self.proc, self.sys).read()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_linux_tells_ticks_and_the_clock_of_the_core_at_hand(files: Files) -> None:
    reading = files.read()
    assert reading.ticks == (10, 1, 2, 300, 4, 5, 6, 7)
    assert reading.mhz == 2000.25
    cpufreq = files.sys / "devices/system/cpu/cpu39/cpufreq"
    cpufreq.mkdir(parents=True)
    (cpufreq / "scaling_cur_freq").write_text("3141592\n")
    assert files.read().mhz == 3141.592


@pytest.mark.parametrize(
    ("name", "content"),
    [("stat", ""), ("stat", "cpu 1 2"), ("stat", "cpu a b c d e f g h"), ("stat", "intr 1 2 3 4 5 6 7 8 9")],
)
def test_a_strange_stat_tells_nothing(files: Files, name: str, content: str) -> None:
    files.write(name, content)
    assert files.read().ticks is None


@pytest.mark.parametrize(
    ("name", "content"),
    [("self/stat", ""), ("self/stat", "12 (x) S 1"), ("cpuinfo", ""), ("cpuinfo", "processor: 39\ncpu MHz: fast")],
)
def test_a_strange_clock_tells_nothing(files: Files, name: str, content: str) -> None:
    files.write(name, content)
    assert files.read().mhz is None


def test_without_proc_there_is_only_the_process_itself(tmp_path: Path) -> None:
    reading = Host(tmp_path / "none", tmp_path / "none").read()
    assert (reading.ticks, reading.mhz) == (None, None)
    assert reading.process_s > 0


def test_a_slow_clock_is_not_asked_for_long(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def tick() -> float:
        nonlocal now_s
        now_s += 0.001
        return now_s

    monkeypatch.setattr("pytest_diffbench.measure.telemetry.time.perf_counter", tick)
    host = Host(files.proc, files.sys)
    assert [host.read().mhz for _ in range(5)] == [2000.25] * 3 + [None] * 2


def test_on_the_local_machine_a_round_is_watched_without_notes() -> None:
    watch = TelemetryWatch("cpu")
    assert watch.after() is None
    watch.before()
    reading = watch.after()
    assert reading is not None
    assert reading.cpu_s is not None
    assert (watch.notes, watch.facts()) == ((), {})
    watch.close()


def test_children_compute_for_their_parent(files: Files) -> None:
    assert files.read().children_s is None, "a system that lists no children tells nothing of them"
    for thread, children in ((str(os.getpid()), "77 78 "), ("5", "79")):
        (files.proc / "self/task" / thread).mkdir(parents=True)
        files.write(f"self/task/{thread}/children", children)
    for child in ("77", "79"):  # 78 has ended
        (files.proc / child).mkdir()
        files.write(f"{child}/stat", f"{child} (a (strange) name) S {' '.join(str(n) for n in range(4, 53))}\n")
    times = os.times()
    spent_s = times.children_user + times.children_system + 2 * (14 + 15 + 16 + 17) / HERTZ
    assert files.read().children_s == pytest.approx(spent_s)


def test_what_children_computed_is_the_difference() -> None:
    before, after = (HostReading(0.0, None, None, children_s) for children_s in (1.5, 2.0))
    assert telemetry(before, after, None, None).children_cpu_s == pytest.approx(0.5)
    assert telemetry(host(), after, None, None).children_cpu_s is None


def test_on_linux_a_child_that_computes_is_seen() -> None:
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this system lists no children")
    watch = TelemetryWatch("cpu")
    watch.before()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    seen = watch.after()
    assert seen is not None
    assert seen.children_cpu_s is not None
    assert seen.children_cpu_s >= 0.25
