"""How much memory a device has left for what is about to be allocated."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/")


def free_bytes(device: str, root: Path = _ROOT) -> int | None:
    """Bytes that can be allocated on a device; None where the platform doesn't tell.

    On a GPU what torch has reserved and doesn't use counts as free. On Linux it is what the kernel takes for
    available, and no more than the limit of a container leaves.

    Args:
        device: a torch device.
        root: of the file system, for tests.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        import torch

        place = torch.device(device)
        free, _ = torch.cuda.mem_get_info(place)
        return free + torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
    if kind != "cpu":
        return None
    known = [limit for limit in (_available(root), _left_in_group(root)) if limit is not None]
    return min(known, default=None)


def _available(root: Path) -> int | None:
    """What the kernel takes for available to new work without swapping (proc(5), meminfo)."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_group(root: Path) -> int | None:
    """What the limit of a container leaves (control groups, versions 2 and 1); files in its cache can be dropped."""
    for folder, limit_name, used_name in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        group = root / folder
        try:
            limit = int((group / limit_name).read_text())  # version 2 says "max" where there is none
            used = int((group / used_name).read_text())
            lines = (group / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue
        cached = sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
        return max(0, limit - used + cached)
    return None
