"""What travels beside the records: the arrays of a measurement, and a stored baseline as the judges see it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

from pytest_diffbench.records.case import is_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_diffbench.records import Baseline, Distance, Environment, Fact

PartArrays: TypeAlias = "Mapping[str, NDArray[np.uint8] | NDArray[np.float32]]"
"""What is kept of a part, by name."""

MOMENTS = "moments"
"""Name of a trace's array of moments: a row for each other array, in the order of their sorted names."""

MOMENT_NAMES = ("norm", "mean", "std", "min", "max", "not_finite")
"""Columns of `MOMENTS`: L2 norm, mean, standard deviation, least and greatest of the finite values, and the number of
those that aren't finite."""

_MOST_OF_ONE_CLASS = 2
"""Facts of the hardware that are each told in full, such as the power limit of the same card."""


@dataclasses.dataclass(frozen=True, slots=True)
class Artifacts:
    """The arrays of a measurement or a baseline.

    The trace holds sketches of shape (SKETCH_SIZE,) by place, and two arrays besides:

    - `text/<component>/<call>`: what a text encoder returned, `.../<k>` its further tensors; `text/<n>`: what the
      pipeline made of it;
    - `prediction/<step>/<branch>`: what the denoiser returned; of a joint call the halves `joint-uncond` and
      `joint-cond`, as diffusers orders them; `.../<component>` where several denoisers were called;
    - `latents/<step>`: what the scheduler's step returned;
    - `decoder_input` and `decoded`: what went into the decoder and came out of it;
    - `returned/<n>`: what the timed call returned and isn't images, in the order of `Output.tensors`;
    - `...#<k>`: the k-th repetition of a call that would have the same name, counted from 1;
    - `latents/final`: the scheduler's last output, whole, or left out where it is too large;
    - `moments`: see `MOMENTS`. A trace written before there were any lacks it, and all but `text/<n>` and `latents`.

    Attributes:
        images: uint8 arrays of shape (height, width) or (height, width, channels), values 0 to 255.
        parts: of each part that isn't an image, in the order of `Output.parts`, what its kind keeps by name: uint8 of
            shape (frames, height, width, channels), or float32.
        image_files: of each image a PNG that was found to hold it, and is named by its digest; none where that isn't
            known of all.
        trace: float32 arrays by name. In a sketch values that weren't finite count as 0; `moments` has their number.
    """

    images: tuple[NDArray[np.uint8], ...] = ()
    trace: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    parts: tuple[PartArrays, ...] = ()
    image_files: tuple[Path, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A stored baseline as the judges see it.

    Attributes:
        baseline: the record.
        distance: how near the machine that it was measured on is to this one.
        path: the baseline's folder, for messages.
        artifacts: reads the stored images and trace when they are needed; raises BaselineError.
    """

    baseline: Baseline
    distance: Distance
    path: str
    artifacts: Callable[[], Artifacts]

    def changed_since(self, now: Environment) -> tuple[str, ...]:
        """Facts in which an environment differs from that of the baseline's newest run: `torch 2.12.0 -> 2.13.0`.

        Another class of machine differs in most of what makes a class: it is one entry, which names these facts.
        """
        then = self.baseline.runs[-1].environment
        hardware = _differing(then.hardware, now.hardware)
        rest = {**_differing(then.settings, now.settings), **_differing(then.software, now.software)}
        if then.machine != now.machine and len(hardware) > _MOST_OF_ONE_CLASS:
            machines = f"machine {then.machine} -> {now.machine} ({', '.join(hardware)})"
            return machines, *rest.values()
        return *hardware.values(), *rest.values()


def _differing(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> dict[str, str]:
    """What changed, by the fact's name."""
    return {
        name: f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in dict.fromkeys([*before, *after])
        if is_changed(name, before, after)
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Sides:
    """What there is to look at of a case: its own arrays, and what it was compared with.

    Attributes:
        now: of this run; images and parts that aren't at hand are left out.
        base: the same of the baseline.
        baseline: its record; None where there is none, or it isn't at hand.
    """

    now: Artifacts = dataclasses.field(default_factory=Artifacts)
    base: Artifacts = dataclasses.field(default_factory=Artifacts)
    baseline: Baseline | None = None
