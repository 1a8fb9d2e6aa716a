"""Collects the trace of one call: a sketch and moments of what passes each place, under names that can't collide."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure.trace import WHOLE_TENSOR_LIMIT_BYTES, digest, to_numpy
from pytest_diffbench.records.artifacts import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pytest_diffbench.records import Branch

_MOST_CALLS = 16
"""Recorded calls of one text encoder: an encoder that writes text is called once for every token."""


class TraceRecorder:
    """Sketches tensors as they come by; keeps none of them but small final latents.

    The names of the places are those of `artifacts.Artifacts`.
    """

    def __init__(self) -> None:
        self._sketches: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._predictions: list[tuple[str, str, tuple[NDArray[np.float32], NDArray[np.float32]]]] = []
        self._final: NDArray[np.float32] | None = None
        self._last_step: str | None = None
        self._encoder_calls: dict[str, int] = {}
        self._texts = 0

    def encoder(self, component: str, tensors: Sequence[torch.Tensor]) -> None:
        """A text encoder returned these."""
        call = self._encoder_calls.get(component, 0)
        self._encoder_calls[component] = call + 1
        if call >= _MOST_CALLS:
            return
        for number, tensor in enumerate(tensors):
            self._add(f"text/{component}/{call}" + (f"/{number}" if number else ""), tensor)

    def text(self, embedding: torch.Tensor) -> int:
        """The pipeline goes on with this embedding; returns its number."""
        number = self._texts
        self._add(f"text/{number}", embedding)
        self._texts += 1
        return number

    def prediction(
        self, step: int, component: str, branch: Branch, tensor: torch.Tensor, *, cond_first: bool = False
    ) -> None:
        """A denoiser predicted this; of a joint prediction the halves are recorded.

        Args:
            step: from 0.
            component: the denoiser.
            branch: as far as it is known.
            tensor: the prediction; read here, and not kept.
            cond_first: the first half of a joint prediction is the conditional one. In diffusers it seldom is.
        """
        if branch == "joint" and len(tensor) % 2 == 0:
            halves = ("joint-cond", "joint-uncond") if cond_first else ("joint-uncond", "joint-cond")
            for half, part in zip(halves, tensor.chunk(2), strict=True):
                self._predictions.append((f"prediction/{step}/{half}", component, digest(part)))
        else:
            self._predictions.append((f"prediction/{step}/{branch}", component, digest(tensor)))

    def latents(self, step: int, tensor: torch.Tensor) -> None:
        """The scheduler's step returned these."""
        name = f"latents/{step}"
        self._add(name, tensor)
        self._last_step = name
        self._final = to_numpy(tensor) if tensor.numel() * 4 <= WHOLE_TENSOR_LIMIT_BYTES else None

    def decoder(self, place: str, tensor: torch.Tensor) -> None:
        """This passed the decoder; `place` is `decoder_input` or `decoded`."""
        self._add(place, tensor)

    def arrays(
        self, further: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = types.MappingProxyType({})
    ) -> dict[str, NDArray[np.float32]]:
        """The trace so far, and further sketches with their moments, by place."""
        import numpy as np

        sketches = self._sketches | dict(further)
        several = len({component for _, component, _ in self._predictions}) > 1
        for name, component, sketch in self._predictions:
            sketches[_free(f"{name}/{component}" if several else name, sketches)] = sketch
        arrays = {name: sketched for name, (sketched, _) in sketches.items()}
        rows = {name: moments for name, (_, moments) in sketches.items()}
        if self._final is not None and self._last_step is not None:
            arrays["latents/final"] = self._final
            rows["latents/final"] = rows[self._last_step]
        if rows:
            arrays[MOMENTS] = np.stack([rows[name] for name in sorted(rows)])
        return arrays

    def _add(self, name: str, tensor: torch.Tensor) -> None:
        self._sketches[_free(name, self._sketches)] = digest(tensor)


def _free(name: str, taken: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> str:
    """The name, or its first repetition that isn't taken."""
    repetition = 0
    while (numbered := f"{name}#{repetition}" if repetition else name) in taken:
        repetition += 1
    return numbered


class NoTrace:
    """Takes what a trace takes, and keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: 0
