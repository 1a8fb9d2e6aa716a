"""Time that threads of this process were ready to run and had no processor, as Linux's scheduler counts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

Waits: TypeAlias = dict[str, int]
"""Nanoseconds that each thread has waited so far, by its id."""


class Waiting:
    """Reads how long the threads of this process have waited. A thread costs about 10 µs.

    Args:
        proc: the folder that is `/proc` on Linux.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._tasks = str(proc / "self/task")

    def read(self) -> Waits | None:
        """Waits of all threads; None where the system doesn't count them."""
        try:
            threads = os.listdir(self._tasks)  # noqa: PTH208 - bare names will do
        except OSError:
            return None
        waits: Waits = {}
        counted = False
        for thread in threads:
            try:
                file = os.open(f"{self._tasks}/{thread}/schedstat", os.O_RDONLY)
            except FileNotFoundError:
                continue  # ended since the folder was listed, or there are no such files at all
            except OSError:
                return None
            try:
                _ran_ns, waited_ns, slices = map(int, os.read(file, 80).split())
            except ProcessLookupError:
                continue
            except (OSError, ValueError):
                return None
            finally:
                os.close(file)
            waits[thread] = waited_ns
            counted = counted or slices > 0
        # A kernel that doesn't count shows three zeros; the thread that reads this has had a slice.
        return waits if counted else None


def waited_s(before: Waits | None, after: Waits | None) -> float | None:
    """Seconds that threads waited between two readings, added up over them.

    Threads that began in between count from their beginning. Those that ended in between aren't counted: nothing
    tells how long they had waited.

    Returns:
        None where a reading is.
    """
    if before is None or after is None:
        return None
    # A number that is smaller than before is that of another thread, which was given the id of one that had ended.
    return sum(now - (then if (then := before.get(thread, 0)) <= now else 0) for thread, now in after.items()) / 1e9


def net_s(wall_s: float, waits_s: float | None, computed_s: float) -> float:
    """What a piece of work took, without what threads waited for a processor meanwhile.

    Threads can wait at one and the same time, or while nobody needs them; then their sum is more than was lost, and
    what the calling thread computed is the better figure.

    Args:
        wall_s: by the wall clock.
        waits_s: added up over all threads; None where it isn't told.
        computed_s: processor time of the thread that called.

    Returns:
        Between `computed_s` and `wall_s`.
    """
    return min(max(wall_s - (waits_s or 0.0), computed_s), wall_s)
