"""How much memory the tensors take that a call makes, stage by stage: exact, whatever allocator serves them."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_diffbench.records import Stage


class Workspace:
    """Adds up the storages of tensors that operators return, until the last tensor that uses them is gone.

    What kernels allocate and free within an operator isn't seen. A tensor that takes part in a cycle of references
    counts until it is collected.
    """

    def __init__(self) -> None:
        from torch import Tensor

        self._kind = Tensor
        self.live_bytes = 0
        self._stage: Stage = "unattributed"
        self._at_entry_bytes = 0
        self._most_bytes: dict[Stage, int] = {"unattributed": 0}
        self._alive: dict[int, weakref.ref[Any]] = {}

    def enter(self, stage: Stage) -> None:
        """The call is in `stage` from here on."""
        if stage != self._stage:
            self._stage = stage
            self._at_entry_bytes = self.live_bytes
            self._most_bytes.setdefault(stage, 0)

    def add_result(self, result: Any) -> None:
        """An operator returned new tensors."""
        if isinstance(result, self._kind):
            self._add(result)
        elif isinstance(result, (list, tuple)):
            for element in result:
                self.add_result(element)

    def peaks(self) -> dict[Stage, int]:
        """By stage, the most bytes beyond those that were alive when it was entered."""
        return dict(self._most_bytes)

    def close(self) -> None:
        """Let go of what is still alive."""
        self._alive.clear()

    def _add(self, tensor: Any) -> None:
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # sparse tensors and some subclasses have none
            return
        key = id(storage)
        if key in self._alive:
            return
        size_bytes = storage.nbytes()
        self._alive[key] = weakref.ref(storage, functools.partial(self._gone, key, size_bytes))
        self.live_bytes += size_bytes
        grown = self.live_bytes - self._at_entry_bytes
        self._most_bytes[self._stage] = max(self._most_bytes[self._stage], grown)

    def _gone(self, key: int, size_bytes: int, _reference: object) -> None:
        self._alive.pop(key, None)
        self.live_bytes -= size_bytes
