"""What the output gate catches at what cost, beside other rules for images.

    OMP_NUM_THREADS=1 python benchmarks/output_gate_table.py [--seeds 3] [--limit-ms 150]

Prints the tables of docs/verdicts.md: how many pictures of each damage are caught by each rule, on photographs and
drawings of 128, 512 and 1024 px; and the median time of each rule at 1024x1024, interleaved, on one thread. Rules of
libraries that aren't installed are marked so. Exits with 1 where the gate misses a damage, refuses benign noise, or
takes longer than the limit.

The rules of pytest-regressions and pytest-mpl are written down here from their documented defaults and need neither.
No tool sets a limit for FLIP, so it gets the one that suits it best: the largest mean of the benign changes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tests" / "judge"), str(ROOT / "tools")]

import image_damages as damage  # noqa: E402  # found by the path that was just set
import judge_factories as make  # noqa: E402
import numpy as np  # noqa: E402

from pytest_diffbench.outputs.image_metrics import luma, ssim_map  # noqa: E402
from pytest_diffbench.outputs.metrics import METRICS, ImagePair  # noqa: E402
from pytest_diffbench.outputs.pixels import psnr_db  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Rule = Callable[[Image, Image], float]
    """How far beyond its limit a rule sees a pair of images: above 1, it calls them different."""


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--limit-ms", type=float, default=150.0)
    options = parser.parse_args()
    rules = _rules()
    failed = _print_caught(rules, options.seeds)
    failed |= _print_times(rules, options.repeats, options.limit_ms)
    return int(failed)


def _print_caught(rules: dict[str, Rule | None], seeds: int) -> bool:
    """Print in how many pictures each rule sees each change; whether the gate erred in any."""
    changes = damage.BENIGN | damage.DAMAGES
    excesses: dict[tuple[str, str], list[float]] = {(name, rule): [] for name in changes for rule in rules}
    for size_px in damage.SIZES_PX:
        for draw in damage.PICTURES.values():
            for seed in range(seeds):
                image = draw(size_px, seed)
                for name, change in changes.items():
                    changed = change(image)
                    for rule, excess in rules.items():
                        if excess is not None:
                            excesses[name, rule].append(excess(image, changed))
    _scale_flip(excesses)
    print(f"| change | {' | '.join(rules)} |\n|---|{'---|' * len(rules)}")
    failed = False
    for name in changes:
        cells = []
        for rule in rules:
            excesses_of_images = excesses[name, rule]
            different = sum(excess > 1 for excess in excesses_of_images)
            cells.append(f"{different} of {len(excesses_of_images)}" if excesses_of_images else "not installed")
            if rule == "this gate":
                failed |= different != (0 if name in damage.BENIGN else len(excesses_of_images))
        print(f"| {name}{' (benign)' if name in damage.BENIGN else ''} | {' | '.join(cells)} |")
    return failed


def _print_times(rules: dict[str, Rule | None], repeats: int, limit_ms: float) -> bool:
    """Print the median time of each rule; whether the gate's is over the limit."""
    image = damage.photograph(1024)
    changed = damage.rounding(image)
    taken_ms: dict[str, list[float]] = {name: [] for name, rule in rules.items() if rule is not None}
    for repeat in range(repeats + 1):
        for name, rule in rules.items():
            if rule is None:
                continue
            begin_s = time.perf_counter()
            rule(image, changed)
            # the first repeat warms up
            if repeat:
                taken_ms[name].append(1e3 * (time.perf_counter() - begin_s))
    print("\n| rule | median, 1024x1024 | least |\n|---|---|---|")
    for name in rules:
        if name in taken_ms:
            print(f"| {name} | {statistics.median(taken_ms[name]):.1f} ms | {min(taken_ms[name]):.1f} ms |")
        else:
            print(f"| {name} | not installed | |")
    return statistics.median(taken_ms["this gate"]) > limit_ms


def _rules() -> dict[str, Rule | None]:
    """Every rule by its name; None for those whose library isn't installed."""
    return {
        "this gate": _gate,
        "PSNR >= 40": lambda a, b: 10 ** ((40 - psnr_db(a, b)) / 20),
        "SSIM >= .99": lambda a, b: (1 - float(ssim_map(luma(a), luma(b)).mean())) / 0.01,
        "scikit-image SSIM >= .99": _scikit_image(),
        "torchmetrics SSIM >= .99": _torchmetrics(),
        "FLIP": _flip(),
        "FLIP of the worst tile": _extra("flip"),
        "SSIMULACRA2": _extra("ssimulacra2"),
        "pytest-regressions' rule": _pytest_regressions,
        "pytest-mpl's rule": _pytest_mpl,
    }


def _gate(a: Image, b: Image) -> float:
    """The whole gate, verdict and message included."""
    against = make.reference(make.observation(output=make.output(a)), stored=make.artifacts(a))
    answer = make.ask("output", make.observation(output=make.output(b)), against, returned=make.artifacts(b))
    return math.inf if answer.decision == "worse" else 0.0


def _pytest_regressions(a: Image, b: Image) -> float:
    """`image_regression`: the mean absolute difference is at most `diff_threshold`, .1 % of the range."""
    return 100 * float(np.abs(a.astype(np.int16) - b).mean()) / 255 / 0.1


def _pytest_mpl(a: Image, b: Image) -> float:
    """`mpl_image_compare`: matplotlib's RMS of the difference is at most `tolerance`, 2 levels."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean())) / 2


def _optional(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


def _scikit_image() -> Rule | None:
    metrics = _optional("skimage.metrics")
    if metrics is None:
        return None
    return lambda a, b: (1 - float(metrics.structural_similarity(a, b, channel_axis=2, data_range=255))) / 0.01


def _torchmetrics() -> Rule | None:
    metrics, torch = _optional("torchmetrics.functional.image"), _optional("torch")
    if metrics is None or torch is None:
        return None
    torch.set_num_threads(1)

    def rule(a: Image, b: Image) -> float:
        pair = [torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in (b, a)]
        return (1 - float(metrics.structural_similarity_index_measure(*pair, data_range=255.0))) / 0.01

    return rule


def _flip() -> Rule | None:
    evaluator = _optional("flip_evaluator")
    if evaluator is None:
        return None

    def rule(a: Image, b: Image) -> float:
        pair = [image.astype(np.float32) / 255 for image in (a, b)]
        return float(evaluator.evaluate(*pair, "LDR")[1])

    return rule


def _extra(name: str) -> Rule | None:
    """A metric that the gate knows, against the limit that it has there for one machine."""
    metric = METRICS[name]
    measure = metric.measure
    if metric.package is None or measure is None or _optional(metric.package.module) is None:
        return None
    return lambda a, b: metric.excess(measure(ImagePair(b, a)).value, metric.machine)


def _scale_flip(excesses: dict[tuple[str, str], list[float]]) -> None:
    """Hold FLIP's means against the largest of the benign changes."""
    largest = max((excess for name in damage.BENIGN for excess in excesses[name, "FLIP"]), default=1.0)
    for (_, rule), means in excesses.items():
        if rule == "FLIP":
            means[:] = [mean / largest for mean in means]


if __name__ == "__main__":
    sys.exit(main())
