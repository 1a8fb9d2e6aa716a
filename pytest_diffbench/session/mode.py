"""What a session measures for. One of four, chosen by the options and kept for the whole session."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pytest

    from pytest_diffbench.records import CaseReport, Observation, Probe
    from pytest_diffbench.records.artifacts import Artifacts
    from pytest_diffbench.session.verdicts import Concluded
    from pytest_diffbench.settings.options import Settings
    from pytest_diffbench.workers.turns import TurnClient


@dataclasses.dataclass(frozen=True, slots=True)
class MeasuredCase:
    """A case of a test that is over.

    Attributes:
        observation: what was observed.
        artifacts: its images and trace.
        problem: why its measurement didn't complete; None where it did.
    """

    observation: Observation
    artifacts: Artifacts
    problem: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTest:
    """A benchmark that is over, with what it measured.

    Attributes:
        item: the test.
        settings: its own.
        cases: in the order in which they were measured.
        targets: what was measured; emptied by whoever has to free the device's memory.
        failed: the test failed by itself.
        family_size: parts that the session's error budget is cut into; each case has one.
        took_s: its time so far, loading its pipeline included.
    """

    item: pytest.Item
    settings: Settings
    cases: Sequence[MeasuredCase]
    targets: list[Any]
    failed: bool
    family_size: int
    took_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Conclusion:
    """What becomes of a test's cases. `interrupted` where somebody stopped it on the way."""

    cases: Sequence[Concluded]
    interrupted: bool = False


class Mode(Protocol):
    """What a session measures for, and what becomes of what was measured.

    A mode is registered as a plugin as well, for the hooks of pytest that it alone needs. What has a body here is
    what most modes do.

    Attributes:
        reports: whether this session writes results and a summary.
        output_only: make one call of each case, for what it returns.
        probes: make further calls with inputs that are drawn, where they are asked for.
        relatives: processes on the device that started this one.
        turns: where rounds are made by turns with another process: its client.
        expected_s: seconds that the tests will take; None where nobody knows.
    """

    reports: bool = True
    expected_s: float | None = None
    output_only: bool = False
    probes: bool = False
    relatives: int = 0
    turns: TurnClient | None = None

    def begin(self, tests: Sequence[tuple[pytest.Item, Settings]]) -> None:  # noqa: ARG002  # most need none of them
        """Learn which benchmarks will run, in their order, with their settings."""
        return

    def settings_of(self, settings: Settings) -> Settings:
        """The settings that a test is measured with, from its own."""
        return settings

    def prepare(self, pipeline: Any) -> None:  # noqa: ARG002  # a worker alone does
        """Change a pipeline before a test gets it."""
        return

    def wants_profile(
        self,
        settings: Settings,  # noqa: ARG002  # those who look at a profile need them
        observation: Observation,  # noqa: ARG002
        artifacts: Artifacts,  # noqa: ARG002
    ) -> bool:
        """Whether to profile a case that was just measured, while its pipeline is still as it was."""
        return False

    def earlier_probe(self, observation: Observation) -> Probe | None:  # noqa: ARG002  # most have nothing to compare with
        """What was probed of the case that this one is compared with; None where that wasn't."""
        return None

    def conclude(self, test: MeasuredTest) -> Conclusion:
        """Decide what becomes of the cases of a test that is over."""
        ...

    def unreached(self, reached: Collection[str]) -> Sequence[CaseReport]:  # noqa: ARG002  # most know of none
        """What is known of cases that an interrupted session didn't measure; their ids aren't in `reached`."""
        return ()
