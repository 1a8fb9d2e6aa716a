"""What the tests of a session have measured, wherever they ran, and the session's record of it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench import __version__, options
from pytest_diffbench.records import DECISIONS, CaseReport, Comparison, SessionReport, Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_diffbench.options import Settings, Typed


class Collected:
    """Cases and comparisons, in the order in which their tests ended."""

    def __init__(self) -> None:
        self._started = _now()
        self.cases: list[CaseReport] = []
        self.comparisons: list[Comparison] = []
        self.skipped: dict[str, Skipped] = {}
        self.interrupted = False

    @staticmethod
    def hand_over(
        report: pytest.TestReport, cases: Sequence[CaseReport], comparisons: Sequence[Comparison], *, missing: bool
    ) -> None:
        """Put them into a benchmark's report, as text, so that they also travel from a parallel worker.

        Args:
            report: of any phase.
            cases: what was measured.
            comparisons: what was compared.
            missing: the test's pipeline can't be had.
        """
        extras: Any = report  # reports take extras
        extras.diffbench_missing = missing
        if cases:
            extras.diffbench = [msgspec.json.encode(one).decode() for one in cases]
        if comparisons:
            extras.diffbench_comparisons = [msgspec.json.encode(one).decode() for one in comparisons]

    def take(self, report: pytest.TestReport) -> None:
        """Take out what was handed over."""
        missing = getattr(report, "diffbench_missing", None)
        if missing is not None and report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[report.nodeid] = Skipped(
                test=report.nodeid, reason=reason.removeprefix("Skipped: "), missing=missing
            )
        for text in getattr(report, "diffbench", ()):
            self.cases.append(msgspec.json.decode(text, type=CaseReport))
        for text in getattr(report, "diffbench_comparisons", ()):
            self.comparisons.append(msgspec.json.decode(text, type=Comparison))

    def unjudged(self, *, required: bool) -> str | None:
        """Why the session fails though every test of it may have passed; None where it doesn't.

        Args:
            required: each benchmark that was selected has to be run.
        """
        if required and self.skipped:
            count = len(self.skipped)
            return f"{count} benchmark{' was' if count == 1 else 's were'} skipped, and --diffbench-require wants all"
        missing = sum(one.missing for one in self.skipped.values())
        if missing and not self.cases:
            were = "benchmark was" if missing == 1 else "benchmarks were"
            return f"nothing was measured: {missing} {were} skipped for want of a pipeline"
        return None

    def session_report(self, settings: Settings, typed: Typed) -> SessionReport:
        """All of the session so far."""
        verdicts = [verdict for case in self.cases for verdict in case.verdicts]
        return SessionReport(
            diffbench=__version__,
            started=self._started,
            finished=_now(),
            interrupted=self.interrupted,
            settings={
                name: ",".join(value) if isinstance(value, tuple) else value
                for name in dict.fromkeys([*options.names("c"), *options.names("i")])
                for value in [getattr(settings, name)]
            },
            counts={decision: sum(verdict.decision == decision for verdict in verdicts) for decision in DECISIONS},
            command=typed.command,
            root=typed.root,
            missing_baselines=tuple(
                case.observation.case.id
                for case in self.cases
                if {case.baseline_path, case.saved, case.error, case.against} == {None}
            ),
            skipped=tuple(self.skipped.values()),
            cases=tuple(self.cases),
            comparisons=tuple(self.comparisons),
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
