"""An asynchronous accelerator in virtual time, on the CPU: `torch.cuda` as far as measuring asks it for anything.

Arithmetic is the CPU's. Each operator takes some microseconds of the host, which launches it, and some of a device,
which works it off later; an event is told only once the host has waited for it, as on a real device. Tensors that
operators make take memory of the device, in a caching allocator that keeps what it has reserved, and so does what
cuBLAS works on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import weakref
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 1 << 30
_EVENT_NS = 1000

_WORKSPACE_BYTES = 32 << 20
"""What cuBLAS takes for its first product on a Hopper device, and keeps."""

_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm"})


@dataclasses.dataclass
class Card:
    """One device: until when it is busy, and what its memory holds."""

    busy_until_ns: int = 0
    allocated_bytes: int = 0
    reserved_bytes: int = 0
    peak_bytes: int = 0
    peak_reserved_bytes: int = 0
    graph_pool_bytes: int = 0
    workspace_bytes: int = 0

    def take(self, size_bytes: int) -> None:
        """Allocate, from the cache where it has enough."""
        self.allocated_bytes += size_bytes
        self.reserved_bytes = max(self.reserved_bytes, self.allocated_bytes)
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)


class FakeCuda:
    """The devices, the host's clock, and all that was asked of them.

    Attributes:
        kernel_us: time of an operator on a device, by the operator; 20 us by default.
        syncs: why the host waited, in order.
        fails_at: number of the launch at which the device runs out of memory, counted from `armed`; None for never.
    """

    def __init__(self, cards: int = 1) -> None:
        self.cards = [Card() for _ in range(cards)]
        self.host_ns = 0
        self.current = 0
        self.kernel_us: Callable[[Any], float] = lambda _: 20.0
        self.syncs: list[str] = []
        self.launches = 0
        self.fails_at: int | None = None
        self.error: Callable[[], BaseException] = lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to")

    def now_ns(self) -> int:
        """The host's time. Looking at it takes none."""
        return self.host_ns

    def launch(self, operator: Any) -> None:
        """The host hands an operator to the current device."""
        self.launches += 1
        if self.fails_at is not None and self.launches >= self.fails_at:
            self.fails_at = None
            raise self.error()
        self.host_ns += 5000
        card = self.cards[self.current]
        if not card.workspace_bytes and operator.overloadpacket.__name__ in _PRODUCTS:
            card.workspace_bytes = _WORKSPACE_BYTES
            card.take(card.workspace_bytes)
        card.busy_until_ns = max(card.busy_until_ns, self.host_ns) + round(self.kernel_us(operator) * 1e3)

    def wait(self, why: str, index: int | None = None) -> None:
        """The host waits for a device; None for the current one."""
        self.syncs.append(why)
        card = self.cards[self.current if index is None else index]
        self.host_ns = max(self.host_ns, card.busy_until_ns)

    def keep(self, result: Any) -> None:
        """Tensors that an operator made take memory for as long as they live."""
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            card, size_bytes = self.cards[self.current], storage.nbytes()
            card.take(size_bytes)
            weakref.finalize(storage, self._gone, card, size_bytes)
        elif isinstance(result, (list, tuple)):
            for element in result:
                self.keep(element)

    @staticmethod
    def _gone(card: Card, size_bytes: int) -> None:
        card.allocated_bytes -= size_bytes

    def card(self, place: Any = None) -> Card:
        """The device that torch names."""
        index = place if isinstance(place, int) else getattr(place, "index", None)
        return self.cards[self.current if index is None else index]

    @contextlib.contextmanager
    def on(self, module: torch.nn.Module, index: int) -> Iterator[None]:
        """Let a component work on another device."""
        before: list[int] = []

        def enter(*_: Any) -> None:
            before.append(self.current)
            self.current = index

        def leave(*_: Any) -> None:
            self.current = before.pop()

        handles = [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        yield
        for handle in handles:
            handle.remove()

    @contextlib.contextmanager
    def installed(self) -> Iterator[FakeCuda]:
        """Put this in place of `torch.cuda`, and its clock in place of the host's."""
        from pytest_diffbench.measure import clock

        properties = types.SimpleNamespace(
            name="NVIDIA H100 80GB HBM3",
            total_memory=80 * GIB,
            major=9,
            minor=0,
            multi_processor_count=132,
            uuid="1234",
        )
        functions: dict[str, Any] = {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: len(self.cards),
            "current_device": lambda: self.current,
            "get_device_properties": lambda _=None: properties,
            "mem_get_info": lambda place=None: (80 * GIB - self.card(place).reserved_bytes, 80 * GIB),
            "memory_allocated": lambda place=None: self.card(place).allocated_bytes,
            "memory_reserved": lambda place=None: self.card(place).reserved_bytes,
            "max_memory_allocated": lambda place=None: self.card(place).peak_bytes,
            "max_memory_reserved": lambda place=None: self.card(place).peak_reserved_bytes,
            "reset_peak_memory_stats": self._reset_peaks,
            "empty_cache": self._empty_caches,
            "memory_snapshot": self._snapshot,
            "synchronize": lambda place=None: self.wait("synchronize", getattr(place, "index", None)),
            "current_stream": lambda place=None: types.SimpleNamespace(card=self.card(place)),
            "Event": lambda **_: _Event(self),
            "get_rng_state_all": list,
            "set_rng_state_all": lambda _: None,
            "manual_seed_all": lambda _: None,
        }
        with contextlib.ExitStack() as undo:
            for name, function in functions.items():
                undo.enter_context(mock.patch.object(torch.cuda, name, function))
            undo.enter_context(
                mock.patch.object(torch._C, "_cuda_clearCublasWorkspaces", self._clear_workspaces, create=True)
            )
            undo.enter_context(mock.patch.object(clock, "now_ns", self.now_ns))
            undo.enter_context(_Devices(self))
            undo.enter_context(_Launches(self))
            yield self

    def _reset_peaks(self, place: Any = None) -> None:
        card = self.card(place)
        card.peak_bytes, card.peak_reserved_bytes = card.allocated_bytes, card.reserved_bytes

    def _clear_workspaces(self) -> None:
        for card in self.cards:
            card.allocated_bytes -= card.workspace_bytes
            card.workspace_bytes = 0

    def _empty_caches(self) -> None:
        for card in self.cards:
            card.reserved_bytes = card.allocated_bytes

    def _snapshot(self) -> list[dict[str, Any]]:
        return [
            {"device": index, "segment_pool_id": (0, 1), "total_size": card.graph_pool_bytes, "allocated_size": 0}
            for index, card in enumerate(self.cards)
            if card.graph_pool_bytes
        ]


class _Event:
    """Strict where CUDA is: it can't be told before the host has waited for it."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.at_ns: int | None = None

    def record(self, stream: Any) -> None:
        self._cuda.host_ns += _EVENT_NS
        self.at_ns = max(stream.card.busy_until_ns, self._cuda.host_ns)

    def elapsed_time(self, later: _Event) -> float:
        assert self.at_ns is not None, "the first event was never recorded"
        assert later.at_ns is not None, "the second event was never recorded"
        assert max(self.at_ns, later.at_ns) <= self._cuda.host_ns, "asked before the device got there"
        return (later.at_ns - self.at_ns) / 1e6


class _Launches(TorchDispatchMode):
    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own class
        self._cuda = cuda

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.is_view:
            return func(*args, **(kwargs or {}))
        self._cuda.launch(func)
        result = func(*args, **(kwargs or {}))
        if not func._schema.is_mutable:
            self._cuda.keep(result)
        return result


_TO_HOST = frozenset({"item", "tolist", "numpy", "cpu"})


class _Devices(TorchFunctionMode):
    """Sends what is meant for the device to the CPU, and lets the host wait where it takes something back."""

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__()
        self._cuda = cuda

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        places = [value for value in (*args[1:], *(kwargs or {}).values()) if isinstance(value, str | torch.device)]
        if name in _TO_HOST or (name == "to" and any(str(place) == "cpu" for place in places)):
            self._cuda.wait(name)
        return func(*map(_on_host, args), **{key: _on_host(value) for key, value in (kwargs or {}).items()})


def _on_host(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("cuda"):
        return "cpu"
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == "cuda" else value
