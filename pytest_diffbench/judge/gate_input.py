"""What a gate is asked: the measurement, what to hold it against, and the thresholds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.outputs.metrics import ImageMetric
    from pytest_diffbench.records import Observation, RatioRun, Run
    from pytest_diffbench.records.artifacts import Artifacts, Reference


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """One case, as every gate sees it: the arguments of `judge.judge`."""

    observation: Observation
    artifacts: Artifacts
    reference: Reference | None
    limits: Limits
    saving: bool = False
    more_runs: Sequence[Run] = ()
    more_ratios: Sequence[RatioRun] = ()
    peer_runs: Mapping[str, Sequence[Run]] = dataclasses.field(default_factory=dict)
    family_size: int = 1
    metrics: Sequence[ImageMetric] = ()

    @property
    def baseline(self) -> Reference:
        """The reference, for gates that are only asked when there is one. Raises ValueError when there isn't."""
        if self.reference is None:
            raise ValueError("this gate needs a baseline; the table of gates must say so")
        return self.reference
