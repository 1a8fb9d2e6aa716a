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
    """One case, as every gate sees it.

    Attributes:
        observation: what was measured.
        artifacts: its images and trace.
        reference: the baseline, None where there is none.
        limits: thresholds.
        saving: this run is about to be accepted as baseline.
        more_runs: of the same case in fresh processes, made since the first run left the verdict on time open.
        more_ratios: of those runs, where the case is a variant.
        peer_runs: runs of the other baselines of this machine, by case: they tell the spread between runs while
            this case has few.
        family_size: parts that the session's error budget is cut into; this case has one.
        metrics: of other packages, by which images are compared too.
    """

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
