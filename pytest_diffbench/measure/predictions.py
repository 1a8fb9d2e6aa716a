"""Arithmetic on predictions, widened to float64 on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def double(tensor: torch.Tensor) -> NDArray[np.float64]:
    """A tensor's values as float64."""
    import torch

    # Widened on the host: the device's memory is being watched.
    array: NDArray[np.float64] = tensor.detach().to("cpu").to(torch.float64).numpy()
    return array


def norm(array: Any) -> float:
    """Euclidean, over all elements."""
    import numpy as np

    return float(np.linalg.norm(np.ravel(array)))


def finite(array: NDArray[np.float64]) -> bool:
    """Whether all elements are."""
    import numpy as np

    return bool(np.isfinite(array).all())


def norm_ratios(o: NDArray[np.float64], c: NDArray[np.float64] | None) -> tuple[float, float] | None:
    """Least and greatest norm of a row of o over that of the same row of c; None where a row of c is zero."""
    import numpy as np

    if c is None:
        return None
    of_o, of_c = np.linalg.norm(o, axis=-1), np.linalg.norm(c, axis=-1)
    if not (of_c > 0).all():
        return None
    ratios = of_o / of_c
    return float(ratios.min()), float(ratios.max())


def cosine(c: NDArray[np.float64] | None, u: NDArray[np.float64] | None) -> float | None:
    import numpy as np

    if c is None or u is None or not finite(c) or not finite(u):
        return None
    norms = norm(c) * norm(u)
    return float(np.vdot(c, u)) / norms if norms > 0 else None
