"""What a varied call did and returned, and how far two of them are apart."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_diffbench.measure.branches import fingerprint_of
from pytest_diffbench.measure.values import arrays_in, values_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from pytest_diffbench.measure.components import Role, Site
    from pytest_diffbench.measure.survey import Survey
    from pytest_diffbench.records import Guidance, Work

Arrays: TypeAlias = "Mapping[str, NDArray[np.float64]]"
"""What a call returned, one sample after the other along the first axis, by name."""
_ROUNDINGS = 8
"""By so many machine epsilons everything is changed that a denoiser is handed, to see what rounding comes to."""


@dataclasses.dataclass(frozen=True, slots=True)
class ComponentCall:
    """One call of a component.

    Attributes:
        name: `text_encoder`, `vae.encode`.
        role: what the component does.
        inputs: digest of all tensors that it was handed.
        masks: names of the masks of a text among them.
        padded: some mask tells tokens of a text apart: it isn't the same everywhere.
        sample_shape: of the noisy sample; empty for what isn't a denoiser.
    """

    name: str
    role: Role
    inputs: str
    masks: tuple[str, ...]
    padded: bool
    sample_shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What a call did and returned.

    Attributes:
        arrays: float64, with one sample after the other along the first axis, by name.
        calls: of components, in order.
        work: without FLOPs.
        guidance: None where no scheduler step was seen.
        latents_shape: of what the scheduler returned last.
    """

    arrays: dict[str, NDArray[np.float64]]
    calls: tuple[ComponentCall, ...]
    work: Work
    guidance: Guidance | None
    latents_shape: tuple[int, ...] | None

    @property
    def digest(self) -> str | None:
        """Of what was returned."""
        digest = hashlib.blake2b(digest_size=16)
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest() if self.arrays else None

    def sample(self, number: int) -> dict[str, NDArray[np.float64]]:
        """What was returned for one sample of the batch."""
        return {name: array[number : number + 1] for name, array in self.arrays.items()}

    def branches(self) -> set[str]:
        """Of the denoiser's calls."""
        return {group.branch for group in self.work.denoiser}


def distance(first: Arrays, second: Arrays) -> tuple[float, int]:
    """How far two outputs are apart, in the worst sample, and which that is.

    Returns:
        Root mean square of the difference over the standard deviation of the first output; infinite where names,
        shapes or finiteness differ.
    """
    if first.keys() != second.keys():
        return math.inf, 0
    worst, where = 0.0, 0
    for name, left in first.items():
        right = second[name]
        if left.shape != right.shape or not (np.isfinite(left) == np.isfinite(right)).all():
            return math.inf, 0
        spread = float(np.nan_to_num(left).std()) or 1.0
        for number, (one_left, one_right) in enumerate(zip(left, right, strict=True)):
            gap = float(np.sqrt(np.mean(np.square(np.nan_to_num(one_left) - np.nan_to_num(one_right))))) / spread
            if gap > worst:
                worst, where = gap, number
    return worst, where


class Recorder:
    """Notes what each component is handed, beside a survey."""

    def __init__(self, survey: Survey) -> None:
        self.calls: list[ComponentCall] = []
        self._survey = survey

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note it."""
        if site.component and site.role != "step":
            self.calls.append(_component_call(site, args, kwargs))
        self._survey.enter(site, args, kwargs)

    def leave(self, site: Site, output: Any) -> None:
        """Nothing of its own."""
        self._survey.leave(site, output)


def _component_call(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ComponentCall:
    import torch

    digest = hashlib.blake2b(digest_size=16)
    masks: list[str] = []
    padded = False
    named = [(f"argument {number}", value) for number, value in enumerate(args)] + sorted(kwargs.items())
    for name, value in named:
        for tensor in _tensors(value):
            if isinstance(tensor, torch.Tensor):
                if _masks_text(name, tensor):
                    masks.append(name)
                    padded |= tensor.unique().numel() > 1
                digest.update(f"{name} {tensor.dtype} {fingerprint_of(tensor)}".encode())
            else:
                digest.update(f"{name} {tensor!r}".encode())
    return ComponentCall(
        name=site.name,
        role=site.role,
        inputs=digest.hexdigest(),
        masks=tuple(dict.fromkeys(masks)),
        padded=padded,
        sample_shape=_sample_shape(args, kwargs) if site.role == "denoiser" else (),
    )


def _masks_text(name: str, tensor: torch.Tensor) -> bool:
    """Whether an argument is a mask of tokens of a text, not of a picture's pixels or frames."""
    return "mask" in name and (tensor.ndim == 2 or any(word in name for word in ("encoder", "prompt", "text")))


def _sample_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    import torch

    for value in (kwargs.get("hidden_states"), kwargs.get("sample"), *args[:1]):
        if isinstance(value, torch.Tensor):
            return tuple(value.shape)
    return ()


def _tensors(value: Any) -> Iterator[Any]:
    """The tensors and plain values in an argument."""
    import torch

    if isinstance(value, torch.Tensor | str | int | float | bool) or value is None:
        yield value
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _tensors(value[key])
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _tensors(element)


def jitter(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """A module's hook that changes what it is handed by a few roundings."""
    generator = _generator()
    return _jittered(args, generator), _jittered(kwargs, generator)


def _generator() -> torch.Generator:
    import torch

    return torch.Generator("cpu").manual_seed(0)


def _jittered(value: Any, generator: torch.Generator) -> Any:
    """The same, each element of its batches of vectors changed by a few roundings, up or down."""
    import torch

    if isinstance(value, torch.Tensor):
        if not value.is_floating_point() or value.ndim < 2:
            return value
        signs = torch.randint(0, 2, value.shape, generator=generator).to(value.device) * 2 - 1
        return value * (1 + _ROUNDINGS * torch.finfo(value.dtype).eps * signs).to(value.dtype)
    if type(value) in (list, tuple):
        return type(value)(_jittered(element, generator) for element in value)
    if type(value) is dict:
        return {key: _jittered(element, generator) for key, element in value.items()}
    return value


def batched(output: Any, *, latents: bool) -> dict[str, NDArray[np.float64]]:
    """What was returned, as arrays with a sample in each row."""
    arrays: dict[str, list[NDArray[Any]]] = {}
    for value in values_in(output, latents=latents):
        parts = [array for _, array in arrays_in(value)]
        if len(parts) > 1 and len({part.shape for part in parts}) == 1:
            parts = [np.stack(parts)]
        for number, part in enumerate(parts):
            if part.ndim and part.size:
                arrays.setdefault(f"{value.name}.{number}" if number else value.name, []).append(part)
    return {name: np.asarray(found[0], dtype=np.float64) for name, found in arrays.items()}
