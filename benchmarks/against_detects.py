"""Whether `--diffbench-against` finds a fifth more denoiser work in one of two environments, and what else it finds.

    python benchmarks/against_detects.py --folder .against [--trials 20] [--steps 5] [--pairs 5] [--kind planted]

Two environments are made in the folder. Both see the packages of the interpreter that runs this, and each has a
module `denoiser_work` of its own: that of one calls the denoiser again at every fifth call and throws the result
away. A trial is `pytest --diffbench --diffbench-against` of one test of the Lumina2 mini in the slower environment,
against the faster one; by turns with one in which both are equal. Each trial leaves a JSON in the folder, so that a
run that was stopped goes on where it was. Found is a verdict `worse` on the case's time; an alarm is one between
equals. The gate on work would find so plain a fault at once: only time is looked at here. Prints a Markdown table.
Exits with 1 where fewer than 19 of 20 are found, or more than one in 20 is an alarm.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from typing import Any

_LEAST_DETECTED, _MOST_ALARMS = 0.95, 0.05
_EVERY = 5

_MODULE = '''"""How much of a denoiser's work this environment does twice."""

EVERY = {every}
'''

_CONFTEST = """import pytest
from denoiser_work import EVERY


@pytest.fixture
def heavier(diffbench_pipeline):
    denoiser = diffbench_pipeline.transformer
    forward, calls = denoiser.forward, 0

    def again(*args, **kwargs):
        nonlocal calls
        calls += 1
        if EVERY and calls % EVERY == 0:
            forward(*args, **kwargs)
        return forward(*args, **kwargs)

    denoiser.forward = again
    yield diffbench_pipeline
    del denoiser.forward
"""

_TEST = """import pytest


@pytest.mark.diffbench(model="lumina2")
def test_denoiser(diffbench, heavier):
    diffbench(heavier, "a large red circle on a blue background", num_inference_steps={steps})
"""


def main() -> int:
    """Run the trials that are missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for environments and trials")
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--steps", type=int, default=5, help="two denoiser calls each: of five, ten")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of processes that each trial begins with")
    parser.add_argument("--kind", choices=["planted", "sound"], action="append", help="both by default")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kinds = options.kind or ["planted", "sound"]
    plain, heavy = (_environment(folder / name, every) for name, every in (("plain", 0), ("heavy", _EVERY)))
    project = folder / "project"
    project.mkdir(exist_ok=True)
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "conftest.py").write_text(_CONFTEST)
    (project / "test_denoiser.py").write_text(_TEST.format(steps=options.steps))
    for number in range(options.trials):
        for kind in kinds:
            path = folder / f"{kind}-{number:02}.json"
            _trial(project, path, heavy if kind == "planted" else plain, plain, options.pairs)
    return _tell(
        {kind: [json.loads(path.read_text()) for path in sorted(folder.glob(f"{kind}-*.json"))] for kind in kinds}
    )


def _environment(folder: Path, every: int) -> Path:
    """An environment that sees this interpreter's packages; returns its interpreter."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    interpreter = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    packages = Path(interpreter.stdout.strip())
    # `addsitedir` heeds the other folder's own .pth files, those of editable installations among them.
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (packages / "denoiser_work.py").write_text(_MODULE.format(every=every))
    return python


def _trial(project: Path, path: Path, head: Path, base: Path, pairs: int) -> None:
    if path.exists():
        return
    begin = time.monotonic()
    half = path.with_suffix(".part")
    command = [str(head), "-m", "pytest", "--diffbench", "--diffbench-against", str(base), "-q"]
    command += ["--diffbench-pairs", str(pairs), "--diffbench-json", str(half), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    path.with_suffix(".txt").write_text(done.stdout + done.stderr)
    if not half.exists():
        raise SystemExit(f"{path.stem} ended with {done.returncode} and no results; see {path.with_suffix('.txt')}")
    report = json.loads(half.read_text())
    seconds = time.monotonic() - begin
    verdicts = [verdict for case in report["cases"] for verdict in case["verdicts"] if verdict["gate"] == "time"]
    half.unlink()
    path.write_text(json.dumps({"seconds": seconds, "time": verdicts}, indent=1))
    print(
        f"{path.stem}: {seconds:.0f} s: {', '.join(verdict['reason'] for verdict in verdicts)}",
        file=sys.stderr,
        flush=True,
    )


def _tell(trials_by_kind: dict[str, list[dict[str, Any]]]) -> int:
    print("| this environment | trials | worse | better | neither | reasons | median time of a trial |")
    print("|---|---|---|---|---|---|---|")
    met = True
    for kind, trials in trials_by_kind.items():
        decisions = [{verdict["decision"] for verdict in trial["time"]} for trial in trials]
        worse = sum("worse" in decided for decided in decisions)
        better = sum("better" in decided and "worse" not in decided for decided in decisions)
        reasons = collections.Counter(verdict["reason"] for trial in trials for verdict in trial["time"])
        counted_reasons = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        seconds = statistics.median(trial["seconds"] for trial in trials)
        name = "a fifth more denoiser work" if kind == "planted" else "equal"
        print(
            f"| {name} | {len(trials)} | {worse} | {better} | {len(trials) - worse - better} | {counted_reasons}"
            f" | {seconds:.0f} s |"
        )
        if kind == "planted":
            met &= worse >= _LEAST_DETECTED * len(trials)
        else:
            met &= worse + better <= _MOST_ALARMS * len(trials)
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
