"""Paints the docs' sheets of pictures: what guidance, truncation and renorm do to the minis' pictures.

    python tools/prompt_sheet.py

writes `docs/images/minis.png`, prompts by models, and `docs/images/guidance.png`, prompts by settings. Nothing is
chosen: all pictures have the same seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_REPOSITORY = Path(__file__).resolve().parent.parent
_SEED = 0
_SIDE_PX = 128
_GAP_PX = 6
_MARGIN_PX = 16
_CAPTION_PX = 210
_HEAD_PX = 40
_INK = (32, 32, 36)
_SOFT_INK = (104, 106, 112)
_PAPER = (255, 255, 255)

PROMPTS = (
    "a large red circle on a blue background",
    "a small yellow square at the top left on a black background",
    "a green triangle on a white background",
    "a large white ring on a purple background",
    "an orange cross at the bottom right on a green background",
    "a blue square left of a red circle on a white background",
)

_SETTINGS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("guidance 1", "30 calls", {"guidance_scale": 1.0}),
    ("guidance 4", "60 calls", {"guidance_scale": 4.0}),
    ("ratio 0.5", "45 calls", {"guidance_scale": 4.0, "cfg_trunc_ratio": 0.5}),
    ("ratio 0.25", "37 calls", {"guidance_scale": 4.0, "cfg_trunc_ratio": 0.25}),
    ("renorm off", "60 calls", {"guidance_scale": 4.0, "cfg_normalization": False}),
    ("guidance 10", "60 calls", {"guidance_scale": 10.0}),
    ("10, renorm off", "60 calls", {"guidance_scale": 10.0, "cfg_normalization": False}),
)
"""Title, denoiser calls at 30 steps, call arguments."""


def main(arguments: list[str] | None = None) -> int:
    """Paint both sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=_REPOSITORY / "docs" / "images", help="folder of the sheets")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(_REPOSITORY))
    import torch

    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    painted = {name: _paint(name, {}) for name in ("lumina2", "neta-lumina", "flux")}
    _save(options.out / "minis.png", [(name, "", images) for name, images in painted.items()])
    columns = [(title, calls, _paint("lumina2", settings)) for title, calls, settings in _SETTINGS]
    _save(options.out / "guidance.png", columns)
    return 0


def _paint(name: str, settings: Mapping[str, Any]) -> list[NDArray[np.uint8]]:
    """Paint each prompt by itself, from the same noise."""
    import torch

    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import model_named

    model = model_named(name)
    pipeline: Any = build_mini(model)
    pipeline.set_progress_bar_config(disable=True)
    images = []
    for prompt in PROMPTS:
        arguments = {**model.mini_recommended, **settings, "generator": torch.Generator().manual_seed(_SEED)}
        images.append(np.asarray(pipeline(prompt, **arguments).images[0]))
    return images


def _save(path: Path, columns: Sequence[tuple[str, str, Sequence[NDArray[np.uint8]]]]) -> None:
    """Lay out columns under their titles, with the prompts at the left of the rows."""
    pitch = _SIDE_PX + _GAP_PX
    left, top = _MARGIN_PX + _CAPTION_PX, _MARGIN_PX + _HEAD_PX
    size = (left + len(columns) * pitch - _GAP_PX + _MARGIN_PX, top + len(PROMPTS) * pitch - _GAP_PX + _MARGIN_PX)
    sheet = Image.new("RGB", size, _PAPER)
    canvas = ImageDraw.Draw(sheet)
    bold, small = ImageFont.load_default(15), ImageFont.load_default(13)
    for number, (title, remark, images) in enumerate(columns):
        x = left + number * pitch
        baseline = _MARGIN_PX + (0 if remark else 16)
        canvas.text((x, baseline), title, fill=_INK, font=bold)
        canvas.text((x, baseline + 19), remark, fill=_SOFT_INK, font=small)
        for row, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (x, top + row * pitch))
    for row, prompt in enumerate(PROMPTS):
        text = _wrapped(prompt, canvas, small, _CAPTION_PX - 24)
        canvas.multiline_text((_MARGIN_PX, top + row * pitch + _SIDE_PX / 2), text, _INK, small, "lm", spacing=5)
    sheet.save(path, optimize=True)


def _wrapped(text: str, canvas: ImageDraw.ImageDraw, font: Any, width_px: int) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if canvas.textlength(longer, font=font) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
