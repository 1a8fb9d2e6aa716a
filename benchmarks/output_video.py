"""What comparing a video costs: 81 frames of 832 x 480, read, kept, compared, stored and read again.

    python benchmarks/output_video.py [--frames 81] [--height 480] [--width 832]

Prints a Markdown table of seconds for each step, and the peak of the process's memory. Run it on a single core. Exits
with 1 where reading, keeping and comparing take more than 5 s together, or the process more than 1.5 GiB at its peak.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pytest_diffbench.measure.returned import facts_of
from pytest_diffbench.outputs.kinds import KINDS, Kept, Value, parts_of
from pytest_diffbench.store.arrays import decode_part, encode_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_MOST_S = 5.0
_MOST_BYTES = 3 * 2**29

Result = TypeVar("Result")


def main() -> int:
    """Measure each step, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    options = parser.parse_args()
    shape = (options.frames, options.height, options.width, 3)
    rows: list[tuple[str, float]] = []

    def timed(step: str, make: Callable[[], Result]) -> Result:
        begin_s = time.perf_counter()
        result = make()
        rows.append((step, time.perf_counter() - begin_s))
        return result

    base = _kept(_film(shape, seed=0))
    before_bytes = _peak_bytes()
    film = _film(shape, seed=1)
    (part,) = timed("read floats as frames", lambda: list(parts_of(Value(name="frames", content=film[None]))))
    now = timed("digests, sketches, whole frames", lambda: KINDS["video"].keep(part))
    comparison = timed("compare", lambda: KINDS["video"].compare(now, base))
    total_s = sum(seconds for _, seconds in rows)
    peak_bytes = _peak_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = timed("encode", lambda: encode_part("returned-0", now.arrays, 1, folder))
        facts = facts_of(now)
        timed("decode", lambda: decode_part("returned-0", facts, lambda file: (files[file], folder / file)))
    print(f"{shape[0]} frames of {shape[2]} x {shape[1]} px, {len(now.kept_pieces)} kept whole\n")
    print("| step | s |\n|---|---:|")
    print("\n".join(f"| {step} | {seconds:.2f} |" for step, seconds in rows))
    print(f"\nread, keep and compare: {total_s:.2f} s; {len(comparison.figures)} figures")
    print(f"stored: {sum(map(len, files.values())) / 2**20:.1f} MiB")
    print(f"peak of the process: {peak_bytes / 2**30:.2f} GiB, before the call {before_bytes / 2**30:.2f} GiB")
    return int(total_s > _MOST_S or peak_bytes > _MOST_BYTES)


def _film(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Waves that travel under grain, which no compression does away with; made frame by frame."""
    generator = np.random.default_rng(seed)
    y, x = (axis.astype(np.float32) / 40 for axis in np.mgrid[0 : shape[1], 0 : shape[2]])
    film = np.empty(shape, np.float32)
    for number in range(shape[0]):
        for channel in range(3):
            film[number, ..., channel] = 0.5 + 0.3 * np.sin(x + 0.1 * number) * np.cos((channel + 1) * y)
        film[number] += generator.normal(0, 0.01, shape[1:]).astype(np.float32)
    return film.clip(0, 1, out=film)


def _kept(film: NDArray[np.float32]) -> Kept:
    (part,) = parts_of(Value(name="frames", content=film[None]))
    return KINDS["video"].keep(part)


def _peak_bytes() -> int:
    """Of the resident set; Linux counts kibibytes, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.exit(main())
