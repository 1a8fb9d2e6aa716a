"""What a batch holds: each of its samples is what the same call gives alone."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from pytest_diffbench.invariants.invariant import Outcome, needs, not_applicable, unable
from pytest_diffbench.invariants.observed import distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_diffbench.invariants.observed import Observed
    from pytest_diffbench.invariants.subject import Subject

_PER_PROMPT = ("num_images_per_prompt", "num_videos_per_prompt", "num_waveforms_per_prompt")


def prompts(subject: Subject) -> Outcome:
    """Two prompts together are each alone."""
    needs(subject, "generator")
    first, second = subject.prompt(), subject.other_prompt()
    seeds = subject.seed, subject.seed + 1
    together = _together(subject, seeds, [first, second])
    alone = [subject.attempt(seeds[0]), subject.attempt(seeds[1], prompt=second)]
    return _each(subject, together, alone, subject.prompts_differ())


def order(subject: Subject) -> Outcome:
    """Prompts in another order give the same pictures in that order."""
    needs(subject, "generator")
    texts = [subject.prompt(), subject.other_prompt()]
    seeds = [subject.seed, subject.seed + 1]
    together = _together(subject, seeds, texts)
    turned = _together(subject, seeds[::-1], texts[::-1])
    _check_size(turned, 2)
    return _each(subject, together, [turned.sample(1), turned.sample(0)], subject.prompts_differ())


def images_per_prompt(subject: Subject) -> Outcome:
    """Two images of one prompt are what two calls give."""
    needs(subject, "generator")
    name = _per_prompt(subject)
    seeds = subject.seed, subject.seed + 1
    together = subject.attempt(*seeds, **{name: 2})
    alone = [subject.attempt(seed) for seed in seeds]
    return _each(subject, together, alone, distance(alone[0].arrays, alone[1].arrays)[0])


def prompts_and_images(subject: Subject) -> Outcome:
    """Two images of each of two prompts are those of two calls with one image each, those of the first prompt first.

    The calls have the same prompts in one batch, so that what their batch does to them isn't held against this.
    """
    needs(subject, "generator")
    name = _per_prompt(subject)
    texts = [subject.prompt(), subject.other_prompt()]
    seeds = [subject.seed + number for number in range(4)]
    together = _together(subject, seeds, texts, **{name: 2})
    calls = [_together(subject, (seeds[number], seeds[number + 2]), texts) for number in range(2)]
    for call in calls:
        _check_size(call, 2)
    single = [calls[0].sample(0), calls[1].sample(0), calls[0].sample(1), calls[1].sample(1)]
    return _each(subject, together, single, subject.prompts_differ())


def _per_prompt(subject: Subject) -> str:
    name = next((name for name in _PER_PROMPT if name in subject.parameters), None)
    if name is None:
        not_applicable("no_argument", *_PER_PROMPT)
    return name


def _together(subject: Subject, seeds: Sequence[int], texts: Sequence[str], **more: Any) -> Observed:
    """Call the pipeline for several prompts: whatever other texts and pictures it has stay the same for each.

    Some take a picture for each prompt, and some one for all; where the first is refused, the second is tried. Some
    take a list for several references of each sample.
    """
    lists: dict[str, Any] = {
        name: [value] * len(texts)
        for name, value in subject.arguments.items()
        if isinstance(value, str) and name.startswith(("negative_prompt", "prompt_"))
    }
    lists |= {"prompt": list(texts)}
    pictures = {name: [value] * len(texts) for name, value in subject.arguments.items() if _is_picture(value)}
    if pictures and not _are_references(subject, pictures):
        with contextlib.suppress(Exception):
            return subject.call(*seeds, **(lists | pictures | more))
    return subject.attempt(*seeds, **lists, **more)


def _are_references(subject: Subject, pictures: dict[str, Any]) -> bool:
    """Whether a list of two pictures goes into one sample: with one prompt there is one, and it is another."""
    with contextlib.suppress(Exception):
        one = subject.repeat(**pictures)
        alike = distance(subject.reference.arrays, one.arrays)[0] <= subject.limit_rel
        return not alike and all(len(array) == 1 for array in one.arrays.values())
    return False


def _is_picture(value: object) -> bool:
    from PIL import Image

    return isinstance(value, Image.Image)


def _check_size(together: Observed, size: int) -> None:
    if any(len(array) != size for array in together.arrays.values()):
        unable("not_read", *(f"{name} {array.shape}" for name, array in together.arrays.items()))


def _each(subject: Subject, together: Observed, alone: Sequence[Any], sensitivity_rel: float) -> Outcome:
    """Compare each sample of a batch with what was made alone, and answer by the worst."""
    _check_size(together, len(alone))
    arrays = [single if isinstance(single, dict) else single.arrays for single in alone]
    gaps = [distance(single, together.sample(number))[0] for number, single in enumerate(arrays)]
    worst = max(range(len(gaps)), key=lambda number: gaps[number] if not math.isnan(gaps[number]) else math.inf)
    return subject.equal(
        arrays[worst],
        together.sample(worst),
        sensitivity_rel=sensitivity_rel,
        where=_named([number for number, gap in enumerate(gaps) if not gap <= subject.limit_rel]),
    )


def _named(samples: Sequence[int]) -> tuple[str, ...]:
    if not samples:
        return ()
    return (f"sample{'s' * (len(samples) > 1)} {', '.join(map(str, samples))}",)
