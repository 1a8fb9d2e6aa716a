"""Options that save memory by working through smaller pieces, and change nothing else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_diffbench.invariants.invariant import Outcome, broken, not_applicable, unable
from pytest_diffbench.invariants.observed import distance
from pytest_diffbench.invariants.subject import first_line
from pytest_diffbench.invariants.tiles import attributes_kept, decoder_of
from pytest_diffbench.measure.components import denoisers_of, modules_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pytest_diffbench.invariants.subject import Subject


def vae_slicing(subject: Subject) -> Outcome:
    """A VAE that decodes one picture of a batch after the other gives the same."""
    import torch

    decoder = decoder_of(subject, "enable_slicing")
    both = torch.cat([decoder.latents, decoder.latents.flip(-1)])
    try:
        whole = decoder.decode(both)
    except Exception as error:
        unable("refused", "vae.decode", message=first_line(error))
    try:
        with attributes_kept(decoder.vae):
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
