"""Telling the conditional call of a denoiser from the unconditional one, for any pipeline."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Set

    import torch

    from pytest_diffbench.records import Branch, JointOrder

_SAMPLE_NAMES = ("sample", "hidden_states", "x", "input_ids")
"""What denoisers of diffusers call the noisy sample: of several the first that a call has, since tokens are a prompt
beside latents, and a masked picture without. A list of samples stands as `x.0`, `x.1` and so on."""

_EMPTY_TOKENS = 3
"""Distinct tokens of an empty text, at most: what begins, ends and fills it up."""


@dataclasses.dataclass(slots=True)
class _Encoder:
    """What one encoder has made: how many texts it read, the first one's tokens, and the places of embeddings."""

    read: int = 0
    tokens: frozenset[int] = frozenset()
    places: dict[str, int] = dataclasses.field(default_factory=dict)


class BranchFinder:
    """Recognises branches by the text embeddings that a denoiser call is handed.

    Pipelines encode the prompt before the negative prompt, and return them in that order: a call with the first
    embedding that an encoder made is conditional, one with a later embedding unconditional. The exception is an
    encoder that reads an empty text before another: that is what stands for no prompt. A batch that holds the same
    sample twice predicts both branches at once, where its embeddings allow that. Embeddings that were changed on
    their way (projected, concatenated) are told apart by their content: beside a call that was recognised as
    conditional in the same step they are unconditional, else the first that a denoiser is handed is conditional.

    Where prompt and negative prompt give the same embedding, the order of the calls within a step is all there is to
    go by: the conditional call comes first, as it does in diffusers.

    What is neither is `unknown`: a batch with the same sample more than twice (InstructPix2Pix), one with the prompt
    in both halves, and a further call beside a joint one (both are perturbed attention).
    """

    def __init__(self) -> None:
        self._encoded: dict[str, int] = {}
        self._encoders: dict[Hashable, _Encoder] = {}
        self._first_embeddings: set[str] = set()
        self._texts_read: dict[Hashable, int] = {}
        self._appeared: dict[str, dict[str, Branch]] = {}
        self._alike = False
        self._called: set[str] = set()
        self._joint: set[str] = set()
        self._cond_called = False

    def read(self, tensors: Iterable[torch.Tensor], by: Hashable = None) -> None:
        """The encoder `by` has read one more text, and made these of it.

        Beside `encoded`, for embeddings that stand alone in a call: a pooled one, in whatever shape, comes late among
        those that a pipeline returns, and yet belongs to the prompt.
        """
        number = self._texts_read.get(by, 0)
        self._texts_read[by] = number + 1
        if number == 0:
            self._first_embeddings |= {fingerprint_of(tensor.flatten()) for tensor in tensors if is_embedding(tensor)}

    def encoded(self, tensors: Iterable[torch.Tensor], by: Hashable = None, tokens: Set[int] = frozenset()) -> None:
        """These were encoded, in this order.

        Args:
            tensors: the embeddings, and whatever came with them.
            by: who encoded them. Each encoder begins with the prompt: a stage of its own has encoders of its own.
            tokens: distinct ones of the text that was read, where it was a single one; empty where that isn't known.
        """
        encoder = self._encoders.setdefault(by, _Encoder())
        late = encoder.read == 1 and len(encoder.tokens) <= _EMPTY_TOKENS and encoder.tokens < tokens
        encoder.read += 1
        if encoder.read == 1:
            encoder.tokens = frozenset(tokens)
        elif late and encoder.tokens:
            self._encoded.update(dict.fromkeys(encoder.places, 1))
            encoder.places = {}
        for tensor in tensors:
            if is_embedding(tensor):
                fingerprint = fingerprint_of(tensor)
                # Only the first counts: position ids and the like are alike for every prompt, and come later.
                self._alike |= encoder.places.get(fingerprint) == 0
                encoder.places.setdefault(fingerprint, len(encoder.places))
                self._encoded.setdefault(fingerprint, encoder.places[fingerprint])

    def next_step(self) -> None:
        """The calls of another scheduler step begin."""
        self._called.clear()
        self._joint.clear()
        self._cond_called = False

    def branch_of(self, arguments: dict[str, torch.Tensor], component: str = "") -> Branch:
        """Branch of a call of the denoiser `component` with these tensor arguments, as far as embeddings tell."""
        branch = self._branch_by_content(arguments, component)
        if branch == "cond" and self._alike:
            branch = "uncond" if component in self._called else "cond"
            self._called.add(component)
            return branch
        if branch == "joint":
            self._joint.add(component)
        elif component in self._joint:
            return "unknown"
        return branch

    def order_of(self, arguments: dict[str, torch.Tensor]) -> JointOrder | None:
        """Order of the branches in a joint call; None where the embeddings in its halves don't tell."""
        for halves in self._places_of_halves(arguments):
            first, second = (0 in places for places in halves)
            if first != second and not self._alike:
                return "cond_uncond" if first else "uncond_cond"
        return None

    def _branch_by_content(self, arguments: dict[str, torch.Tensor], component: str) -> Branch:
        copies = _copies(arguments)
        embeddings = [tensor for tensor in arguments.values() if is_embedding(tensor)]
        places = [
            self._encoded[fingerprint]
            for fingerprint in map(fingerprint_of, embeddings)
            if fingerprint in self._encoded
        ]
        whole = copies == 1 or not _lists(arguments)
        if places and whole:
            of_prompt = 0 in places or any(
                fingerprint_of(embedding.flatten()) in self._first_embeddings for embedding in embeddings
            )
            self._cond_called |= of_prompt
            return "cond" if of_prompt else "uncond"
        if copies > 2:
            return "unknown"
        if copies == 2 and (branch := self._branch_of_halves(arguments)) is not None:
            return branch
        # Samples change with every step; what stays the same over steps is the conditioning.
        sample = sample_name(arguments)
        conditioning = ",".join(
            fingerprint_of(tensor)
            for name, tensor in arguments.items()
            if name.partition(".")[0] != sample and not _is_further_sample(name) and tensor.ndim >= 2
        )
        appeared = self._appeared.setdefault(component, {})
        if conditioning not in appeared:
            first: tuple[Branch, ...] = ("uncond",) if self._cond_called else ("cond", "uncond")
            count = len(appeared)
            appeared[conditioning] = first[count] if count < len(first) else "unknown"
        return appeared[conditioning]

    def _branch_of_halves(self, arguments: dict[str, torch.Tensor]) -> Branch | None:
        """Branch of a batch that holds each sample twice; None where nothing in its halves differs."""
        if self._alike:
            return "joint"
        if self.order_of(arguments) is not None:
            return "joint"
        if any(0 in first and 0 in second for first, second in self._places_of_halves(arguments)):
            return "unknown"
        sample = sample_name(arguments)
        differ = any(
            len(tensor) % 2 == 0 and not tensor[: len(tensor) // 2].equal(tensor[len(tensor) // 2 :])
            for name, tensor in arguments.items()
            if name.partition(".")[0] != sample and tensor.ndim >= 1 and len(tensor) > 1
        )
        return "joint" if differ else None

    def _places_of_halves(self, arguments: dict[str, torch.Tensor]) -> Iterable[tuple[set[int | None], ...]]:
        """Of each embedding of a call, the places in the order of encoding of what its halves hold."""
        for tensor in arguments.values():
            if is_embedding(tensor) and len(tensor) % 2 == 0:
                yield tuple({self._encoded.get(fingerprint_of(half))} for half in tensor.chunk(2))
        for name, parts in _lists(arguments).items():
            if name != sample_name(arguments) and len(parts) % 2 == 0:
                places = [self._encoded.get(fingerprint_of(part)) for part in parts]
                yield set(places[: len(parts) // 2]), set(places[len(parts) // 2 :])


def is_embedding(tensor: torch.Tensor) -> bool:
    """Whether a tensor can be an embedding: floating point, at least a batch of vectors."""
    return tensor.is_floating_point() and tensor.ndim >= 2


def _lists(arguments: Mapping[str, torch.Tensor]) -> dict[str, list[torch.Tensor]]:
    """The arguments that are lists of tensors, which stand one by one as `name.0`, `name.1`."""
    lists: dict[str, list[torch.Tensor]] = {}
    for name, tensor in arguments.items():
        base, dot, index = name.rpartition(".")
        if dot and index.isdigit():
            lists.setdefault(base, []).append(tensor)
    return lists


def _copies(arguments: dict[str, torch.Tensor]) -> int:
    """How often the batch of a call holds the same samples, one copy after the other.

    What is compared is the first entry of each sample alone, a channel or a token: behind it there may be a mask or
    an image that differs between copies.
    """
    lists = _lists(arguments)
    name = sample_name(arguments)
    batch = arguments.get(name, lists.get(name))
    if batch is None:
        return 1
    prints = [fingerprint_of(sample[:1]) for sample in batch]
    size = len(prints)
    return next((n for n in range(size, 1, -1) if size % n == 0 and prints == prints[: size // n] * n), 1)


def sample_name(arguments: Mapping[str, torch.Tensor]) -> str:
    """Name of the argument that is the noisy sample; empty where none has such a name."""
    lists = _lists(arguments)
    for name in _SAMPLE_NAMES:
        if name in lists or (name in arguments and arguments[name].ndim >= 2):
            return name
    return ""


def _is_further_sample(name: str) -> bool:
    """Whether an argument is named as the noisy sample of another kind, beside the first: `audio_hidden_states`."""
    kind, _, rest = name.partition(".")[0].partition("_")
    return bool(kind) and rest in _SAMPLE_NAMES and kind != "encoder"


def fingerprint_of(tensor: torch.Tensor) -> str:
    """Digest of the values and the shape of a tensor. Copies it to the host."""
    import torch

    # Flat and a copy: a lone element may have any stride, and none can be read as bytes without an axis.
    data = tensor.detach().to("cpu").reshape(-1).clone(memory_format=torch.contiguous_format)
    data = torch.view_as_real(data).reshape(-1) if data.is_complex() else data
    raw = data.view(torch.uint8).numpy().tobytes() if data.numel() else b""
    return hashlib.blake2b(raw, digest_size=16).hexdigest() + str(tuple(tensor.shape))
