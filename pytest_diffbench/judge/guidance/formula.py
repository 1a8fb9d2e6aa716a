"""What a formula of guidance takes and returns: a call, and what is expected of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_diffbench.records.details import RenormKind

if TYPE_CHECKING:
    from pytest_diffbench.records import JointOrder

Renorm: TypeAlias = RenormKind
"""What becomes of a guided prediction g beside the conditional one c, with `renorm_factor` f.

`rows`: each row along the last axis gets the norm of the same row of c. `clamp`: a sample whose norm exceeds f times
that of c is scaled down to it. `std`: g times f std(c) / std(g) + 1 - f, sample by sample.
"""


class UnknownArgumentError(LookupError):
    """An argument that a formula needs wasn't recorded. Its text is the argument's name."""


class NotCoveredError(LookupError):
    """A call asks for what a formula doesn't describe. Its text says what that is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as a formula sees it.

    Attributes:
        arguments: plain values, with the pipeline's defaults filled in.
        passed: what the test passed or the model recommends; lists stand in full, a tensor as shape and digest.
        denoiser_takes: names of the tensor arguments that the denoiser was handed.
        timesteps: what the scheduler was handed at each step that ran, None where that wasn't recorded.
    """

    arguments: Mapping[str, Any]
    passed: Mapping[str, Any]
    denoiser_takes: frozenset[str] = frozenset()
    timesteps: tuple[float | None, ...] = ()

    def number(self, name: str) -> float:
        """A number among the arguments. Raises UnknownArgumentError for anything else."""
        value = self.arguments.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  # NaN
            raise UnknownArgumentError(name)
        return value

    def steps(self, *names: str) -> int:
        """Number of steps asked for: the length of the first list among `names` that is passed, else the number."""
        for name in names or ("sigmas",):
            given = self.passed.get(name)
            if isinstance(given, list | tuple):
                return len(given)
            if given is not None:
                raise UnknownArgumentError(name)
        return int(self.number("num_inference_steps"))

    def given(self, *names: str) -> bool:
        """Whether one of these arguments isn't None. Raises UnknownArgumentError where one wasn't recorded."""
        for name in names:
            if self.arguments.get(name) is not None or self.passed.get(name) is not None:
                return True
        for name in names:
            if name not in self.arguments and name not in self.passed:
                raise UnknownArgumentError(name)
        return False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a call's arguments ask of guidance.

    Attributes:
        steps: scheduler steps.
        guided: steps, from 0, at which both branches are mixed; all others use the conditional prediction alone.
        scale: w of the guided steps, which mix u + w (c - u).
        renorm: what becomes of a guided prediction.
        renorm_factor: goes with `clamp` and `std`.
        sign: sign with which the pipeline hands its prediction to the scheduler.
        enabled: guidance is switched on, whether or not some steps are truncated.
        truncation: words for why steps are not guided.
        joint_order: of the branches in a joint call; None where each has a call of its own.
        references: what others would do with the same arguments, in words, by name. For information only.
    """

    steps: int
    guided: frozenset[int]
    scale: float
    renorm: Renorm = "none"
    renorm_factor: float = 1.0
    sign: int
    enabled: bool
    truncation: str
    joint_order: JointOrder | None = None
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)


Formula: TypeAlias = Callable[[Call], Expected]
"""May raise UnknownArgumentError or NotCoveredError."""
