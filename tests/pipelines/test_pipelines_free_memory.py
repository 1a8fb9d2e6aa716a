"""How much memory is free, as the kernel and a container's limit tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.pipelines.free_memory import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   16000000 kB\n"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_the_kernel_takes_for_available(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo=MEMINFO)
    assert free_bytes("cpu", tmp_path) == 16_000_000 * 1024


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("sys__fs__cgroup__", ("memory.max", "memory.current")),
        ("sys__fs__cgroup__memory__", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
    ids=["version 2", "version 1"],
)
def test_a_container_leaves_what_the_limit_and_the_dropped_files_leave(
    tmp_path: Path, folder: str, names: tuple[str, str]
) -> None:
    write(tmp_path, proc__meminfo=MEMINFO)
    limit, used = names
    files = {limit: "4000000000\n", used: "3000000000\n"}
    files["memory.stat"] = "anon 2000000000\nactive_file 300000000\ninactive_file 200000000\n"
    write(tmp_path, **{folder + name: text for name, text in files.items()})
    assert free_bytes("cpu", tmp_path) == 1_500_000_000


def test_a_container_without_a_limit_leaves_the_machines(tmp_path: Path) -> None:
    group = {"memory.max": "max\n", "memory.current": "3000000000\n", "memory.stat": "inactive_file 0\n"}
    write(tmp_path, proc__meminfo=MEMINFO, **{f"sys__fs__cgroup__{name}": text for name, text in group.items()})
    assert free_bytes("cpu", tmp_path) == 16_000_000 * 1024


def test_a_platform_without_figures(tmp_path: Path) -> None:
    assert free_bytes("cpu", tmp_path) is None
    assert free_bytes("mps", tmp_path) is None


def test_the_local_machine_reports_a_sensible_figure() -> None:
    free = free_bytes("cpu")
    assert free is None or 1 << 20 < free < 1 << 46
