"""How well the trained minis paint what their captions say, judged by colours and geometry without learning.

    python benchmarks/mini_agreement.py [--model lumina2] [--captions 200] [--out results.json] [--quick]

The captions are of scenes that training never saw. Each setting paints the same captions from the same seeds, and
`tools/minis/classifier.py` says what is to be seen. Shares come with their 95 % intervals (Wilson). Captions of two
objects are shown, but nothing is demanded of them. Exits with 1 where a demand, printed at the end, isn't met.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mini_demands import FACTS, RECOMMENDED, STRONG, STRONG_PLAIN, TRUNCATED, UNGUIDED, Demand, demanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from minis.agreement import Agreement
    from minis.classifier import Classified
    from minis.pictures import Scene
    from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent

_MODELS = ("lumina2", "neta-lumina", "flux")
_SCENE_SEED = 2_000
_FIRST_IMAGE_SEED = 10_000
_CAPTIONS, _PAIRS = 200, 100
_QUICK_CAPTIONS, _QUICK_PAIRS = 10, 5
_CALL_ARGUMENTS = {"max_sequence_length": 64, "output_type": "pil"}
_Z = 1.959964
"""Of 95 % intervals."""


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """A scene, a caption of it, and the seed that its picture is painted from."""

    scene: Scene
    caption: str
    seed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Painted:
    """A picture, by what is to be seen in it.

    Attributes:
        written: its caption.
        classified: what the classifier says.
        agreement: of both; size and place are None where the caption doesn't name them.
        saturated: share of pixels with a channel of 0 or 255.
        pixels: uint8 of shape (height, width, 3).
    """

    written: Written
    classified: Classified
    agreement: Agreement
    saturated: float
    pixels: NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """All pictures of a setting, and for how many pictures the denoiser was called."""

    name: str
    arguments: Mapping[str, object]
    pictures: Sequence[Painted]
    calls: int

    def right(self, fact: str) -> tuple[int, int]:
        """Count the pictures in which an attribute of `Agreement` is true, and those in which it isn't None."""
        answers = [getattr(picture.agreement, fact) for picture in self.pictures]
        return answers.count(True), len(answers) - answers.count(None)

    def share(self, fact: str) -> float:
        """Share of the pictures in which an attribute of `Agreement` is true, of those in which it isn't None."""
        right, of = self.right(fact)
        return right / of

    @property
    def calls_a_picture(self) -> float:
        """Denoiser calls; one of a batch counts for each picture in it."""
        return self.calls / len(self.pictures)

    @property
    def saturated(self) -> float:
        """Mean share of pixels with a channel of 0 or 255."""
        return float(np.mean([picture.saturated for picture in self.pictures]))

    @property
    def colour_error(self) -> float:
        """Root of the mean over pictures of what `colour_error` has the root of."""
        errors = [colour_error(picture.written.scene, picture.classified) for picture in self.pictures]
        return math.sqrt(np.mean(np.square(errors)))

    def colour_rms(self, other: Measured) -> float:
        """How far colours are from those of the same captions in another setting, in levels of 255.

        Root of the mean over pictures of the squared `pytest_diffbench.outputs.image_metrics.colour_levels`.
        """
        from pytest_diffbench.outputs.image_metrics import colour_levels

        pairs = zip(self.pictures, other.pictures, strict=True)
        return math.sqrt(np.mean([colour_levels(own.pixels, others.pixels) ** 2 for own, others in pairs]))


_PAIR_FACTS = {
    "object_colour": "both colours",
    "ground": "ground",
    "shape": "both shapes",
    "order": "order",
    "count": "two objects",
}
"""Headings of attributes of `Agreement`."""


def main() -> int:
    """Paint, judge, print Markdown tables and the demands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", choices=_MODELS, help="once for each; all by default")
    parser.add_argument("--captions", type=int, help=f"of one object, {_CAPTIONS} by default")
    parser.add_argument("--pairs", type=int, help=f"captions of two objects, {_PAIRS} by default")
    parser.add_argument("--batch", type=int, default=10, help="captions a call")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--out", type=Path, help="JSON file for all figures, and what was seen in each picture")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_CAPTIONS} and {_QUICK_PAIRS} captions, to see that it runs"
    )
    options = parser.parse_args()
    usual = (_QUICK_CAPTIONS, _QUICK_PAIRS) if options.quick else (_CAPTIONS, _PAIRS)
    captions = usual[0] if options.captions is None else options.captions
    pairs = usual[1] if options.pairs is None else options.pairs
    if min(captions, pairs, options.batch, options.threads) < 1:
        parser.error("--captions, --pairs, --batch and --threads are above 0")
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
    import torch

    torch.set_num_threads(options.threads)
    singles, twos = written(captions, objects=1), written(pairs, objects=2)
    results: dict[str, object] = {}
    demands: list[Demand] = []
    for name in options.model or _MODELS:
        ran_on, settings, two = _measure(name, singles, twos, options.batch)
        print(", ".join(f"{fact} {value}" for fact, value in ran_on.items()), end="\n\n")
        print_tables(name, settings, two)
        demands += demanded(name, settings)
        results[name] = {
            "ran_on": ran_on,
            "one_object": [
                _as_data(setting, FACTS)
                | {
                    "colour_error": setting.colour_error,
                    "colour_rms_to_recommended": setting.colour_rms(settings[RECOMMENDED]),
                }
                for setting in settings.values()
            ],
            "two_objects": _as_data(two, _PAIR_FACTS),
        }
    for demand in demands:
        print(f"- {'met' if demand.met else 'not met'}: {demand.model}: {demand.asked}: {demand.reached}")
    results["demands"] = [dataclasses.asdict(demand) for demand in demands]
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(not all(demand.met for demand in demands))


def written(count: int, *, objects: int) -> list[Written]:
    """Draw by lot scenes that are held out from training, and write a caption for each, no two alike.

    Captions name shapes, colours and the ground; with two objects, which is left of or above the other too. Size and
    place are named as often as in training. Where they aren't, the size is medium and the place the middle, so words
    that leave them out are held out too.
    """
    from minis import pictures

    rng = np.random.default_rng((_SCENE_SEED, objects))
    needed = ("background",) if objects == 1 else ("left of", "above")
    drawn: dict[str, Written] = {}
    while len(drawn) < count:
        scene = pictures.scene(rng, objects=objects)
        if not pictures.held_out(scene):
            continue
        caption = pictures.caption(scene, rng)
        while not any(word in caption for word in needed):
            caption = pictures.caption(scene, rng)
        drawn.setdefault(caption, Written(scene, caption, _FIRST_IMAGE_SEED + len(drawn)))
    return list(drawn.values())


def _measure(
    name: str, singles: Sequence[Written], twos: Sequence[Written], batch: int
) -> tuple[dict[str, object], dict[str, Measured], Measured]:
    """Paint the captions of one object in each setting, and those of two as recommended; say on what that ran."""
    from tqdm import tqdm

    from pytest_diffbench.measure.environment import environment_of
    from pytest_diffbench.pipelines import mini
    from pytest_diffbench.pipelines.loader import load
    from pytest_diffbench.pipelines.registry import model_named
    from pytest_diffbench.records import PipelineSpec

    model = model_named(name)
    pipeline: Any = load(PipelineSpec(model=name, weights="mini", device="cpu", dtype="float32"))
    environment = environment_of("cpu", pipeline)
    ran_on: dict[str, object] = {"mini": name, "weights": mini.revision(model), "machine": environment.machine}
    ran_on |= {"threads": environment.settings["threads"]}
    ran_on |= {package: environment.software[package] for package in ("python", "torch", "diffusers", "transformers")}
    recommended = {**model.mini_recommended, **_CALL_ARGUMENTS}
    variants: dict[str, dict[str, object]] = {RECOMMENDED: {}, UNGUIDED: {"guidance_scale": 1.0}}
    if model.pipeline_class == "Lumina2Pipeline":
        variants[TRUNCATED] = {"cfg_trunc_ratio": 0.5}
        variants[STRONG] = {"guidance_scale": 10.0}
        variants[STRONG_PLAIN] = {"guidance_scale": 10.0, "cfg_normalization": False}
    with tqdm(total=len(variants) * len(singles) + len(twos), desc=name, unit="picture", mininterval=1) as bar:
        settings = {
            variant: paint(variant, pipeline, singles, {**recommended, **changed}, batch, bar.update)
            for variant, changed in variants.items()
        }
        return ran_on, settings, paint(RECOMMENDED, pipeline, twos, recommended, batch, bar.update)


def paint(
    name: str,
    pipeline: Any,
    captions: Sequence[Written],
    arguments: Mapping[str, object],
    batch: int,
    progress: Callable[[int], object],
) -> Measured:
    """Paint captions and judge the pictures.

    Args:
        name: of the setting.
        pipeline: called with prompts, generators and arguments; has a `transformer`.
        captions: what to paint.
        arguments: of the call.
        batch: captions a call.
        progress: told of every batch how many pictures it had.
    """
    import torch
    from minis.agreement import agreement
    from minis.classifier import classify

    pictures: list[Painted] = []
    with _batches_counted(pipeline.transformer) as batches:
        for begin in range(0, len(captions), batch):
            some = captions[begin : begin + batch]
            images = pipeline(
                [prompt.caption for prompt in some],
                generator=[torch.Generator().manual_seed(prompt.seed) for prompt in some],
                **arguments,
            ).images
            for prompt, image in zip(some, images, strict=True):
                pixels = np.asarray(image)
                classified = classify(pixels)
                agreed = _as_named(prompt, agreement(prompt.scene, classified))
                pictures.append(Painted(prompt, classified, agreed, saturated_share(pixels), pixels))
            progress(len(some))
    return Measured(name, arguments, pictures, sum(batches))


def _as_named(prompt: Written, agreed: Agreement) -> Agreement:
    """Take back what is said of a size and a place that the caption doesn't name."""
    from minis.pictures import place_of, size_of

    drawn_object = prompt.scene.objects[0]
    return dataclasses.replace(
        agreed,
        size=agreed.size if size_of(drawn_object) in prompt.caption else None,
        place=agreed.place if place_of(drawn_object) in prompt.caption else None,
    )


@contextlib.contextmanager
def _batches_counted(denoiser: Any) -> Iterator[list[int]]:
    """Collect how many pictures each forward call of the denoiser has."""
    batches: list[int] = []

    def count(_module: Any, _args: Any, kwargs: Any) -> None:
        batches.append(len(kwargs["hidden_states"]))

    handle = denoiser.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield batches
    finally:
        handle.remove()


def saturated_share(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels with a channel of 0 or 255, of shape (height, width, 3). No colour of the scenes has one."""
    return float(np.mean(((pixels == 0) | (pixels == 255)).any(axis=-1)))


def colour_error(scene: Scene, classified: Classified) -> float:
    """Root mean square of the difference between a picture's colours and its caption's, in steps of 8 bits.

    Each pixel of the scene counts, with the median colour of the painted ground or object. Where no object was found
    the ground's colour stands in its place.
    """
    from minis import pictures

    (drawn_object,) = scene.objects
    y, x = np.mgrid[0 : pictures.SIDE_PX, 0 : pictures.SIDE_PX] + 0.5
    distance = pictures.signed_distance_px(
        drawn_object.shape, x - drawn_object.x_px, y - drawn_object.y_px, drawn_object.radius_px
    )
    share = float(np.mean(distance < 0))
    painted = classified.objects[0].rgb if classified.objects else classified.ground_rgb
    squares = [
        np.mean((np.array(rgb) - pictures.COLOURS[name]) ** 2)
        for rgb, name in ((painted, drawn_object.colour), (classified.ground_rgb, scene.ground))
    ]
    return math.sqrt(share * squares[0] + (1 - share) * squares[1])


def wilson(successes: int, of: int) -> tuple[float, float]:
    """Give the 95 % interval of a share (Wilson, 1927)."""
    share, spread = successes / of, _Z**2 / of
    middle = share + spread / 2
    reach = _Z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    # rounding may leave the ends of 0 and 1 a little outside
    return max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread))


def print_tables(name: str, settings: Mapping[str, Measured], two: Measured) -> None:
    """Print in how many of a mini's pictures what is right, with 95 % intervals, and figures of their colours."""
    _print_shares(name, settings.values(), FACTS)
    titles = ("denoiser calls a picture", "saturated pixels", "colour error, of 255", "colour RMS to recommended")
    print(f"| {name} | {' | '.join(titles)} |\n|---|---|---|---|---|")
    for setting in settings.values():
        cells = (f"{setting.calls_a_picture:g}", f"{setting.saturated:.2%}", f"{setting.colour_error:.1f}")
        print(f"| {setting.name} | {' | '.join(cells)} | {setting.colour_rms(settings[RECOMMENDED]):.1f} |")
    print()
    _print_shares(f"{name}, two objects", [two], _PAIR_FACTS)


def _print_shares(title: str, settings: Iterable[Measured], facts: Mapping[str, str]) -> None:
    print(f"| {title} | pictures | {' | '.join(facts.values())} |")
    print("|---" * (len(facts) + 2) + "|")
    for setting in settings:
        cells = " | ".join(_share(*setting.right(fact)) for fact in facts)
        print(f"| {setting.name} | {len(setting.pictures)} | {cells} |")
    print(flush=True)


def _share(right: int, of: int) -> str:
    if not of:
        return "-"
    low, high = wilson(right, of)
    return f"{right / of:.1%} ({low:.1%} to {high:.1%})"


def _as_data(setting: Measured, facts: Iterable[str]) -> dict[str, object]:
    """Figures of a setting and all that was seen, for JSON."""
    counts = {fact: setting.right(fact) for fact in facts}
    return {
        "setting": setting.name,
        "arguments": dict(setting.arguments),
        "denoiser_calls_a_picture": setting.calls_a_picture,
        "saturated_share": setting.saturated,
        "right": {
            fact: {"right": right, "pictures": of, "interval": wilson(right, of) if of else None}
            for fact, (right, of) in counts.items()
        },
        "pictures": [
            {
                "caption": picture.written.caption,
                "seed": picture.written.seed,
                "seen": dataclasses.asdict(picture.classified),
                "right": dataclasses.asdict(picture.agreement),
            }
            for picture in setting.pictures
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
