"""The zoo as a table: a line for each class, of every family."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import zoo_kinds
import zoo_table_audio
import zoo_table_dits
import zoo_table_modular
import zoo_table_unets
import zoo_table_video
import zoo_unets
from zoo_entry import Entry, multiply_attribute_of_guider

if TYPE_CHECKING:
    from collections.abc import Mapping


def _of_kind(kind: zoo_kinds.Kind) -> Entry:
    """The line of a class whose branches are known beforehand."""
    asked: Mapping[str, Any] = kind.guided if kind.guided is not None else (kind.plain or {})
    scales = tuple(name for name in asked if name.endswith("_scale")) if kind.guided is not None else ()
    kind_of_output = "embeddings" if kind.build is zoo_unets.kandinsky_prior else "image"
    return Entry(
        build=kind.build,
        call={**kind.call, **asked},
        scales=scales,
        kind=kind_of_output,
        no_guidance="" if scales else "distilled into the model",
    )


_KINDS = {name: _of_kind(kind) for name, kind in zoo_kinds.ZOO.items()}

_GUIDED_BY_GUIDERS = {
    "HunyuanImagePipeline": dataclasses.replace(
        _KINDS["HunyuanImagePipeline"],
        scales=("guidance_scale",),
        no_guidance="",
        break_scale=multiply_attribute_of_guider,
    )
}

ENTRIES: dict[str, Entry] = (
    _KINDS
    | _GUIDED_BY_GUIDERS
    | zoo_table_unets.ENTRIES
    | zoo_table_dits.ENTRIES
    | zoo_table_video.ENTRIES
    | zoo_table_audio.ENTRIES
    | zoo_table_modular.ENTRIES
)
"""By the name of the class, with what sets it apart in brackets where a class has several lines."""
