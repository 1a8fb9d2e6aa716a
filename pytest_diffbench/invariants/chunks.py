"""Options that save memory by working through smaller pieces, and change nothing else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pytest_diffbench.invariants.invariant import Outcome, not_applicable
from pytest_diffbench.measure.components import denoisers_of, modules_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pytest_diffbench.invariants.subject import Subject


def vae_slicing(subject: Subject) -> Outcome:
    """A VAE that decodes one picture after the other gives the same."""
    vae: Any = getattr(subject.pipeline, "vae", None)
    if not callable(getattr(vae, "enable_slicing", None)):
        not_applicable("no_method", "vae.enable_slicing")
    seeds = subject.seed, subject.seed + 1
    size = {"num_images_per_prompt": 2} if "num_images_per_prompt" in subject.parameters else {}
    if not size or "generator" not in subject.parameters:
        not_applicable("no_argument", "num_images_per_prompt")
    whole = subject.attempt(*seeds, **size)
    before = getattr(vae, "use_slicing", False)
    try:
        vae.enable_slicing()
        sliced = subject.repeat(*seeds, **size)
    finally:
        vae.use_slicing = before
    return subject.equal(whole.arrays, sliced.arrays)


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
