"""Turns what there is to look at into files of pictures and recordings; costs nearly all of a page's time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_diffbench.report.html import views
from pytest_diffbench.report.html.charts import frame_bars
from pytest_diffbench.report.html.looks import looks_of
from pytest_diffbench.report.html.pictures import (
    MOST_CLIP_BYTES,
    Area,
    Encoded,
    crop,
    encoded,
    heat_map,
    levels_between,
    wav,
    worst_area,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import CaseReport
    from pytest_diffbench.records.artifacts import Sides
    from pytest_diffbench.records.details import OutputDetails
    from pytest_diffbench.report.html.files import Files
    from pytest_diffbench.report.html.looks import Look, Pair

_BRIEF_SIDE_PX = 256
_THUMB_SIDE_PX = 128
_SMALL_PX = 320


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedTile:
    """A worst tile."""

    area: Area
    now: Encoded
    base: Encoded
    heat: Encoded


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedPair:
    """A picture on both sides; of equal ones only `now`."""

    label: str
    now: Encoded | None
    base: Encoded | None
    heat: Encoded | None
    tile: EncodedTile | None
    same: bool
    unlike: bool
    thumbs: tuple[Encoded | None, Encoded | None] = (None, None)
    """Of this run and the baseline, where the pictures themselves are large."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedLook:
    """An image or another part, as files."""

    look: Look
    pairs: tuple[EncodedPair, ...]
    worst: tuple[EncodedPair, ...]
    clips: tuple[tuple[str, bytes], ...]


def encode_looks(
    report: CaseReport, sides: Sides, details: OutputDetails | None, *, whole: bool, brief: bool
) -> tuple[EncodedLook, ...]:
    """Encode everything there is to look at of a case. Several threads may do so at once.

    Args:
        report: the case.
        sides: what is at hand of it.
        details: of the output gate.
        whole: without loss.
        brief: one small picture of each part will do, since nothing changed.
    """
    looks = looks_of(report.observation.output, sides, details)
    done: list[EncodedLook] = []
    for look in looks:
        pairs = look.pairs[look.first : look.first + 1] if brief else look.pairs
        clips: list[tuple[str, bytes]] = []
        if look.recording is not None and not brief:
            most = None if whole else MOST_CLIP_BYTES
            now, base, rate_hz = look.recording.now, look.recording.base, look.recording.rate_hz
            if base is not None and base is not now:
                clips.append(("baseline", wav(base, rate_hz, most)))
            if now is not None:
                clips.append(("this run", wav(now, rate_hz, most)))
        encoded_pairs = [_pair(pair, whole=whole, brief=brief) for pair in pairs]
        at = min(look.first, len(pairs) - 1)
        if not done and pairs and encoded_pairs[at].base is not None:
            thumbs = (_thumb(pairs[at].now), _thumb(pairs[at].base))
            encoded_pairs[at] = dataclasses.replace(encoded_pairs[at], thumbs=thumbs)
        done.append(
            EncodedLook(
                look=look,
                pairs=tuple(encoded_pairs),
                worst=() if brief else tuple(_pair(pair, whole=whole, brief=False) for pair in look.worst),
                clips=tuple(clips),
            )
        )
    return tuple(done)


def _thumb(picture: NDArray[np.uint8] | None) -> Encoded | None:
    if picture is None or max(picture.shape[:2]) <= _THUMB_SIDE_PX:
        return None
    return encoded(picture, side_px=_THUMB_SIDE_PX)


def _pair(pair: Pair, *, whole: bool, brief: bool) -> EncodedPair:
    now, base = pair.now, pair.base
    levels = levels_between(now, base) if now is not None and base is not None and now is not base else None
    unlike = now is not None and base is not None and now is not base and levels is None
    same = now is not None and base is not None and (now is base or (levels is not None and not levels.any()))
    side_px = _BRIEF_SIDE_PX if brief else 1600
    of_now, of_base = pair.files
    new = encoded(now, whole=whole, side_px=side_px, file=of_now) if now is not None else None
    if same or brief:
        return EncodedPair(pair.label, new, None, None, None, same, False)
    old = encoded(base, whole=whole, file=of_base) if base is not None else None
    if levels is None or now is None or base is None:
        return EncodedPair(pair.label, new, old, None, None, False, unlike)
    heat = heat_map(levels, whole=whole)
    area = pair.area or worst_area(levels)
    is_all = (area.height_px, area.width_px) == levels.shape

    def part_of(picture: Encoded | None, cut: Callable[[], Encoded]) -> Encoded:
        return picture if is_all and picture is not None and picture.exact else cut()

    tile = EncodedTile(
        area,
        part_of(new, lambda: encoded(crop(now, area), whole=True)),
        part_of(old, lambda: encoded(crop(base, area), whole=True)),
        part_of(heat, lambda: heat_map(crop(levels, area), whole=True)),
    )
    return EncodedPair(pair.label, new, old, heat, tile, False, False)


def place_looks(looks: tuple[EncodedLook, ...], files: Files) -> tuple[views.Look, ...]:
    """Hand the files of a case over, and keep their addresses."""
    placed: list[views.Look] = []
    for encoded_look in looks:
        look = encoded_look.look
        pictures = tuple(_placed(pair, files) for pair in encoded_look.pairs)
        clips = [
            views.Clip(label, address)
            for label, data in encoded_look.clips
            if (address := files.put(data, "wav")) is not None
        ]
        placed.append(
            views.Look(
                title=look.title,
                size=look.size,
                kind=look.kind,
                pictures=pictures,
                first=look.first if look.first < len(pictures) else 0,
                worst=tuple(_placed(pair, files) for pair in encoded_look.worst),
                frames=frame_bars(look.gaps_levels) if any(look.gaps_levels) else None,
                clips=tuple(clips),
                partly=look.partly,
            )
        )
    return tuple(placed)


def _placed(pair: EncodedPair, files: Files) -> views.Picture:
    known = pair.now or pair.base
    assert known is not None
    now, base, heat = (_put(side, files) for side in (pair.now, pair.base, pair.heat))
    left_out = any(
        side is not None and address is None
        for side, address in zip((pair.now, pair.base, pair.heat), (now, base, heat), strict=True)
    )
    return views.Picture(
        label=pair.label,
        width_px=known.width_px,
        height_px=known.height_px,
        now=now,
        base=base if not left_out else None,
        heat=heat if not left_out else None,
        tile=_placed_tile(pair.tile, files) if pair.tile is not None else None,
        same=pair.same,
        unlike=pair.unlike,
        exact=all(side is None or side.exact for side in (pair.now, pair.base)),
        small=max(known.width_px, known.height_px) <= _SMALL_PX,
        left_out=left_out,
        thumb_now=_put(pair.thumbs[0], files) or now,
        thumb_base=_put(pair.thumbs[1], files) or base,
    )


def _put(side: Encoded | None, files: Files) -> str | None:
    return files.put(side.data, side.kind) if side is not None else None


def _placed_tile(tile: EncodedTile, files: Files) -> views.Tile | None:
    addresses = [files.put(side.data, side.kind) for side in (tile.now, tile.base, tile.heat)]
    now, base, heat = addresses
    if now is None or base is None or heat is None:
        return None
    area = tile.area
    return views.Tile(area.left_px, area.top_px, area.width_px, area.height_px, now, base, heat)
