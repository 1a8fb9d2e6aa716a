"""How far calls are from the same call in float64: whether an optimisation loses more than rounding does anyway.

Feasible where the pipeline fits into memory twice more and its device computes in float64, such as a mini on a CPU.
"""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.components import modules_of
from pytest_diffbench.measure.definition import parameters_of
from pytest_diffbench.measure.rounds import Caller
from pytest_diffbench.measure.state import preserved
from pytest_diffbench.measure.values import arrays_in, values_in
from pytest_diffbench.pipelines.devices import devices_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def in_float64(pipeline: Any) -> Any:
    """A copy of a pipeline whose weights and arithmetic are in float64.

    Raises:
        MeasureError: it is no pipeline, can't be copied, or its device has no float64.
    """
    import torch

    if not modules_of(pipeline):
        raise MeasureError("float64=True needs a pipeline of diffusers as the reference. Leave it out.")
    try:
        exact = copy.deepcopy(pipeline)
        for module in modules_of(exact).values():
            module.to(torch.float64)
    except Exception as error:  # what can't be copied or cast raises all kinds
        raise MeasureError(
            f"float64=True: {type(pipeline).__name__} can't be had in float64 ({type(error).__name__}: {error}). "
            "Leave it out; the tier is then not asked."
        ) from error
    return exact


def outputs(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any], seed: int) -> list[NDArray[np.float64]]:
    """What a call returns as arrays of numbers, not as pictures of 256 levels, where the target can say so.

    Noise is drawn in float32 whatever the target's dtype: the generator's numbers differ from dtype to dtype.
    """
    arguments = dict(kwargs)
    parameters = parameters_of(target)
    if "output_type" in parameters and parameters["output_type"].default in ("pil", "np"):
        arguments.setdefault("output_type", "np")
    caller = Caller(target, args, arguments, seed, clock_for(*devices_of(target, "cpu")))
    with preserved(None, collect=False), _draws_float32()():
        caller.prepare()
        try:
            output = caller.call()
        finally:
            caller.close()
    found = [array for value in values_in(output) for _, array in arrays_in(value)]
    return [np.asarray(array, dtype=np.float64) for array in found if array.dtype.kind in "fiub"]


def distance_rel(arrays: Sequence[NDArray[np.float64]], exact: Sequence[NDArray[np.float64]]) -> float | None:
    """Root mean square of the difference over the exact output's standard deviation, of the worst array.

    Returns:
        None where there is nothing to compare, or shapes differ.
    """
    if not exact or [array.shape for array in arrays] != [array.shape for array in exact]:
        return None
    distances = []
    for array, other in zip(arrays, exact, strict=True):
        spread = float(other.std()) or 1.0
        distances.append(math.sqrt(float(np.mean((array - other) ** 2))) / spread)
    worst = max(distances)
    return worst if math.isfinite(worst) else None


@functools.cache
def _draws_float32() -> Any:
    # made when it is first wanted, since its base class comes with torch
    import torch
    from torch.overrides import TorchFunctionMode

    draws = {torch.randn, torch.rand, torch.randn_like, torch.rand_like}

    class DrawsFloat32(TorchFunctionMode):
        """Random numbers are drawn in float32 and then widened."""

        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            like = args[0] if func in (torch.randn_like, torch.rand_like) and args else None
            dtype = kwargs.get("dtype", getattr(like, "dtype", None))
            if func in draws and dtype is torch.float64:
                return func(*args, **(kwargs | {"dtype": torch.float32})).to(torch.float64)
            return func(*args, **kwargs)

    return DrawsFloat32
