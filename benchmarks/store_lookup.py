"""How long it takes to look up every case of a store, and whether that grows with the store.

    python benchmarks/store_lookup.py [--cases 1000 10000] [--limit-s 2]

Exits with 1 where a store of baselines with up to five runs takes longer than the limit, or a case in the largest
store costs over twice what one in the smallest costs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from pytest_diffbench.records import Baseline, Case, Definition, Environment, Memory, Round, Run
from pytest_diffbench.store import Store, case_folder
from pytest_diffbench.store.schema import encode

_USUAL_RUNS = 5
_STEPS = 30
_ROUNDS = 5


def main() -> int:
    """Build stores of several sizes, look up all their cases, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--limit-s", type=float, default=2.0)
    options = parser.parse_args()
    failed = False
    print(f"{'runs each':>9}  {'looked up from':<14}  {'cases':>6}  {'total s':>8}  {'us a case':>9}")
    for runs in (1, 5, 20):
        lookups_us: dict[str, list[float]] = {"own machine": [], "other family": []}
        for cases in sorted(options.cases):
            for looked_up_from, seconds in _lookups_s(cases, runs).items():
                lookups_us[looked_up_from].append(seconds / cases * 1e6)
                # Full baselines of 10,000 cases are 1 GB: what they take is the reading, and is shown only.
                failed |= runs <= _USUAL_RUNS and seconds > options.limit_s
                print(
                    f"{runs:>9}  {looked_up_from:<14}  {cases:>6}  {seconds:>8.3f}  {seconds / cases * 1e6:>9.1f}",
                    flush=True,
                )
        failed |= any(figures[-1] > 2 * figures[0] for figures in lookups_us.values())
    print("over the limit" if failed else "within the limit")
    return int(failed)


def _lookups_s(cases: int, runs: int) -> dict[str, float]:
    """Build a store; look up all its cases from its own machine, and from one that finds them at another's."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = [_case(index) for index in range(cases)]
        _build(Path(folder), wanted, runs)
        own = _environment("cpu-model-2c")
        other = msgspec.structs.replace(own, machine="cuda-model", family="cuda")
        return {
            "own machine": _best_s(Path(folder), wanted, own),
            "other family": _best_s(Path(folder), wanted, other),
        }


def _best_s(root: Path, wanted: list[Case], environment: Environment) -> float:
    """Least of three, since other work on the machine only ever adds."""
    taken_s = []
    for _ in range(3):
        store = Store(root)
        begin_s = time.perf_counter()
        # Each is let go again, as in a test session: ten thousand at once would measure the garbage collector.
        missing = sum(store.find(case, environment) is None for case in wanted)
        taken_s.append(time.perf_counter() - begin_s)
        if missing:
            raise SystemExit(f"{missing} cases weren't found")
    return min(taken_s)


def _build(root: Path, cases: list[Case], runs: int) -> None:
    (root / "mps-model").mkdir()
    template = encode(
        Baseline(
            case=_case(0),
            runs=tuple(_run(index) for index in range(runs)),
            memory=Memory(source="process_rss", peak_bytes=1 << 30),
        ),
        root,
    ).decode()
    for case in cases:
        folder = root / "cpu-model-2c" / case_folder(case)
        folder.mkdir(parents=True)
        (folder / "baseline.json").write_text(template.replace(_case(0).id, case.id), encoding="utf-8")


def _case(index: int) -> Case:
    return Case(
        id=f"tests/test_guidance.py::test_cfg_trunc[{index}]",
        definition=Definition(
            pipeline="Lumina2Pipeline",
            weights="mini",
            model="lumina2",
            dtype="float32",
            seed=0,
            arguments={"prompt": "a red circle on a blue background", "cfg_trunc_ratio": 0.5},
        ),
    )


def _run(index: int) -> Run:
    stages_s = {"text_encode": 0.011, "denoise": 0.9 + index / 7, "vae_decode": 0.05, "unattributed": 0.001}
    timed_round = Round(
        total_s=sum(stages_s.values()),
        stages_s=stages_s,  # type: ignore[arg-type]  # the names are stages
        steps_s=tuple((0.9 + index / 7) / (_STEPS + step) for step in range(_STEPS)),
        output_digest="0123456789abcdef",
    )
    return Run(
        id=f"run-{index}",
        started="2026-01-01T00:00:00Z",
        warmup_s=(1.5, 1.25),
        rounds=(timed_round,) * _ROUNDS,
        calibration_s=(0.0123,) * _ROUNDS,
        environment=_environment("cpu-model-2c"),
    )


def _environment(machine: str) -> Environment:
    return Environment(
        machine=machine,
        family="cpu",
        hardware={"cpu": "Model", "cpus": 2},
        settings={"threads": 2, "deterministic": False, "float32_matmul_precision": "highest"},
        software={f"package_{index}": f"{index}.0.1" for index in range(20)},
        state={"xdist_workers": 1, "load_1min": 0.5},
    )


if __name__ == "__main__":
    sys.exit(main())
