"""Where a call's time goes, operator by operator: from rounds of their own that are never timed for the verdict."""

from __future__ import annotations

from typing import Literal

from pytest_diffbench.records.base import PositiveCount, Record, Seconds, Stage


class Operator(Record, frozen=True, kw_only=True):
    """One operator or kernel within one stage.

    Attributes:
        name: as the profiler names it, `aten::addmm` or a kernel's name without its template arguments.
        stage: that it ran in.
        calls: how often.
        self_s: its time without that of the operators it calls, summed over its calls.
        launched_by: of a kernel, the innermost operator on the processor that launched it; None for an operator, and
            where the profiler doesn't tell.
    """

    name: str
    stage: Stage
    calls: PositiveCount
    self_s: Seconds
    launched_by: str | None = None

    @property
    def label(self) -> str:
        """The name, of a kernel with what launched it: cuBLAS names no layer."""
        return self.name if self.launched_by is None else f"{self.name} of {self.launched_by}"


class Profile(Record, frozen=True, kw_only=True):
    """The operators of one profiled round, on the processor of the quieter of two, the most expensive first.

    Attributes:
        kind: `cpu` for operators on the processor, `device` for kernels.
        total_s: their time in all; what a bound on the number of rows leaves out is in it.
        operators: the rows.
    """

    kind: Literal["cpu", "device"]
    total_s: Seconds
    operators: tuple[Operator, ...]
