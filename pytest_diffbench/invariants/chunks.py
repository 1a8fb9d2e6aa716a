"""Options that save memory by working through smaller pieces, and change nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_diffbench.invariants.invariant import Outcome, Undecided, broken, holds, not_applicable, unable
from pytest_diffbench.invariants.observed import distance
from pytest_diffbench.invariants.subject import first_line
from pytest_diffbench.measure.components import denoisers_of, modules_of
from pytest_diffbench.records.verification import OutputDistance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from numpy.typing import NDArray
    from torch import nn

    from pytest_diffbench.invariants.subject import Subject

_TILE, _STRIDE, _WIDTH = 4, 3, 8
"""Of tiles and of what they are cut from, in latents: three tiles side by side, each a quarter over the next."""

_MOST_STEP = 0.75
"""Of the difference of two tiles, from one column of pixels to the next: blending over two of them takes a half."""

_LEAST_LIMIT_REL = 1e-3
"""Other sizes have kernels of their own, whose sums have another order."""

_TIMES_LIMIT = 4
"""Tiles that differ by less than so many limits can't show how they are blended."""


def vae_slicing(subject: Subject) -> Outcome:
    """A VAE that decodes one picture of a batch after the other gives the same."""
    import torch

    decoder = _decoder_of(subject, "enable_slicing")
    both = torch.cat([decoder.latents, decoder.latents.flip(-1)])
    try:
        whole = decoder.decode(both)
    except Exception as error:
        unable("refused", "vae.decode", message=first_line(error))
    try:
        with _attributes_kept(decoder.vae):
            decoder.vae.enable_slicing()
            sliced = decoder.decode(both)
    except Exception as error:  # what it takes whole it has to take in slices
        return broken(where=(f"vae.decode: {first_line(error)}",))
    turned = distance({"": whole}, {"": whole[::-1]})[0]
    return subject.equal({"": whole}, {"": sliced}, sensitivity_rel=turned, same=True)


def attention_slicing(subject: Subject) -> Outcome:
    """Attention that is worked out in slices gives the same."""
    enable = getattr(subject.pipeline, "enable_attention_slicing", None)
    denoisers = denoisers_of(subject.pipeline)
    sliced_layers = [name for name, module in denoisers.items() if hasattr(module, "set_attention_slice")]
    if not callable(enable) or not sliced_layers:
        not_applicable("no_method", "enable_attention_slicing")
    with _processors_kept(subject.pipeline):
        enable(1)
        sliced = subject.repeat()
    return subject.equal(subject.reference.arrays, sliced.arrays, where=tuple(sliced_layers))


@contextlib.contextmanager
def _processors_kept(pipeline: object) -> Iterator[None]:
    """Put back which processor each layer of attention has, and how large its slices are."""
    layers: list[nn.Module] = [
        layer for module in modules_of(pipeline).values() for layer in module.modules() if hasattr(layer, "processor")
    ]
    before = [(layer, vars(layer).get("processor"), layer._modules.get("processor")) for layer in layers]
    try:
        yield
    finally:
        for layer, plain, module in before:
            layer._modules.pop("processor", None)
            vars(layer).pop("processor", None)
            if module is not None:
                layer._modules["processor"] = module
            elif plain is not None:
                vars(layer)["processor"] = plain


@dataclasses.dataclass(frozen=True, slots=True)
class Decoder:
    """A VAE's decoding as the pipeline makes it.

    Attributes:
        vae: the component.
        latents: that it was handed, of shape (1, channels, ..., height, width).
        decode: of latents, to float64 of shape (samples, channels, ..., height, width).
    """

    vae: Any
    latents: torch.Tensor
    decode: Callable[[torch.Tensor], NDArray[np.float64]]


def _decoder_of(subject: Subject, method: str) -> Decoder:
    """How a pipeline decodes; ends the check where its VAE hasn't this method, or isn't called for one sample."""
    import torch

    vae: Any = getattr(subject.pipeline, "vae", None)
    if not callable(getattr(vae, method, None)):
        not_applicable("no_method", f"vae.{method}")
    function, handed = vae.decode, subject.handed(vae, "decode")
    if not handed or not handed[0][0] or len(handed[0][0][0]) != 1 or handed[0][0][0].ndim < 4:
        not_applicable("no_component", "vae.decode")
    (latents, *args), kwargs = handed[0]

    def decode(given: torch.Tensor) -> NDArray[np.float64]:
        with torch.no_grad():
            output = function(given, *args, **(kwargs | {"return_dict": False}))
        array: NDArray[np.float64] = output[0].double().cpu().numpy()
        return array

    return Decoder(vae, latents, decode)


def vae_tiling(subject: Subject) -> Outcome:
    """Decoded tiles are put together without seams.

    Tiling is lossy by design: a tile is decoded without what lies around it. So what it gives isn't held against the
    whole picture, but against the tiles, each decoded alone: outside of overlaps it is one of them, up to rounding,
    and in an overlap it goes from one to the other without a jump.
    """
    decoder = _decoder_of(subject, "enable_tiling")
    latents = _fitted(_fitted(decoder.latents, -1, _WIDTH), -2, _STRIDE)
    try:
        tiles = [decoder.decode(latents[..., begin : begin + _TILE]) for begin in range(0, _WIDTH, _STRIDE)]
    except Exception as error:
        unable("refused", "vae.decode", message=first_line(error))
    ratio = tiles[0].shape[-1] // _TILE
    if ratio < 2:
        not_applicable("no_method", "overlap of two pixels")
    with _attributes_kept(decoder.vae):
        _switch_on(decoder.vae, ratio)
        whole = decoder.decode(latents)
    if whole.shape[-1] != _WIDTH * ratio:
        return broken(where=("width in pixels",), observed=whole.shape[-1], expected=_WIDTH * ratio)
    limit_rel = max(_LEAST_LIMIT_REL, subject.same_limit_rel)
    outcome = _compared(tiles, whole, ratio, limit_rel)
    if outcome.answer == "broken" and distance({"": decoder.decode(latents)}, {"": whole})[0] <= limit_rel:
        return broken(where=("enable_tiling",), observed="the whole at once", expected="tiles")
    return outcome


def _compared(tiles: list[NDArray[np.float64]], whole: NDArray[np.float64], ratio: int, limit_rel: float) -> Outcome:
    spread = float(whole.std()) or 1.0
    worst_rel, where, differ_rel = 0.0, "", np.inf
    for number, tile in enumerate(tiles):
        begin = number * _STRIDE * ratio
        blended = (_TILE - _STRIDE) * ratio if number else 0
        gaps = [_rms(whole[..., begin + blended : begin + _STRIDE * ratio] - tile[..., blended : _STRIDE * ratio])]
        if number:
            left, right = tiles[number - 1][..., _STRIDE * ratio :], tile[..., :blended]
            weights, gap = _mixed(left, right, whole[..., begin : begin + blended])
            gaps.append(gap)
            differ_rel = min(differ_rel, _rms(right - left) / spread)
            steps = np.abs(np.diff([0.0, *weights, 1.0]))
            if differ_rel > _TIMES_LIMIT * limit_rel and steps.max() > _MOST_STEP:
                column = begin + int(steps.argmax())
                return broken(where=(f"column {column}",), observed=f"{steps.max():.2f}", expected=f"{_MOST_STEP}")
        if max(gaps) / spread > worst_rel:
            worst_rel, where = max(gaps) / spread, f"columns {begin}-{begin + _STRIDE * ratio - 1}"
    gap_rel = OutputDistance(distance_rel=worst_rel, limit_rel=limit_rel, sensitivity_rel=differ_rel)
    if worst_rel > limit_rel:
        return broken(distance=gap_rel, where=(where,))
    if differ_rel <= _TIMES_LIMIT * limit_rel:
        raise Undecided("unable", "insensitive", distance=gap_rel)
    return holds(distance=gap_rel)


def _mixed(
    left: NDArray[np.float64], right: NDArray[np.float64], mixed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The right one's share in each column, by least squares, and what that leaves over (root mean square).

    Values that were cut at 1 aren't what was blended, and don't count.
    """
    inside = (np.abs(left) != 1) & (np.abs(right) != 1) & (np.abs(mixed) != 1)
    way, gone = np.where(inside, right - left, 0.0), np.where(inside, mixed - left, 0.0)
    axes = tuple(range(way.ndim - 1))
    weights = (way * gone).sum(axes) / np.maximum((way * way).sum(axes), 1e-300)
    return weights, _rms(gone - weights * way)


def _rms(gap: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(gap)))) if gap.size else 0.0


def _fitted(latents: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """As much of it as is wanted, and where it is smaller itself and its mirror image by turns."""
    import torch

    while latents.shape[axis] < size:
        latents = torch.cat([latents, 0.7 * latents.flip(axis)], axis)
    return latents.narrow(axis, 0, size)


def _switch_on(vae: Any, ratio: int) -> None:
    """Let a VAE decode in such tiles; ends the check where it can't be told to."""
    names = set(inspect.signature(vae.enable_tiling).parameters)
    sizes = dict.fromkeys(("tile_sample_min_height", "tile_sample_min_width"), _TILE * ratio)
    strides = dict.fromkeys(("tile_sample_stride_height", "tile_sample_stride_width"), _STRIDE * ratio)
    if {*sizes, *strides} <= names:
        vae.enable_tiling(**sizes, **strides)
    elif {"tile_latent_min_size", "tile_sample_min_size", "tile_overlap_factor"} <= vars(vae).keys():
        vae.enable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size = _TILE, _TILE * ratio
        vae.tile_overlap_factor = 1 - _STRIDE / _TILE
    else:
        not_applicable("no_method", "size of a tile")


@contextlib.contextmanager
def _attributes_kept(vae: Any) -> Iterator[None]:
    """Put back all plain attributes of a component's modules: switches, sizes, what a call that raised left there."""
    before = [(vars(module), _plain(module)) for module in vae.modules()]
    try:
        yield
    finally:
        for now, then in before:
            for name in [name for name in now if not name.startswith("_") and name not in then]:
                del now[name]
            now.update(then)


def _plain(module: object) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}
