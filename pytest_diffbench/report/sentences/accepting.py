"""Why a result of a session isn't accepted later."""

from __future__ import annotations

from typing import Literal, TypeAlias

Obstacle: TypeAlias = Literal["incomplete", "test_failed", "refuted", "no_trace", "not_at_hand"]
"""What forbids to accept a result without measuring again."""

TWICE = "this run is in the baseline already"

_TEXTS: dict[Obstacle, str] = {
    "incomplete": "the measurement isn't complete. Measure it again",
    "test_failed": "the test failed",
    "refuted": "a fresh process returned something else",
    "no_trace": (
        "its trace wasn't kept. Measure with --diffbench-images=FOLDER, or with a folder as --diffbench-report"
    ),
    "not_at_hand": (
        "its images, other parts or trace aren't at hand. Name the folder of --diffbench-images, or of "
        "--diffbench-report, that the session wrote: --images FOLDER"
    ),
}


def refusal(obstacle: Obstacle) -> str:
    """Why a result is refused, without a full stop."""
    return _TEXTS[obstacle]
