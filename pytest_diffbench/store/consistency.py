"""What the figures of one baseline say of each other: each within its range, and yet they can't all be true.

Ranges of single fields stand with the fields, in `records`, and hold whenever a baseline is read. What stands here
spoils no verdict by itself, and depends on the time of day, so it's left to `diffbench check`.
"""

from __future__ import annotations

import collections
import datetime
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_diffbench.records import (
        Baseline,
        GuidanceGroup,
        Memory,
        Origin,
        Output,
        Round,
        Run,
        StageMemory,
        Work,
    )

Contradiction: TypeAlias = tuple[str, object, str]
"""Path of a field, its value, and what that can't be beside."""

_AHEAD = datetime.timedelta(days=1)
"""By how much another machine's clock may be ahead."""

_ROUNDING_REL, _ROUNDING_S = 0.01, 0.001
"""Stages are read from the device's events, the total from the host's clock."""


def contradictions(baseline: Baseline, now: datetime.datetime) -> Iterator[Contradiction]:
    """The fields of a baseline that others, or the time of day (with a time zone), give the lie."""
    for index, run in enumerate(baseline.runs):
        yield from _of_run(run, f"runs[{index}]", baseline.work, now)
    yield from _twice((run.id for run in baseline.runs), "runs", "id")
    if baseline.ratio is not None:
        yield from _twice((run.run for run in baseline.ratio.runs), "ratio.runs", "run")
    if baseline.work is not None:
        yield from _of_work(baseline.work)
        yield from _of_guidance(baseline.guidance, baseline.work)
    if baseline.output is not None:
        yield from _of_output(baseline.output)
    if baseline.memory is not None:
        yield from _of_memory(baseline.memory)
    layers, profile = baseline.layers, baseline.profile
    if layers is not None and layers.attention_s and not layers.attention_layers:
        yield "layers.attention_s", layers.attention_s, "layers.attention_layers is 0, and so is their time"
    if profile is not None:
        parts_s = sum(operator.self_s for operator in profile.operators)
        if parts_s > profile.total_s * (1 + _ROUNDING_REL) + _ROUNDING_S:
            yield "profile.total_s", profile.total_s, f"profile.operators[] alone add up to {parts_s:.6g}"
    if baseline.origin is not None:
        yield from _of_origin(baseline.origin, baseline.generation)
    yield from _of_history(baseline, now)


def _of_origin(origin: Origin, generation: int) -> Iterator[Contradiction]:
    if origin.generation > generation:
        yield "origin.generation", origin.generation, f"the generation that stands is {generation}"
    for index, image in enumerate(origin.images):
        if not image.levels or len(image.levels) % (image.rows * image.columns):
            cells = f"origin.images[{index}] has {image.rows} x {image.columns} cells"
            yield f"origin.images[{index}].levels", f"{len(image.levels)} figures", cells
    for index, part in enumerate(origin.parts):
        if not part.values:
            yield f"origin.parts[{index}].values", "0 figures", f"origin.parts[{index}] has a size of {part.size:.6g}"


def _of_history(baseline: Baseline, now: datetime.datetime) -> Iterator[Contradiction]:
    for index, change in enumerate(baseline.tolerances):
        yield from _of_time(change.changed, f"tolerances[{index}].changed", now)
    for index, acceptance in enumerate(baseline.acceptances):
        yield from _of_time(acceptance.accepted, f"acceptances[{index}].accepted", now)


def _of_run(run: Run, field: str, work: Work | None, now: datetime.datetime) -> Iterator[Contradiction]:
    yield from _of_time(run.started, f"{field}.started", now)
    # What was saved without its times has no warm-ups, and keeps what was said of them.
    if run.warmup is not None and run.warmup_s and run.warmup.rounds != len(run.warmup_s):
        yield f"{field}.warmup.rounds", run.warmup.rounds, f"{field}.warmup_s holds {len(run.warmup_s)} times"
    for index, round_ in enumerate(run.rounds):
        yield from _of_round(round_, f"{field}.rounds[{index}]", work)


def _of_round(round_: Round, field: str, work: Work | None) -> Iterator[Contradiction]:
    slack_s = round_.total_s * _ROUNDING_REL + _ROUNDING_S
    stages_s, steps_s = sum(round_.stages_s.values()), sum(round_.steps_s)
    if round_.stages_s and abs(stages_s - round_.total_s) > slack_s:
        yield f"{field}.total_s", round_.total_s, f"its stages_s add up to {stages_s:.6g}"
    elif steps_s > round_.total_s + slack_s:
        yield f"{field}.total_s", round_.total_s, f"its steps_s alone add up to {steps_s:.6g}"
    if work is not None and round_.steps_s and len(round_.steps_s) != work.steps:
        yield f"{field}.steps_s", f"{len(round_.steps_s)} times", f"work.steps is {work.steps}"


def _of_time(text: str, field: str, now: datetime.datetime) -> Iterator[Contradiction]:
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        yield field, text, "it isn't a time such as 2026-01-31T12:00:00+00:00"
        return
    when = when if when.tzinfo is not None else when.replace(tzinfo=datetime.UTC)
    if when > now + _AHEAD:
        yield field, text, f"it is later than this machine's clock, {now.isoformat(timespec='seconds')}"


def _twice(ids: Iterable[str], field: str, name: str) -> Iterator[Contradiction]:
    places: dict[str, list[int]] = collections.defaultdict(list)
    for index, identity in enumerate(ids):
        places[identity].append(index)
    for identity, (first, *more) in places.items():
        for index in more:
            yield f"{field}[{index}].{name}", identity, f"{field}[{first}] is the same run, which counts once"


def _of_work(work: Work) -> Iterator[Contradiction]:
    calls: dict[str, int] = collections.Counter()
    flops: dict[str, int] = collections.Counter()
    for index, group in enumerate(work.denoiser):
        steps = parse_steps(group.steps)
        calls[group.component] += len(steps)
        flops[group.component] += len(steps) * group.flops
        if max(steps) > work.steps:  # calls after the last step have its number
            yield f"work.denoiser[{index}].steps", group.steps, f"work.steps is {work.steps}"
    yield from _fewer(work.component_calls, calls, "work.component_calls", "work.denoiser[] has {} calls of it")
    yield from _fewer(work.flops, flops, "work.flops", "its calls in work.denoiser[] alone come to {}")
    yield from _fewer(
        work.parameters, work.attention_parameters, "work.parameters", "work.attention_parameters alone are {}"
    )
    if work.timesteps and len(work.timesteps) != work.steps:
        yield "work.timesteps", f"{len(work.timesteps)} figures", f"work.steps is {work.steps}"
    yield from _of_steps(work.idle_steps, "work.idle_steps", work)


def _fewer(whole: dict[str, int], parts: dict[str, int], field: str, beside: str) -> Iterator[Contradiction]:
    for name, part in parts.items():
        if name in whole and whole[name] < part:
            yield f"{field}.{name}", whole[name], beside.format(part)


def _of_guidance(groups: tuple[GuidanceGroup, ...], work: Work) -> Iterator[Contradiction]:
    for index, group in enumerate(groups):
        yield from _of_steps(group.steps, f"guidance[{index}].steps", work)


def _of_steps(text: str, field: str, work: Work) -> Iterator[Contradiction]:
    try:
        last = max(parse_steps(text), default=0)
    except ValueError:
        yield field, text, "these aren't steps such as 0-14,20"
        return
    if last > work.steps:
        yield field, text, f"work.steps is {work.steps}"


def _of_output(output: Output) -> Iterator[Contradiction]:
    rerun = output.rerun
    if not output.finite or output.not_finite_where is not None:
        yield "output.finite", output.finite, f"NaN or infinity ({output.not_finite_where}) is never a baseline"
    if rerun.identical and (rerun.psnr_db is not None or rerun.latents_rel):
        yield "output.rerun.identical", rerun.identical, "output.rerun has a distance between its calls"
    named = sum(map(len, rerun.alike))
    if named > rerun.rounds:
        yield "output.rerun.rounds", rerun.rounds, f"output.rerun.alike names {named} calls"
    for index, part in enumerate(output.parts):
        if "not_finite" in part.defects:
            yield f"output.parts[{index}].defects", ", ".join(part.defects), "output.finite says that all is finite"
        if any(number >= len(part.piece_digests) for number in part.kept_pieces):
            yield (
                f"output.parts[{index}].kept_pieces",
                max(part.kept_pieces),
                f"it has {len(part.piece_digests)} pieces",
            )
    if output.unrecognised is not None and (output.images or output.parts):
        yield "output.unrecognised", output.unrecognised, "output holds images or parts"
    if output.images and output.no_images is not None:
        yield "output.no_images", output.no_images, f"output.images holds {len(output.images)}"


def _of_memory(memory: Memory) -> Iterator[Contradiction]:
    parts: dict[str, Memory | StageMemory] = {"memory": memory}
    parts |= {f"memory.stages.{name}": stage for name, stage in memory.stages.items()}
    for field, part in parts.items():
        if part.reserved_bytes is not None and part.reserved_bytes < part.peak_bytes:
            yield (
                f"{field}.reserved_bytes",
                part.reserved_bytes,
                f"{field}.peak_bytes, a part of it, is {part.peak_bytes}",
            )
    for name, stage in memory.stages.items():
        if stage.peak_bytes > memory.peak_bytes:
            yield "memory.peak_bytes", memory.peak_bytes, f"that of memory.stages.{name} is {stage.peak_bytes}"
