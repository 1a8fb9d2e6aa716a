"""Telling the conditional call of a denoiser from the unconditional one, for any pipeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from pytest_diffbench.records import Branch


class BranchFinder:
    """Recognises branches by the text embeddings that a denoiser call is handed.

    Pipelines encode the prompt before the negative prompt, and return them in that order: a call with the first
    embedding that was encoded is conditional, one with a later embedding unconditional. Embeddings that were changed
    on their way (projected, concatenated) are told apart by their content: the first that appears is conditional.

    Where prompt and negative prompt give the same embedding, the order of the calls within a step is all there is to
    go by: the conditional call comes first, as it does in diffusers.
    """

    def __init__(self) -> None:
        self._encoded: dict[str, int] = {}
        self._appeared: dict[str, Branch] = {}
        self._alike = False
        self._called: set[str] = set()

    def encoded(self, tensors: Iterable[torch.Tensor]) -> None:
        """The pipeline has encoded these, in this order."""
        for tensor in tensors:
            if is_embedding(tensor):
                fingerprint = _fingerprint(tensor)
                # Only the first counts: position ids and the like are alike for every prompt, and come later.
                self._alike |= self._encoded.get(fingerprint) == 0
                self._encoded.setdefault(fingerprint, len(self._encoded))

    def next_step(self) -> None:
        """The calls of another scheduler step begin."""
        self._called.clear()

    def branch_of(self, arguments: dict[str, torch.Tensor], component: str = "") -> Branch:
        """Branch of a call of the denoiser `component` with these tensor arguments, as far as embeddings tell."""
        branch = self._branch_by_content(arguments)
        if branch == "cond" and self._alike:
            branch = "uncond" if component in self._called else "cond"
            self._called.add(component)
        return branch

    def _branch_by_content(self, arguments: dict[str, torch.Tensor]) -> Branch:
        prints = [_fingerprint(tensor) for tensor in arguments.values() if is_embedding(tensor)]
        places = [self._encoded[one] for one in prints if one in self._encoded]
        if places:
            return "cond" if min(places) == 0 else "uncond"
        # The sample changes with every step; what stays the same over steps is the conditioning.
        conditioning = ",".join(
            _fingerprint(tensor)
            for name, tensor in arguments.items()
            if name not in ("sample", "hidden_states") and tensor.ndim >= 2
        )
        if conditioning not in self._appeared:
            first: tuple[Branch, ...] = ("cond", "uncond")
            seen = len(self._appeared)
            self._appeared[conditioning] = first[seen] if seen < len(first) else "unknown"
        return self._appeared[conditioning]


def is_embedding(tensor: torch.Tensor) -> bool:
    """Whether a tensor can be an embedding: floating point, at least a batch of vectors."""
    return tensor.is_floating_point() and tensor.ndim >= 2


def _fingerprint(tensor: torch.Tensor) -> str:
    import torch

    data = tensor.detach().to("cpu").contiguous().view(torch.uint8) if tensor.numel() else tensor.to("cpu")
    return hashlib.blake2b(data.numpy().tobytes(), digest_size=16).hexdigest() + str(tuple(tensor.shape))
