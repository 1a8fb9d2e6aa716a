"""How well the video mini's films show what their captions say, judged by colours and geometry without learning.

    python benchmarks/video_agreement.py [--captions 100] [--steps 20] [--scales 5 1] [--sheet FILE.png] [--out FILE]

The captions are of films that training never saw: no other one has their shape, colours and direction. Each scale
paints the same captions from the same seeds; `tools/minis/film_agreement.py` says what is to be seen.
Shares come with their 95 % intervals (Wilson). The sheet has every other frame of the first films. Exits with 1 if
guidance doesn't better both colours beyond chance.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mini_agreement import wilson
from mini_demands import mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minis.film_agreement import FilmAgreement
    from minis.films import Film
    from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent

_FILM_SEED, _FIRST_VIDEO_SEED = 3_000, 20_000
_CHANCE = 0.01
_FACTS = {
    "object_colour": "object colour",
    "ground": "ground",
    "both_colours": "both colours",
    "direction": "direction",
    "shape": "shape",
    "everything": "all four",
}
_SHEET_FILMS = 8


def main() -> int:
    """Paint, judge, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--steps", type=int, help="the mini's own by default")
    parser.add_argument("--scales", type=float, nargs=2, help="guided and unguided, the mini's own and 1 by default")
    parser.add_argument("--batch", type=int, default=10, help="captions a call")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--sheet", type=Path, help="file for a picture of the first films, guided")
    parser.add_argument("--out", type=Path, help="JSON file for what is right in each video")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
    import torch
    from minis import films, pictures
    from PIL import Image

    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import model_named

    torch.set_num_threads(options.threads)
    model = model_named("wan")
    pipeline: Any = build_mini(model)
    pipeline.set_progress_bar_config(disable=True)
    arguments = dict(model.mini_recommended)
    if options.steps:
        arguments["num_inference_steps"] = options.steps
    scales = options.scales or [arguments["guidance_scale"], 1.0]
    drawn = written(options.captions)
    print(f"{len(drawn)} captions, {arguments['num_inference_steps']} steps\n")
    print("| guidance | " + " | ".join(_FACTS.values()) + " |\n|---|" + "---|" * len(_FACTS))
    judged: list[list[FilmAgreement]] = []
    for scale in scales:
        videos = painted(
            pipeline, [caption for _, caption in drawn], arguments | {"guidance_scale": scale}, options.batch
        )
        judged.append(agreements([film for film, _ in drawn], videos))
        print(f"| {scale:g} | " + " | ".join(share(judged[-1], fact) for fact in _FACTS) + " |", flush=True)
        if options.sheet and scale == scales[0]:
            shown = [frame for video in videos[:_SHEET_FILMS] for frame in video[::2]]
            options.sheet.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures.tiled(shown, len(range(0, films.FRAMES, 2)))).save(options.sheet, optimize=True)
            print("\n".join(caption for _, caption in drawn[:_SHEET_FILMS]))
    both = list(zip(*judged, strict=True))
    gained = sum(guided.both_colours and not plain.both_colours for guided, plain in both)
    lost = sum(plain.both_colours and not guided.both_colours for guided, plain in both)
    chance = mcnemar(gained, lost)
    print(f"\nguidance gained both colours in {gained} videos and lost them in {lost}: p = {chance:.2g}")
    if options.out:
        figures = {fact: [[getattr(agreement, fact) for agreement in side] for side in judged] for fact in _FACTS}
        options.out.write_text(json.dumps({"scales": scales, "right": figures}) + "\n", encoding="utf-8")
    return int(gained <= lost or chance >= _CHANCE)


def written(count: int) -> list[tuple[Film, str]]:
    """Draw by lot films that are held out from training, with a caption that names all there is, no two alike."""
    from minis import films

    rng = np.random.default_rng(_FILM_SEED)
    drawn: dict[str, Film] = {}
    while len(drawn) < count:
        film = films.film(rng)
        caption = films.caption(film, rng)
        if films.held_out(film) and "background" in caption:
            drawn.setdefault(caption, film)
    return [(film, caption) for caption, film in drawn.items()]


def painted(pipeline: Any, captions: Sequence[str], arguments: dict[str, Any], batch: int) -> list[NDArray[np.uint8]]:
    """Paint a video for each caption: uint8 of shape (frames, height, width, 3)."""
    import torch

    videos: list[NDArray[np.uint8]] = []
    for begin in range(0, len(captions), batch):
        some = list(captions[begin : begin + batch])
        generators = [
            torch.Generator().manual_seed(_FIRST_VIDEO_SEED + begin + number) for number in range(len(some))
        ]
        frames = pipeline(some, generator=generators, **arguments).frames
        videos += [np.rint(255 * video).astype(np.uint8) for video in frames]
    return videos


def agreements(drawn: Sequence[Film], videos: Sequence[NDArray[np.uint8]]) -> list[FilmAgreement]:
    """Judge each video by its film."""
    from minis.film_agreement import film_agreement, see

    return [film_agreement(film, see(video)) for film, video in zip(drawn, videos, strict=True)]


def share(judged: Sequence[FilmAgreement], fact: str) -> str:
    """A share with its interval: `91 % (84 to 95)`."""
    right = sum(getattr(agreement, fact) for agreement in judged)
    low, high = wilson(right, len(judged))
    return f"{100 * right / len(judged):.3g} % ({100 * low:.3g} to {100 * high:.3g})"


if __name__ == "__main__":
    sys.exit(main())
