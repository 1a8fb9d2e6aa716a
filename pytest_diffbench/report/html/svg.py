"""Writes SVG elements, escaped; charts are made of them. Needs markupsafe, which comes with Jinja2."""

from __future__ import annotations

import functools
import html
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Value = str | int | float


def element(name: str, *children: str, **attributes: Value | None) -> Markup:
    """An element. Children that aren't markup are escaped.

    Args:
        name: of the element.
        *children: text or elements.
        **attributes: an underscore stands for a hyphen, and one at the end is dropped; None leaves an attribute out.
    """
    # A large page has a hundred thousand of these, and markup that is formatted is escaped at each step.
    written = "".join([f' {_name(key)}="{_text(value)}"' for key, value in attributes.items() if value is not None])
    inside = "".join([child if isinstance(child, Markup) else html.escape(child) for child in children])
    return Markup(f"<{name}{written}>{inside}</{name}>")


@functools.cache
def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(value) if isinstance(value, str) else str(value)


def percent(share_rel: float) -> str:
    """A place along an axis: .5 as `50%`."""
    return f"{100 * share_rel:.2f}".rstrip("0").rstrip(".") + "%"


def stretched(points: Sequence[tuple[float, float]], height_px: float, class_: str) -> Markup:
    """A line through points (share of the width, pixels from the top), as wide as its chart.

    It stands in an SVG of its own, since paths know no percentages.
    """
    path = "M" + "L".join(f"{100 * across:.2f} {down:.1f}" for across, down in points)
    line = element("path", d=path, class_=class_, vector_effect="non-scaling-stroke", fill="none")
    return element(
        "svg", line, viewBox=f"0 0 100 {height_px:g}", preserveAspectRatio="none", width="100%", height=height_px
    )


def drawing(shapes: Iterable[Markup], height_px: float, label: str, class_: str = "") -> Markup:
    """A chart of these shapes, as wide as its place on the page; the label says what it shows, for who can't see it.

    Shapes have horizontal places in per cent, and vertical ones in pixels.
    """
    classes = f"chart {class_}".strip()
    return element("svg", *shapes, class_=classes, width="100%", height=height_px, role="img", aria_label=label)
