"""Results in the formats of other tools: Bencher, github-action-benchmark, and a JSON object a line."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, SessionReport


def bencher(session: SessionReport) -> str:
    """Bencher Metric Format: a benchmark's measures, each with its value and bounds.

    `latency` is in nanoseconds, as Bencher's own measure of that name; the bounds are the fastest and the slowest
    round. `peak-memory` is in bytes.
    """
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for report in session.cases:
        measures: dict[str, dict[str, float]] = {}
        totals_s = report.observation.run.totals_s
        if _is_whole(report) and totals_s:
            measures["latency"] = {
                "value": 1e9 * statistics.median(totals_s),
                "lower_value": 1e9 * min(totals_s),
                "upper_value": 1e9 * max(totals_s),
            }
        for name, value in _counts(report).items():
            measures[name] = {"value": value}
        if measures:
            benchmarks[report.observation.case.id] = measures
    return json.dumps(benchmarks, indent=2) + "\n"


def github_action_benchmark(session: SessionReport) -> str:
    """The input of github-action-benchmark for its tool `customSmallerIsBetter`."""
    entries: list[dict[str, Any]] = []
    for report in session.cases:
        name, run = report.observation.case.id, report.observation.run
        if _is_whole(report) and run.totals_s:
            spread_s = (max(run.totals_s) - min(run.totals_s)) / 2
            extra = "\n".join(f"{verdict.gate}: {verdict.decision}" for verdict in report.verdicts)
            entries.append(
                {
                    "name": f"{name} time",
                    "unit": "s",
                    "value": run.median_s,
                    "range": f"± {spread_s:.4g}",
                    "extra": extra,
                }
            )
        units = {"peak-memory": "bytes", "denoiser-calls": "calls", "flops": "FLOP"}
        entries += [
            {"name": f"{name} {measure}", "unit": units[measure], "value": value}
            for measure, value in _counts(report).items()
        ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def json_lines(session: SessionReport) -> str:
    """Each case as one JSON object a line, as it stands in the session's file, with when that `started`."""
    lines = []
    for report in session.cases:
        plain = msgspec.to_builtins(report)
        lines.append(msgspec.json.encode({"started": session.started, **plain}).decode())
    return "".join(f"{line}\n" for line in lines)


def _is_whole(report: CaseReport) -> bool:
    return report.error is None and report.observation.complete


def _counts(report: CaseReport) -> dict[str, int]:
    if not _is_whole(report):
        return {}
    work, memory = report.observation.work, report.observation.memory
    counts = {"peak-memory": memory.peak_bytes} if memory is not None else {}
    if work is not None:
        counts |= {"denoiser-calls": work.denoiser_calls, "flops": work.total_flops}
    return counts
