"""Projections of many numbers to a few, such that distances survive."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SKETCH_SIZE = 256
"""Numbers of a projection."""

CHUNK = 1 << 16
"""Elements that are projected at once."""


def project(values: NDArray[Any]) -> NDArray[np.float64]:
    """A count sketch (Charikar, Chen, Farach-Colton 2002) of finite numbers, of shape (SKETCH_SIZE,).

    Each number is added, with a fixed pseudo-random sign, to one fixed pseudo-random bucket. The squared norm of a
    sketch is an unbiased estimate of the squared norm of all, with a relative standard deviation of about
    sqrt(2 / SKETCH_SIZE); the map is linear, so the same holds for differences.
    """
    import numpy as np

    flat = values.reshape(-1)
    sums = np.zeros(2 * SKETCH_SIZE)
    for number, begin in enumerate(range(0, flat.size, CHUNK)):
        part = flat[begin : begin + CHUNK].astype(np.float64)
        sums += np.bincount(signed_buckets(number)[: part.size], weights=part, minlength=2 * SKETCH_SIZE)
    return np.asarray(sums[:SKETCH_SIZE] - sums[SKETCH_SIZE:])


@lru_cache(maxsize=64)
def signed_buckets(chunk: int) -> NDArray[np.uint16]:
    """Bucket of each element of a chunk, SKETCH_SIZE higher where the element counts negatively."""
    import numpy as np

    first = chunk * CHUNK + 1
    # splitmix64's finaliser: plain integer arithmetic, so that no library's generator can change it.
    with np.errstate(over="ignore"):
        mixed = np.arange(first, first + CHUNK, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    negative = mixed >> np.uint64(63) == 0
    buckets: NDArray[np.uint16] = (mixed % np.uint64(SKETCH_SIZE)).astype(np.uint16)
    buckets[negative] += np.uint16(SKETCH_SIZE)
    return buckets
