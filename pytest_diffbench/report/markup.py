"""Text and code in GitHub-flavoured Markdown, whatever stands in them."""

from __future__ import annotations

import html
import re


def escaped(text: str) -> str:
    """Text that stays text: no markup, no HTML, no end of a line or of a table's cell."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", escaped)


def code(text: str) -> str:
    """Text as code, whatever backticks it holds."""
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{' '.join(text.split())}{pad}{ticks}"


def fenced(text: str) -> list[str]:
    ticks = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return [f"{ticks}sh", *text.splitlines(), ticks]
