"""What calls with drawn inputs keep of what they made, to be made again beside a baseline."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from PIL import Image

from pytest_diffbench.measure.clock import clock_for
from pytest_diffbench.measure.probing import Hidden, probe

HIDDEN = Hidden("a tiny red ring on a blue background", (4711, 4712))
FRAMES = 9


def film(prompt: str, generator: Any) -> Any:
    """A video whose frames are told apart by prompt, seed and number."""
    shade = (len(prompt) * 7 + generator.initial_seed()) % 200
    return SimpleNamespace(frames=[[Image.new("RGB", (32, 32), (shade, number, 9)) for number in range(FRAMES)]])


def pixel(picture: bytes) -> Any:
    return Image.open(io.BytesIO(picture)).getpixel((0, 0))


def test_of_a_video_three_frames_are_kept_and_painted_again() -> None:
    saved = probe(film, ("a square",), {}, clock_for("cpu"), HIDDEN, seed=0).probe
    shade = (len(HIDDEN.prompt) * 7 + HIDDEN.seeds[0]) % 200
    assert [pixel(picture) for picture in saved.pictures] == [(shade, number, 9) for number in (0, 4, 8)]

    other = Hidden("a huge green star on a white background", (1, 2))
    again = probe(film, ("a square",), {}, clock_for("cpu"), other, seed=0, earlier=saved).probe
    assert again.repeated == saved.pictures
    assert again.pictures != saved.pictures


def test_a_video_pipeline_with_a_known_prompt_paints_other_frames_for_other_prompts() -> None:
    saved = probe(film, ("a square",), {}, clock_for("cpu"), HIDDEN, seed=0).probe

    def knows(prompt: str, generator: Any) -> Any:
        return film(prompt if prompt == "a square" else "nothing", generator)

    again = probe(knows, ("a square",), {}, clock_for("cpu"), Hidden("a ring", (1, 2)), seed=0, earlier=saved).probe
    assert again.repeated != saved.pictures
