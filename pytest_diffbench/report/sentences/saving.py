"""What became of a case that was to be saved, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records import SaveOutcome


def saved_text(outcome: SaveOutcome | None) -> str:
    """Such as `created`, `added run 3`, `new generation 2`, `kept: why` or `refused: why`; empty for None."""
    if outcome is None:
        return ""
    text = {"added": f"added run {outcome.number}", "new_generation": f"new generation {outcome.number}"}.get(
        outcome.what, outcome.what
    )
    if outcome.why:
        text += f": {outcome.why}"
    if outcome.times_anew:
        text += ", from which times count anew"
    return f"{text}; refuted by a fresh process" if outcome.refuted else text
