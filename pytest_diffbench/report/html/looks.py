"""What there is to look at of an output: pairs of pictures of the baseline and of this run, whatever kind it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from pytest_diffbench.outputs.kinds import KINDS, Kept, recorded
from pytest_diffbench.outputs.kinds.video import whole_frames
from pytest_diffbench.report.html.pictures import Area, spectrograms
from pytest_diffbench.report.sentences.parts import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_diffbench.records import Output, PartFacts
    from pytest_diffbench.records.artifacts import Artifacts, PartArrays, Sides
    from pytest_diffbench.records.details import ImageTile, OutputDetails

MOST_WORST_FRAMES = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A picture of this run and of the baseline; None where a side has none.

    Attributes:
        label: what it shows: `image 0`, `frame 12`.
        now: uint8, (height, width[, channels]).
        base: the same.
        area: that the verdict names as the worst.
        files: of this run's and of the baseline's, a PNG of the very picture, where there is one.
    """

    label: str
    now: NDArray[np.uint8] | None
    base: NDArray[np.uint8] | None
    area: Area | None = None
    files: tuple[Path | None, Path | None] = (None, None)


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """Samples of both sides, float32 of shape (channels, samples)."""

    now: NDArray[np.float32] | None
    base: NDArray[np.float32] | None
    rate_hz: float


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """An image or another part of an output.

    Attributes:
        title: `image 0`, `video frames`.
        size: `128 x 128 px RGB`, `12 frames of 64 x 48 px at 8 Hz`.
        kind: `image`, or the name of a kind.
        pairs: its pictures; of a video the frames that are kept whole.
        first: number of the pair to show first.
        worst: reduced frames of a video that differ most, in the order of time.
        gaps_levels: how far each frame is from the baseline's, root mean square of its reduced picture, 0 to 255.
        recording: to listen to.
        partly: only a part of it is kept.
    """

    title: str
    size: str
    kind: str
    pairs: tuple[Pair, ...]
    first: int = 0
    worst: tuple[Pair, ...] = ()
    gaps_levels: tuple[float, ...] = ()
    recording: Recording | None = None
    partly: bool = False


def looks_of(output: Output | None, sides: Sides, details: OutputDetails | None) -> list[Look]:
    """Everything of an output that can be shown, in the order in which it was returned."""
    looks: list[Look] = []
    images = output.images if output is not None else ()
    for number in range(max(len(sides.now.images), len(sides.base.images))):
        now = sides.now.images[number] if number < len(sides.now.images) else None
        base = sides.base.images[number] if number < len(sides.base.images) else None
        facts = images[number] if number < len(images) else None
        size = f"{facts.width_px} × {facts.height_px} px {facts.mode}" if facts is not None else ""
        files = _file_of(sides.now, number), _file_of(sides.base, number)
        pair = Pair(f"image {number}", now, base, _area_of(details, number), files)
        looks.append(Look(f"image {number}", size, "image", (pair,)))
    base_parts = sides.baseline.output.parts if sides.baseline is not None and sides.baseline.output else ()
    parts = output.parts if output is not None else ()
    for number, part in enumerate(parts):
        kept = sides.now.parts[number] if number < len(sides.now.parts) else {}
        stored = sides.base.parts[number] if number < len(sides.base.parts) else {}
        like = number < len(base_parts) and (base_parts[number].kind, base_parts[number].shape) == (
            part.kind,
            part.shape,
        )
        base_part = base_parts[number] if number < len(base_parts) else None
        looks += _of_part(part, kept, base_part if stored and base_part is not None else None, stored, like=like)
    return looks


def _file_of(side: Artifacts, number: int) -> Path | None:
    return side.image_files[number] if number < len(side.image_files) else None


def _area_of(details: OutputDetails | None, number: int) -> Area | None:
    """The tile that the verdict names; else the one that the image's worst figure is of."""
    if details is None:
        return None
    tile: ImageTile | None = None
    if details.worst is not None and details.worst.image == number:
        tile = details.worst.tile
    if tile is None and number < len(details.images):
        tile = next((figure.tile for figure in details.images[number].values() if figure.tile is not None), None)
    return Area(tile.left_px, tile.top_px, tile.width_px, tile.height_px) if tile is not None else None


def _of_part(
    part: PartFacts, now: PartArrays, base_part: PartFacts | None, base: PartArrays, *, like: bool
) -> list[Look]:
    title = part.kind if part.name in (part.kind, f"{part.kind}s") else f"{part.kind} {part.name}"
    size = size_text(part)
    sides = [
        recorded(facts, arrays)
        for facts, arrays in ((part, now), (base_part, base))
        if facts is not None and arrays and facts.kind == part.kind
    ]
    new = sides[0] if now and sides else None
    old = sides[-1] if base and sides and (len(sides) == 2 or not now) else None
    if new is None and old is None:
        return []
    match part.kind:
        case "video":
            return [_video(title, size, new, old if like else None)]
        case "audio":
            return [_audio(title, size, new, old, part.rate_hz or 16000.0)]
    kind = KINDS.get(part.kind)
    shown = [side for side in (new, old if like or new is None else None) if side is not None]
    pictures = kind.pictures(shown) if kind is not None else ()
    if not pictures or pictures[0] is None:
        return []
    pair = Pair(
        part.name, pictures[0] if new is not None else None, pictures[-1] if old is not None and like else None
    )
    return [Look(title, size, part.kind, (pair,))]


def _video(title: str, size: str, now: Kept | None, base: Kept | None) -> Look:
    """The frames that are kept whole; where both sides are there, the frames that differ most."""
    known = now if now is not None else base
    assert known is not None
    new, old = (whole_frames(side) if side is not None else None for side in (now, base))
    pairs = tuple(
        Pair(f"frame {number}", None if new is None else new[place], None if old is None else old[place])
        for place, number in enumerate(known.kept_pieces)
    )
    if now is None or base is None:
        return Look(title, size, "video", pairs)
    sketches, stored = now.arrays["sketches"], base.arrays["sketches"]
    gaps = np.sqrt(np.square(sketches.astype(np.float32) - stored).mean(axis=(1, 2, 3)))
    worst = sorted(int(number) for number in np.argsort(-gaps)[:MOST_WORST_FRAMES] if gaps[number] > 0)
    first = max(range(len(pairs)), key=lambda place: float(gaps[known.kept_pieces[place]]))
    return Look(
        title,
        size,
        "video",
        pairs,
        first=first,
        worst=tuple(Pair(f"frame {number}", sketches[number], stored[number]) for number in worst),
        gaps_levels=tuple(float(gap) for gap in gaps),
        partly=len(known.kept_pieces) < len(known.piece_digests),
    )


def _audio(title: str, size: str, now: Kept | None, base: Kept | None, rate_hz: float) -> Look:
    sides = [side for side in (now, base) if side is not None]
    samples: Sequence[NDArray[np.float32]] = [side.arrays["samples"] for side in sides]
    waves = KINDS["audio"].pictures(sides)
    pairs = tuple(
        Pair(
            label,
            drawn[0] if now is not None else None,
            drawn[-1] if base is not None else None,
        )
        for label, drawn in (("spectrogram", spectrograms(samples)), ("waveform", waves))
    )
    return Look(
        title,
        size,
        "audio",
        pairs,
        recording=Recording(
            samples[0] if now is not None else None, samples[-1] if base is not None else None, rate_hz
        ),
        partly="levels" in sides[0].arrays,
    )
