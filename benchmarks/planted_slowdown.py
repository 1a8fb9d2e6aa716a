"""How often the time gate finds a planted slowdown, and how often it cries wolf, on this machine.

    python benchmarks/planted_slowdown.py [--runs 10] [--slower 0.5] [--baseline-runs 10]

A small case on the lumina2 mini is saved from fresh processes, until its baseline holds the runs that were asked for.
Then fresh processes are judged, by turns with the denoiser slowed and without. The table counts what `time` said.
Exits with 1 where a slowed run was called `same` or `better`, or a sound one `worse`.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Verdict

ROOT = Path(__file__).parent.parent
HELPERS = ROOT / "tests" / "helpers"

_TEST_FILE = """
import contextlib
import os

import pytest
from broken_pipelines import slowed


@pytest.mark.diffbench(model="lumina2", gates="time")
def test_case(diffbench, diffbench_pipeline):
    share = float(os.environ["DIFFBENCH_SLOWER"])
    with slowed(diffbench_pipeline.transformer, share) if share else contextlib.nullcontext():
        diffbench(diffbench_pipeline, "a red circle", num_inference_steps=8, cfg_trunc_ratio=0.5)
"""


def main() -> int:
    """Save, judge, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="judged processes of each kind")
    parser.add_argument("--slower", type=float, default=0.5, help="share of its time that each denoiser call gains")
    parser.add_argument("--baseline-runs", type=int, default=10)
    options = parser.parse_args()
    if options.slower <= 0 or options.runs < 1 or options.baseline_runs < 1:
        parser.error("--slower, --runs and --baseline-runs are above 0")
    begin_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "test_case.py").write_text(_TEST_FILE, encoding="utf-8")
        (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        refused = _save(project, options.baseline_runs)
        said: dict[float, list[Verdict]] = {options.slower: [], 0.0: []}
        for _ in range(options.runs):
            for share, verdicts in said.items():
                verdicts.append(_time_verdict(_run(project, share, "--diffbench")))
    print("| denoiser | processes | `worse` | `unsure` | `same` | `better` | reasons |")
    print("|---|---|---|---|---|---|---|")
    for share, verdicts in said.items():
        decisions = collections.Counter(verdict.decision for verdict in verdicts)
        reasons = collections.Counter(verdict.reason for verdict in verdicts).most_common()
        counts = " | ".join(str(decisions[name]) for name in ("worse", "unsure", "same", "better"))
        counted_reasons = ", ".join(f"`{reason}` {count}" for reason, count in reasons)
        print(f"| {_kind(share)} | {len(verdicts)} | {counts} | {counted_reasons} |")
    print()
    print(
        f"{options.baseline_runs} runs in the baseline, {refused} further refused while saving;"
        f" {time.perf_counter() - begin_s:.0f} s in all."
    )
    for share, verdicts in said.items():
        for verdict in verdicts:
            print(f"  {_kind(share)}: {verdict.reason}: {verdict.message}")
    missed = any(verdict.decision in ("same", "better") for verdict in said[options.slower])
    return int(missed or any(verdict.decision == "worse" for verdict in said[0.0]))


def _save(project: Path, wanted: int) -> int:
    """Save until the baseline holds the runs wanted. Returns how many were refused, as unsteady ones are."""
    saved = refused = 0
    while saved < wanted:
        if refused > 2 * wanted:
            raise SystemExit(f"{refused} runs were refused as a baseline, {saved} saved: this machine is too busy.")
        outcome = saved_text(_run(project, 0.0, "--diffbench-save").saved) or "refused: nothing was measured"
        if outcome.startswith("refused"):
            refused += 1
            print(outcome, file=sys.stderr)
        else:
            saved += 1
    return refused


def _run(project: Path, slower: float, option: str) -> CaseReport:
    """Measure the case in a process of its own."""
    report = project / "session.json"
    report.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"DIFFBENCH_SLOWER": str(slower), "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", option, f"--diffbench-json={report.name}"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if not report.exists():
        raise SystemExit(f"pytest wrote no results:\n{done.stdout}{done.stderr}")
    (case,) = session_json.load(report).cases
    if case.error is not None:
        raise SystemExit(f"the case wasn't measured: {case.error}")
    return case


def _kind(slower: float) -> str:
    return f"{100 * slower:g} % slower" if slower else "sound"


def _time_verdict(case: CaseReport) -> Verdict:
    (verdict,) = [verdict for verdict in case.verdicts if verdict.gate == "time"]
    return verdict


if __name__ == "__main__":
    sys.exit(main())
