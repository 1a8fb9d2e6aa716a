"""Blank tensors: shape, dtype and strides of a real one, and no data, so that a full-size model fits on a laptop.

Operations on them are asked of torch's meta kernels, which know the shape of a result and compute nothing. Small
tensors without a placeholder among the arguments stay real: masks, token ids, time steps and index arithmetic have
their values, and a pipeline's own Python code runs as it always does.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.placeholders.content import Content, Name, content_of, derived, fresh, same, tensors_in, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

REAL_ELEMENTS = 1 << 20
"""Elements up to which a tensor that is made of nothing but numbers is real."""

Watch: TypeAlias = "Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]"
"""Is told of an operation, its arguments by place and by name, and its result."""

_CPU, _META = torch.device("cpu"), torch.device("meta")


class NotPlannableError(PipelineError):
    """A pipeline does something that can't be done without values."""


class Ledger:
    """Bytes of the placeholders that are alive, and the most there were since `mark`."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self.peak_bytes = 0

    def add(self, count: int) -> None:
        """A placeholder was made (or went, with a negative count)."""
        self.live_bytes += count
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


class Storage:
    """What the views of one placeholder share: bytes that would be in use, a name for all that is written into it."""

    __slots__ = ("ledger", "nbytes", "written")

    def __init__(self, nbytes: int, ledger: Ledger | None) -> None:
        self.nbytes = nbytes
        self.ledger = ledger
        self.written: Name | None = None
        if ledger is not None:
            ledger.add(nbytes)

    def __del__(self) -> None:
        if self.ledger is not None:
            self.ledger.add(-self.nbytes)


class Layout(NamedTuple):
    """All that a meta kernel tells of a result."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Layout:
        """The layout of any tensor."""
        if isinstance(tensor, Placeholder):
            return tensor.strided_layout
        return cls(tuple(tensor.size()), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)

    @classmethod
    def contiguous(cls, size: Sequence[int], dtype: torch.dtype) -> Layout:
        """Of a new tensor."""
        return cls.of(torch.empty(tuple(size), dtype=dtype, device=_META))

    @property
    def nbytes(self) -> int:
        """Bytes from the first element to the last."""
        if 0 in self.size:
            return 0
        last = sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize

    def meta(self) -> torch.Tensor:
        """A tensor of this layout on the meta device."""
        if not self.offset:
            return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=_META)
        whole = torch.empty(self.offset + self.nbytes // self.dtype.itemsize, dtype=self.dtype, device=_META)
        return whole.as_strided(self.size, self.stride, self.offset)


class Placeholder(torch.Tensor):
    """A tensor on the CPU, as far as anyone can tell without looking at its values.

    Attributes:
        strided_layout: shape, strides, offset and dtype.
        held: its bytes, shared with its views.
        content: a name for the values that it would have; see `content.Content`.
    """

    strided_layout: Layout
    held: Storage
    content: Content

    @staticmethod
    def __new__(cls: type[Placeholder], layout: Layout, held: Storage, content: Content) -> Placeholder:
        """Make one up."""
        placeholder: Placeholder = torch.Tensor._make_wrapper_subclass(
            cls, layout.size, strides=layout.stride, storage_offset=layout.offset, dtype=layout.dtype, device=_CPU
        )
        placeholder.strided_layout, placeholder.held, placeholder.content = layout, held, content
        return placeholder

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READERS:
            return _READERS[func](*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch tells its default for what takes its place
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _OUTSIDE.run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]  # nobody formats the contents of a placeholder
        return f"Placeholder({tuple(self.shape)}, {self.dtype})"


def _to_numpy(placeholder: Placeholder, **_: Any) -> NDArray[Any]:
    """Zeros. Of bytes the placeholder's name, over and over: who reads bytes wants to tell tensors apart."""
    import numpy as np

    if placeholder.dtype == torch.uint8:
        name = content_of(placeholder).key.to_bytes(8, "little", signed=True)
        return np.frombuffer(name, dtype=np.uint8).copy()
    kind = torch.empty(0, dtype=placeholder.dtype).numpy().dtype
    return np.zeros(tuple(placeholder.shape), dtype=kind)


def _refuse_list(placeholder: Placeholder) -> Any:
    raise NotPlannableError(_reads_value("Tensor.tolist", placeholder))


_READERS: dict[Any, Callable[..., Any]] = {
    torch.Tensor.numpy: _to_numpy,
    torch.Tensor.__array__: lambda placeholder, *_, **__: _to_numpy(placeholder),
    torch.Tensor.tolist: _refuse_list,
}


class PlaceholderMode(TorchDispatchMode):
    """While it is open, large new tensors are blank, and so is all that is made of a placeholder.

    Args:
        ledger: is told of the bytes of new placeholders.
        watch: is told of each operation that isn't a mere view.
        real_elements: new tensors with more elements are blank.
        draw: False leaves out random numbers that are written into tensors, as initial weights are.

    Attributes:
        identify: whether placeholders get names that tell whether two of them are equal. Costs time.
        read: how many single values of real tensors were read: from then on the way may depend on values.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        watch: Watch | None = None,
        real_elements: int = REAL_ELEMENTS,
        *,
        draw: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own class
        self.identify = True
        self._draw = draw
        self.read = 0
        self._ledger = ledger
        self._watch = watch
        self._real_elements = real_elements
        self._results: dict[Any, Any] = {}
        self._written_over: dict[int, torch.UntypedStorage] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the guard costs more than most operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        if _about(func).composite:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation that torch doesn't put together from others."""
        about = _about(func)
        if self._written_over:
            args, kwargs = _replaced(args, self._faded), {k: _replaced(v, self._faded) for k, v in kwargs.items()}
        tensors = list(tensors_in((*args, *kwargs.values())))
        if not any(isinstance(tensor, Placeholder) for tensor in tensors):
            if not self._draw and about.writes and torch.Tag.nondeterministic_seeded in func.tags:
                return args[0]
            if tensors or not _is_large(args, self._real_elements):
                out = func(*args, **kwargs)
                if func is torch.ops.aten._local_scalar_dense.default:
                    self.read += 1
            else:
                out = self.placeholder(Layout.of(func(*args, **kwargs | {"device": _META})))
        elif about.writes:
            out = self._write(func, about, args, kwargs)
        else:
            out = self._derive(func, about, args, kwargs, tensors)
        if self._watch is not None and not about.view:
            self._watch(func, args, kwargs, out)
        return out

    def placeholder(self, layout: Layout, content: Content | None = None) -> Placeholder:
        """A new placeholder with bytes of its own."""
        return Placeholder(layout, Storage(layout.nbytes, self._ledger), content if content is not None else fresh())

    def _derive(self, func: Any, about: _About, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> Any:
        if func is torch.ops.aten.equal.default:
            return same(args[0], args[1])
        if func is torch.ops.aten._local_scalar_dense.default:
            raise NotPlannableError(_reads_value(str(func), args[0]))
        if func is torch.ops.aten.index.Tensor:
            args = (args[0], _positions(args[1]))
        key = signature(func, args, kwargs)
        result = self._results.get(key)
        if result is None:
            result = self._results[key] = _infer_layouts(func, args, kwargs)
        storage = None
        if about.view:
            base = next((tensor for tensor in tensors if isinstance(tensor, Placeholder)), None)
            storage = base.held if base is not None else None
        names = derived(func, args, kwargs, result) if self.identify else None
        return self._wrapped(result, storage, names, iter(range(sys.maxsize)))

    def _wrapped(
        self, result: Any, storage: Storage | None, names: list[Content] | None, count: Iterator[int]
    ) -> Any:
        if isinstance(result, Layout):
            number = next(count)
            content = names[number] if names is not None else fresh()
            return Placeholder(result, storage, content) if storage is not None else self.placeholder(result, content)
        if isinstance(result, (list, tuple)):
            return type(result)([self._wrapped(element, storage, names, count) for element in result])
        return result

    def _write(self, func: Any, about: _About, args: Any, kwargs: Any) -> Any:
        given = dict(zip(about.names, args, strict=False)) | kwargs
        targets = [given[name] for name in about.writes if given.get(name) is not None]
        for target in targets:
            if not isinstance(target, Placeholder):
                # Its own values stay, but nobody may take them for those that it would have.
                storage = target.untyped_storage()
                self._written_over[storage.data_ptr()] = storage
            elif self.identify:
                target.held.written = written(target.held.written, func, args, kwargs)
        if not about.returns:
            return None
        return targets[0] if about.returns == 1 else tuple(targets[: about.returns])

    def _faded(self, value: Any) -> Any:
        """A real tensor that a placeholder was written into is one from then on."""
        if type(value) is torch.Tensor and value.numel() and value.untyped_storage().data_ptr() in self._written_over:
            return self.placeholder(Layout.of(value))
        return value


_OUTSIDE = PlaceholderMode()
"""Runs what is asked of placeholders where no mode is open: a cast, say, between building and planning."""


class _About(NamedTuple):
    """What an operation's schema says."""

    names: tuple[str, ...]
    writes: tuple[str, ...]
    returns: int
    view: bool
    composite: bool


@cache
def _about(func: Any) -> _About:
    schema = func._schema
    writes = tuple(
        argument.name
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    view = not writes and any(result.alias_info is not None for result in schema.returns)
    # Not what Python alone takes apart (interpolation, for one): where nobody watches, its kernel runs as a whole.
    composite = not _has_formula(func) and torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), "CompositeImplicitAutograd"
    )
    return _About(
        tuple(argument.name for argument in schema.arguments), writes, len(schema.returns), view, bool(composite)
    )


def _has_formula(func: Any) -> bool:
    from torch.utils.flop_counter import flop_registry

    return func._overloadpacket in flop_registry


def _replaced(value: Any, by: Callable[[Any], Any]) -> Any:
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)([_replaced(element, by) for element in value])
    return by(value)


def signature(func: Any, args: Any, kwargs: Any) -> Any:
    """All that the layout of a result, and its cost, depend on."""
    return func, _layouts(args), tuple((name, _layouts(value)) for name, value in kwargs.items()) if kwargs else ()


def _layouts(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return Layout.of(value)
    if isinstance(value, (list, tuple)):
        return tuple([_layouts(element) for element in value])
    # 1, 1.0 and True are equal, and not the same argument
    return (type(value), value)


def _infer_layouts(func: Any, args: Any, kwargs: Any) -> Any:
    """Layouts of the results, from the operation's meta kernel."""
    try:
        elems = func(
            *_replaced(args, _on_meta), **{name: _replaced(value, _on_meta) for name, value in kwargs.items()}
        )
    except Exception as error:  # meta kernels raise all kinds
        raise NotPlannableError(
            f"{func} can't be planned{_where()}: {_first_line(error)} Its result depends on values, which a plan "
            "doesn't have. Switch this part of the pipeline off, or measure the pipeline with its weights."
        ) from error
    return _replaced(elems, lambda value: Layout.of(value) if isinstance(value, torch.Tensor) else value)


def _on_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return Layout.of(value).meta()
    return _META if isinstance(value, torch.device) else value


def _positions(indices: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Masks as positions: how many there are is known only from a real mask."""
    positions: list[torch.Tensor | None] = []
    for index in indices:
        if index is None or isinstance(index, Placeholder) or index.dtype not in (torch.bool, torch.uint8):
            positions.append(index)
        else:
            positions += list(index.nonzero(as_tuple=True))
    return positions


def _is_large(args: tuple[Any, ...], most: int) -> bool:
    """Whether a factory makes more elements than are to be real."""
    size = args[0] if args else None
    if not isinstance(size, (list, tuple)) or not all(isinstance(length, int) for length in size):
        return False
    count = 1
    for length in size:
        count *= length
    return count > most


def _reads_value(what: str, placeholder: torch.Tensor) -> str:
    return (
        f"{what}{_where()} needs the values of a {tuple(placeholder.shape)} tensor, which a plan doesn't have. "
        "What happens next depends on them, so it can't be planned. Measure the pipeline with its weights, or "
        "switch this part off."
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def _where() -> str:
    """The innermost module that is being called, and the innermost line outside of torch."""
    frame = sys._getframe(1)
    module = line = None
    while frame is not None:
        owner, code = frame.f_locals.get("self"), frame.f_code
        if line is None and "/torch/" not in code.co_filename and code.co_filename != __file__:
            line = f"{'/'.join(code.co_filename.replace(chr(92), '/').split('/')[-2:])}:{frame.f_lineno}"
        if isinstance(owner, torch.nn.Module) and code.co_name == "forward":
            module = type(owner).__name__
            break
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return (f" in {module}" if module else "") + (f" at {line}" if line else "")
