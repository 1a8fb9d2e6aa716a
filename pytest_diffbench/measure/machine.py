"""Which class of machine this is: the facts that make times comparable, and the name that stands for them."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.pipelines.devices import device_facts, is_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_diffbench.records import Fact

PROC = Path("/proc")
SYS = Path("/sys")

_GIB = 1 << 30
_DIGEST_BYTES = 3

_INSTRUCTION_SETS = re.compile(
    r"ssse3|sse4_[12]|avx|avx2|fma|fma4|f16c|vaes|vpclmulqdq"
    r"|avx512\w*|avx_\w+|avx10\w*|amx_\w+"
    r"|asimd\w*|sve\w*|sme(?!p$)\w*|fphp|i8mm|bf16"
)
"""Flags of /proc/cpuinfo that decide which kernels libraries choose, of x86 and of ARM. Mitigations are none."""

_FAMILY = re.compile(r"Family (\d+) Model (\d+) Stepping (\d+)")
"""How Windows and some others name a processor."""

_MIG = re.compile(r"\bMIG (\S+)")


def machine_name(device: str, hardware: Mapping[str, Fact]) -> str:
    """Name a class of machine: what a person calls it, and six digits that stand for all facts of it.

    Args:
        device: torch device.
        hardware: what `hardware_facts` gave; equal facts, equal name.

    Returns:
        Such as `cpu-amd-epyc-2c-3f9a1c`, out of `a-z`, `0-9`, `.` and `-`.
    """
    family = device.partition(":")[0]
    shown = f"{family}-{hardware.get('device') or '{cpu}-{cpus}c'.format_map(hardware)}"
    facts = json.dumps(dict(hardware), sort_keys=True)
    digest = hashlib.blake2b(facts.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{re.sub(r'[^a-z0-9.]+', '-', shown.lower()).strip('-.')}-{digest}"


def hardware_facts(device: str) -> dict[str, Fact]:
    """The facts that make the class of this machine, with those of a CUDA device where `device` is one."""
    facts = dict(_host_facts(PROC, SYS, usable_cpus()))
    if device.partition(":")[0] == "cuda":
        facts |= _cuda_facts(device)
    elif is_accelerator(device):
        accelerator = device_facts(device)
        memory_bytes = accelerator["memory_bytes"]
        facts["device"] = accelerator["name"]
        facts["device_memory_gib"] = whole_gib(memory_bytes) if isinstance(memory_bytes, int) else None
    return facts


def usable_cpus() -> tuple[int, ...]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def whole_gib(size_bytes: int) -> int:
    """The size of a memory in GiB from what its system leaves to programs.

    Always rounded up, from 32 GiB on to a multiple of 2 GiB, from 64 on of 4, and so on: what is kept back is a few
    percent, and moves with every kernel and driver.
    """
    size_gib = size_bytes / _GIB
    step_gib = max(1, 2 ** (math.floor(math.log2(size_gib)) - 4)) if size_gib >= 1 else 1
    return math.ceil(size_gib / step_gib) * step_gib


@functools.cache
def _host_facts(proc: Path, sys: Path, cpus: tuple[int, ...]) -> dict[str, Fact]:
    return host_facts(proc, sys, cpus)


def host_facts(proc: Path, sys: Path, cpus: tuple[int, ...]) -> dict[str, Fact]:
    """The facts of the host. What isn't told is None.

    Args:
        proc: the folder that is `/proc` on Linux; elsewhere Python's `platform` is asked.
        sys: the folder that is `/sys`.
        cpus: numbers of the cores that can be used; machines with several kinds of core differ by them.
    """
    cores = [core for number, core in _cores(proc) if number is None or number in cpus]
    flags = [set((core.get("flags") or core.get("Features") or "").split()) for core in cores]
    windows = _FAMILY.search(platform.processor())
    identification = windows.groups() if windows is not None and not cores else (None, None, None)
    family, model, stepping = (
        _of_all(core.get(name) for core in cores) for name in ("cpu family", "model", "stepping")
    )
    if any("CPU part" in core for core in cores):  # ARM
        family, model, stepping = (
            _of_all(core.get("CPU implementer") for core in cores),
            _of_all(core.get("CPU part") for core in cores),
            _of_all(f"{core.get('CPU variant')}.{core.get('CPU revision')}" for core in cores),
        )
    return {
        "cpu": _cpu_name(proc),
        "cpus": len(cpus),
        "cpu_family": family or identification[0],
        "cpu_model": model or identification[1],
        "cpu_stepping": stepping or identification[2],
        "caches": _caches(sys, cpus),
        "instruction_sets": _instruction_sets(flags),
        "memory_gib": _memory_gib(proc),
        "virtual_machine": _virtual_machine(sys, flags),
    }


def _cores(proc: Path) -> Iterator[tuple[int | None, dict[str, str]]]:
    """Number and fields of each core. Some kernels put what all share in a paragraph of its own, without a number."""
    for paragraph in _text(proc / "cpuinfo").split("\n\n"):
        fields = {}
        for line in paragraph.splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields[name.strip()] = value.strip()
        if fields:
            number = fields.get("processor", "")
            yield int(number) if number.isdigit() else None, fields


def _cpu_name(proc: Path) -> str:
    for line in _text(proc / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _of_all(values: Iterable[str | None]) -> str | None:
    """What is said of any core, in the order of the words: `2, 17`."""
    return ", ".join(sorted({value for value in values if value})) or None


def _instruction_sets(flags: list[set[str]]) -> str | None:
    known = [flag for flag in flags if flag]
    common = set.intersection(*known) if known else set()
    return " ".join(sorted(filter(_INSTRUCTION_SETS.fullmatch, common))) or None


def _caches(sys: Path, cpus: tuple[int, ...]) -> str | None:
    """Such as `L1d 32K, L1i 32K, L2 512K, L3 32768K`; of several kinds of core `L2 1024K|2048K`."""
    sizes: dict[str, set[str]] = {}
    for cpu in cpus:
        for index in (sys / f"devices/system/cpu/cpu{cpu}/cache").glob("index*"):
            level, kind, size = (_text(index / name).strip() for name in ("level", "type", "size"))
            if level and size:
                letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
                sizes.setdefault(f"L{level}{letter}", set()).add(size)
    return ", ".join(f"{name} {'|'.join(sorted(distinct))}" for name, distinct in sorted(sizes.items())) or None


def _memory_gib(proc: Path) -> int | None:
    total = re.search(r"^MemTotal:\s+(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    if total is not None:
        return whole_gib(int(total[1]) * 1024)
    try:
        return whole_gib(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def _virtual_machine(sys: Path, flags: list[set[str]]) -> str | None:
    """Maker and model of a virtual machine, as far as it tells; `none` where it is none, None where nobody knows."""
    hypervisor = _text(sys / "hypervisor/type").strip()
    names = [hypervisor, *(_text(sys / "class/dmi/id" / name).strip() for name in ("sys_vendor", "product_name"))]
    named = " ".join(name for name in names if name)
    if hypervisor or any("hypervisor" in flag for flag in flags):
        return named or "unnamed"
    # x86 tells by a flag whether there is a hypervisor; others say what the machine is called, virtual or not.
    return "none" if any("sse2" in flag for flag in flags) else named or None


def _cuda_facts(device: str) -> dict[str, Fact]:
    import torch

    properties = torch.cuda.get_device_properties(torch.device(device))
    part = _MIG.search(properties.name)
    return {
        "device": properties.name,
        "device_memory_gib": whole_gib(properties.total_memory),
        "device_capability": f"{properties.major}.{properties.minor}",
        "device_multiprocessors": properties.multi_processor_count,
        "device_mig": part[1] if part is not None else "none",
        "device_power_limit_w": _power_limit_w(device, str(getattr(properties, "uuid", ""))),
    }


@functools.cache
def _power_limit_w(device: str, uuid: str) -> int | None:
    """Whole watts. Asked of the driver's tool where its library has no Python module, so that both tell the same."""
    from pytest_diffbench.measure.nvml import Gpu

    gpu = Gpu.of(device)
    limit_w = gpu.facts().get("device_power_limit_w")
    gpu.close()
    return round(limit_w) if isinstance(limit_w, (int, float)) else _power_limit_by_tool_w(uuid)


def _power_limit_by_tool_w(uuid: str) -> int | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid,enforced.power.limit", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = [line.split(",") for line in done.stdout.splitlines() if line.count(",") == 1]
    for name, limit_w in rows:
        if uuid and uuid in name:
            try:
                return round(float(limit_w))
            except ValueError:  # as of cards that have none: [N/A]
                return None
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
