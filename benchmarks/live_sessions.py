"""Runs the ready-made suite again and again on identical code, and counts what turns red.

    python benchmarks/live_sessions.py --folder .live [--saves 10] [--sessions 40]

First `--saves` sessions are saved as baselines of their own, then `--sessions` are held against them. Every session
is a process of its own that ends with a JSON in the folder, so that a run that was stopped goes on where it was. At
the end: how many sessions were red (with the 95 % bound of Clopper and Pearson), each verdict on time by its reason,
how small a slowdown would have been seen, and what the confirmations cost. `--out FILE` writes each run's rounds,
calibrations and processor time, a line each, to be replayed.

Exits with 1 where a session was red.
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent
SUITE = ("--pyargs", "pytest_diffbench.suite")


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, then tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True, help="for baselines and sessions")
    parser.add_argument("--saves", type=int, default=10, help="runs in the baselines")
    parser.add_argument("--sessions", type=int, default=40, help="held against them")
    parser.add_argument("--out", type=Path, help="write the runs here, a line each")
    parser.add_argument("pytest", nargs="*", help="what pytest gets besides, after --")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.saves):
        session(options.folder, f"save-{number:02}", "--diffbench-save", *options.pytest)
    for number in range(options.sessions):
        session(options.folder, f"session-{number:02}", "--diffbench", *options.pytest)
    sessions = [json.loads(path.read_text()) for path in sorted(options.folder.glob("session-*.json"))]
    if options.out is not None:
        paths = sorted(options.folder.glob("*.json"))
        lines = [line for path in paths for line in runs_of(json.loads(path.read_text()), path.stem)]
        options.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tell(sessions)


def session(folder: Path, name: str, *options: str) -> None:
    """Run one session, unless its file is there already."""
    path = folder / f"{name}.json"
    if path.exists():
        return
    begin = time.monotonic()
    half = path.with_suffix(".part")
    command = [sys.executable, "-m", "pytest", *SUITE, *options, "-q", "-p", "no:cacheprovider"]
    command += [
        "--diffbench-baselines",
        str((folder / "baselines").resolve()),
        "--diffbench-json",
        str(half.resolve()),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    path.with_suffix(".txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if not half.exists():
        raise SystemExit(f"{name} ended with {done.returncode} and no results; see {path.with_suffix('.txt')}")
    half.rename(path)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    print(f"{name}: exit {done.returncode}, {time.monotonic() - begin:.0f} s: {last}", flush=True)


def runs_of(report: dict[str, Any], name: str) -> Iterable[dict[str, Any]]:
    """The runs of a session, fresh processes included: what a replay of the time gate needs of them."""
    for case in report["cases"]:
        runs = [case["observation"]["run"], *case.get("confirmations", ())]
        for number, run in enumerate(runs):
            yield {
                "session": name,
                "case": case["observation"]["case"]["id"].rpartition("/")[2],
                "confirmation": number,
                "started": run["started"],
                "totals_s": [round(timed["total_s"], 6) for timed in run["rounds"]],
                "calibration_s": [round(pace_s, 6) for pace_s in run["calibration_s"]],
                "cpu_s": [(timed.get("telemetry") or {}).get("cpu_s") for timed in run["rounds"]],
            }


def tell(sessions: list[dict[str, Any]]) -> int:
    """Print the tables; 1 where a session was red."""
    from scipy.stats import beta

    reds, decisions = [], collections.Counter[str]()
    detectable: list[float] = []
    confirmations = 0
    for number, report in enumerate(sessions):
        worse = [
            f"{case['observation']['case']['id']}: {verdict['reason']}: {verdict['message']}"
            for case in report["cases"]
            for verdict in case["verdicts"]
            if verdict["decision"] == "worse"
        ]
        if worse:
            reds.append((number, worse))
        for case in report["cases"]:
            confirmations += len(case.get("confirmations", ()))
            for verdict in case["verdicts"]:
                if verdict["gate"] == "time":
                    decisions[verdict["reason"]] += 1
                    if isinstance(verdict["details"].get("detectable_rel"), float):
                        detectable.append(verdict["details"]["detectable_rel"])
    count, red = len(sessions), len(reds)
    bound = float(beta.ppf(0.975, red + 1, count - red)) if red < count else 1.0
    cases = sum(len(report["cases"]) for report in sessions)
    print(f"\n{count} sessions of identical code, {cases} cases: {red} red (95 % bound {bound:.1%})")
    print(f"{confirmations} fresh processes asked, {confirmations / max(count, 1):.1f} a session")
    for reason, number in decisions.most_common():
        print(f"  {reason:24} {number:5}  {number / cases:6.1%}")
    if detectable:
        low, middle, high = (statistics.quantiles(detectable, n=10)[i] for i in (0, 4, 8))
        print(f"would have seen: median +{middle:.1%}, a tenth of cases +{low:.1%}, nine tenths +{high:.1%}")
    for number, worse in reds:
        print(f"red: session {number}", *worse, sep="\n  ")
    return 1 if reds else 0


if __name__ == "__main__":
    raise SystemExit(main())
