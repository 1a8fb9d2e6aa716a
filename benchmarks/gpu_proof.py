"""A run of twelve minutes on one GPU that shows what only a GPU can show, ordered by proof per second.

    python benchmarks/gpu_proof.py [--out FOLDER] [--budget-s 720] [--only facts minis ...] [--simulate]

Each part is a process of its own with its own limit. Its output goes to FOLDER/<part>.log, and its row to
FOLDER/results.jsonl as soon as it ends, so that what was finished is kept if the rest is cut. Estimated times are
printed first, the table last. Exits with 1 if a part failed; parts that the budget had no room for are `not run`.

`--simulate` runs the same parts on the simulated device of the tests, small, without a GPU: it shows that the script
works, and says nothing about any GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
_SUITE = ("--pyargs", "pytest_diffbench.suite")
_QUIET = ("-q", "-p", "no:cacheprovider", "--benchmark-disable-gc")

_FACTS = """
import json, os, statistics, sys

if "DIFFBENCH_SIMULATED_CUDA" in os.environ:
    import simulated_cuda
    simulated_cuda.install()
from pytest_diffbench.measure.environment import environment_of
from pytest_diffbench.measure.pace import Pace
from pytest_diffbench.measure.telemetry import TelemetryWatch

readings, device = int(sys.argv[1]), "cuda"
environment = environment_of(device, object())
print(json.dumps({"hardware": environment.hardware, "software": environment.software}, indent=1, default=str))
watch = TelemetryWatch(device)
watch.before()
at_rest = watch.after()
pace = Pace(device, "bfloat16")
watch.before()
times = [pace.read() for _ in range(readings)]
under_load = watch.after()
print("at rest:", at_rest)
print("under load:", under_load)
print("notes:", watch.notes)
for name in times[0]:
    values = [reading[name] for reading in times]
    spread = statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0
    print(f"pace {name}: median {statistics.median(values):.6f} s, spread {100 * spread:.2f} %, {len(values)} times")
"""

_CASES = """
import os

import pytest
from pytest_diffbench.measure.planting import plant


@pytest.mark.diffbench(model="lumina2")
def test_case(diffbench, diffbench_pipeline):
    if slowdown := os.environ.get("SLOWDOWN"):
        plant(diffbench_pipeline, slowdown)
    diffbench(
        diffbench_pipeline, "a red circle", num_inference_steps=int(os.environ.get("STEPS", "8")), cfg_trunc_ratio=0.5
    )
"""
"""At full size, so that the device and not its host is what takes the time."""


Command: TypeAlias = "tuple[Sequence[str], dict[str, str], int]"


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One part of the run.

    Attributes:
        name: of its row and its log.
        proves: in a few words.
        commands: run one after the other, each with further variables of the environment and the exit status wanted.
        estimate_s: on a GPU with 80 GB.
        limit_s: after which it is ended.
    """

    name: str
    proves: str
    commands: Sequence[Command]
    estimate_s: float
    limit_s: float


def parts(out: Path, *, simulate: bool) -> list[Part]:
    """All parts, the most telling per second first."""
    python = sys.executable
    project = out / "project"
    case = [python, "-m", "pytest", *_QUIET, str(project), "--diffbench-device=cuda", "--diffbench-rounds=3"]
    minis = [python, "-m", "pytest", *_QUIET, "--diffbench", *_SUITE, "--diffbench-device=cuda"]
    minis += [f"--diffbench-baselines={ROOT / 'baselines'}", f"--diffbench-json={out / 'minis.json'}"]
    minis += ["--diffbench-gates=work,guidance,output"]
    if simulate:
        minis += ["-k", "flux"]
        case += ["--diffbench-gates=work,guidance,output,memory", "--diffbench-confirm=0"]
    else:
        case += ["--diffbench-weights=random"]
    saves: list[Command] = [([*case, "--diffbench-save"], {}, 0)]
    if not simulate:
        # A fresh process looks at the first one's output; the second adds a run, where one had unsteady rounds.
        saves.append(([*case, "--diffbench-save", "--diffbench-confirm=0"], {}, 0))
    facts = Part("facts", "NVML, pace", [([python, "-c", _FACTS, "2" if simulate else "20"], {}, 0)], 25, 60)
    minis_part = Part("minis", "work, guidance, output as on a CPU", [(minis, {}, 0)], 110, 200)
    same = Part(
        "same", "two saves, and a comparison that is the same", [*saves, ([*case, "--diffbench"], {}, 0)], 180, 260
    )
    if simulate:
        return [facts, minis_part, same]
    slower = ([*case, "--diffbench", "--diffbench-gates=time"], {"SLOWDOWN": "delay:0.1"}, 1)
    table = [python, "benchmarks/full_size_table.py", "--rounds=3"]
    guidance = ["--models", "lumina2", "neta-lumina", "--sections", "stages", "truncation", "renorm"]
    # Four processes: most of a test's time is its own process's, and the device has room for their models.
    tests = [python, "-m", "pytest", "-q", "-m", "gpu", "tests", "-n", "4", "-p", "instant_failures"]
    return [
        facts,
        Part("tests", "every test marked gpu", [(tests, {"DIFFBENCH_REQUIRE_GPU": "1"}, 0)], 150, 300),
        same,
        Part("slower", "a planted slowdown of 10 % is red", [slower], 100, 180),
        Part("guidance", "stages, CFG-Trunc and renorm at full size", [([*table, *guidance], {}, 0)], 170, 300),
        Part(
            "flux", "stages at full size", [([*table, "--models", "flux", "--sections", "stages"], {}, 0)], 130, 200
        ),
        minis_part,
        Part(
            "overhead",
            "observed against bare calls",
            [([python, "benchmarks/overhead.py", "--device=cuda"], {}, 0)],
            60,
            120,
        ),
    ]


def _prepare(out: Path) -> None:
    """Make the folder of results, without those of a run before, and the small project that parts measure."""
    project = out / "project"
    project.mkdir(parents=True, exist_ok=True)
    (project / "test_case.py").write_text(_CASES, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (out / "results.jsonl").unlink(missing_ok=True)


def _without_gpu() -> str | None:
    """Why there is nothing to prove; None where torch finds a GPU."""
    import torch

    return None if torch.cuda.is_available() else f"torch {torch.__version__} finds no CUDA device."


def run(part: Part, out: Path, *, simulate: bool) -> dict[str, object]:
    """Run a part to its end or its limit; its row."""
    begin_s = time.monotonic()
    state = "passed"
    with (out / f"{part.name}.log").open("w", encoding="utf-8") as log:
        for command, extra, wanted in part.commands:
            left_s = part.limit_s - (time.monotonic() - begin_s)
            try:
                done = subprocess.run(
                    command,
                    cwd=ROOT,
                    env=_environment(extra, simulate=simulate),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=max(1.0, left_s),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                state = f"cut after {part.limit_s:.0f} s"
                break
            if done.returncode != wanted:
                state = f"FAILED: exit status {done.returncode} instead of {wanted}"
                break
    row = {"part": part.name, "proves": part.proves, "state": state, "took_s": round(time.monotonic() - begin_s, 1)}
    with (out / "results.jsonl").open("a", encoding="utf-8") as results:
        results.write(json.dumps(row) + "\n")
    return row


def _environment(extra: dict[str, str], *, simulate: bool) -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"} | extra
    if simulate:
        variables |= {"PYTEST_PLUGINS": "simulated_cuda", "DIFFBENCH_SIMULATED_CUDA": "1", "STEPS": "2"}
    return variables


def main() -> int:
    """Run the parts that the budget has room for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-proof"))
    parser.add_argument("--budget-s", type=float, default=720)
    parser.add_argument("--only", nargs="+", help="names of parts")
    parser.add_argument("--simulate", action="store_true", help="on the simulated device of the tests")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    known = parts(out, simulate=options.simulate)
    unknown = set(options.only or ()) - {part.name for part in known}
    if unknown:
        parser.error(f"--only {', '.join(sorted(unknown))}: there are {', '.join(part.name for part in known)}.")
    if not options.simulate and (problem := _without_gpu()) is not None:
        parser.error(f"{problem} Use --simulate to try the script on the simulated device of the tests.")
    _prepare(out)
    chosen = [part for part in known if options.only is None or part.name in options.only]
    print(
        f"about {sum(part.estimate_s for part in chosen):.0f} s on a GPU with 80 GB, {options.budget_s:.0f} s at most"
    )
    for part in chosen:
        print(f"  {part.name:9} about {part.estimate_s:4.0f} s  {part.proves}", flush=True)
    begin_s = time.monotonic()
    rows: list[dict[str, object]] = []
    for part in chosen:
        left_s = options.budget_s - (time.monotonic() - begin_s)
        if left_s < part.estimate_s / 2:
            rows.append({"part": part.name, "proves": part.proves, "state": "not run: no time left", "took_s": 0})
            continue
        rows.append(run(dataclasses.replace(part, limit_s=min(part.limit_s, left_s)), out, simulate=options.simulate))
        print(f"  {part.name}: {rows[-1]['state']}, {rows[-1]['took_s']} s", flush=True)
    print(f"\n{'simulated device: says nothing about any GPU' if options.simulate else ''}\n")
    print("| part | proves | state | s |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['part']} | {row['proves']} | {row['state']} | {row['took_s']} |")
    return int(any(str(row["state"]).startswith(("FAILED", "cut")) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
