"""What calls with inputs that nobody could prepare for showed."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_diffbench.records.base import Count, PositiveSeconds, Record
from pytest_diffbench.records.origin import PartSketch

Suspicion: TypeAlias = Literal[
    "fewer_steps",
    "seed_ignored",
    "prompt_ignored",
    "hidden_prompt_differs",
    "rounds_without_steps",
    "only_repeats_are_fast",
    "work_behind_the_timer",
    "threads_left",
]
"""Why a gain isn't believed. The first four are wrong results, the others measurements that say nothing."""

WRONG: frozenset[Suspicion] = frozenset({"fewer_steps", "seed_ignored", "prompt_ignored", "hidden_prompt_differs"})


class Probe(Record, frozen=True, kw_only=True):
    """Calls with a prompt and seeds that were drawn once the target was fixed, beside the measured call.

    Attributes:
        prompt: that was drawn; None where the call takes none.
        seed: that was drawn, of the call whose output is kept; None in files of versions that didn't keep any.
        pictures: PNGs of what that call painted, of a video some frames, see `outputs.excerpts`.
        repeated: the same of the reference's prompt and seed, where that was probed earlier, since a baseline can't
            know what is drawn later. Not kept with a baseline.
        parts: sketches of the first few parts of the call with `seed` besides images and videos; empty in files of
            versions that didn't keep any.
        repeated_parts: the same of the call that `repeated` is of.
        fresh_s: time of the faster of two calls with inputs that were never seen before.
        round_s: median of the timed rounds before.
        repeat_s: time of a call with the case's own inputs just before those: a machine that has become slower since
            the rounds is no cheat. None in files of versions that made none.
        steps: scheduler steps seen in such a call.
        late_calls: calls of components while the output was read, when the clock had stopped.
        threads: that were started in the call and still ran once it was over.
        ignores_seed: two seeds give the very same output; None where the call takes no generator.
        ignores_prompt: two prompts do; None where it takes no prompt.
    """

    prompt: str | None
    seed: Count | None = None
    pictures: tuple[bytes, ...] = ()
    repeated: tuple[bytes, ...] = ()
    parts: tuple[PartSketch, ...] = ()
    repeated_parts: tuple[PartSketch, ...] = ()
    fresh_s: PositiveSeconds
    round_s: PositiveSeconds | None = None
    repeat_s: PositiveSeconds | None = None
    steps: Count
    late_calls: Count = 0
    threads: Count = 0
    ignores_seed: bool | None = None
    ignores_prompt: bool | None = None
