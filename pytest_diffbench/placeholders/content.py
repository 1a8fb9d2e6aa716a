"""Names for the values that blank tensors would have: equal names, equal values.

A name is made of the operation and the names of its arguments, so that it also tells what a tensor depends on.
Batches are named entry by entry as far as an operation leaves entries apart: two branches that are put into one
batch, and taken out of it again, keep their names.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_ROWS = 64
"""Entries of a batch that are named one by one."""

_COUNT = itertools.count(1)


class Name(NamedTuple):
    """Of a tensor, or of one entry of a batch.

    Attributes:
        key: equal where the values are.
        sources: marks of what it depends on: (call, entry) of each prediction that went into it.
    """

    key: int
    sources: frozenset[tuple[int, int]] = frozenset()


class Content(NamedTuple):
    """What a tensor is called: as a whole, or by the entries along its first axis."""

    whole: Name | None
    rows: tuple[Name, ...] = ()


def fresh() -> Content:
    """Of values like no others."""
    return Content(Name(hash(("fresh", next(_COUNT)))))


def content_of(tensor: torch.Tensor) -> Name:
    """Name of a tensor as a whole."""
    rows, whole = _read(tensor)
    if whole is not None:
        return whole
    return Name(hash(("rows", tuple(row.key for row in rows))), _union(rows))


def rows_of(tensor: torch.Tensor) -> tuple[Name, ...]:
    """Names of the entries of a batch; () for what is no batch, or too large a one."""
    if not tensor.ndim or not 0 < len(tensor) <= _MOST_ROWS:
        return ()
    rows, whole = _read(tensor)
    if len(rows) == len(tensor):
        return rows
    assert whole is not None  # a placeholder has one or the other
    return tuple(Name(hash(("row", whole.key, i)), whole.sources) for i in range(len(tensor)))


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors would be equal; where nothing tells, they aren't."""
    if left.shape != right.shape:
        return False
    left_rows, right_rows = rows_of(left), rows_of(right)
    if left_rows and right_rows:
        return [row.key for row in left_rows] == [row.key for row in right_rows]
    return content_of(left).key == content_of(right).key


def written(before: Name | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Name:
    """Name for all that was written into a placeholder's bytes, once an operation has written into them again."""
    parts = [content_of(tensor) for tensor in tensors_in((*args, *kwargs.values()))]
    key = hash(
        (before.key if before else 0, str(func), _signature((args, kwargs)), tuple(part.key for part in parts))
    )
    return Name(key, _union(parts))


def derived(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outs: Any) -> list[Content]:
    """Names of the results of an operation, in order.

    Args:
        func: the operation, an overload.
        args: its arguments; kwargs too.
        kwargs: by name.
        outs: layouts of its results: one, or several in a list or tuple.
    """
    packet = func._overloadpacket.__name__
    flat = [outs.size] if hasattr(outs, "size") else [out.size for out in outs if hasattr(out, "size")]
    if torch.Tag.nondeterministic_seeded in func.tags:
        return [fresh() for _ in flat]
    structural = _structural(packet, args, kwargs, flat)
    if structural is not None:
        return structural
    tensors = list(tensors_in((*args, *kwargs.values())))
    rowwise = _keeps_rows(func, packet, args)
    if rowwise and len(flat) == 1 and flat[0] and 0 < flat[0][0] <= _MOST_ROWS:
        batch, rank = flat[0][0], len(flat[0])
        plain = _signature((args, kwargs)) if rowwise == "pointwise" else (packet, flat[0][1:], _axes(args))
        entries = []
        for i in range(batch):
            parts = [
                rows_of(tensor)[i]
                if tensor.ndim and len(tensor) == batch and (rowwise == "view" or tensor.ndim == rank)
                else content_of(tensor)
                for tensor in tensors
            ]
            entries.append(Name(hash((packet, plain, tuple(part.key for part in parts))), _union(parts)))
        return [Content(None, tuple(entries))]
    parts = [content_of(tensor) for tensor in tensors]
    key = hash((str(func), _signature((args, kwargs)), tuple(part.key for part in parts)))
    return [Content(Name(hash((key, i)), _union(parts))) for i in range(len(flat))]


_ALIKE = frozenset({"detach", "alias", "clone", "lift_fresh", "contiguous"})
_VIEWS = frozenset(
    {"view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze", "transpose", "permute"}
)
_PARTS = frozenset({"split", "split_with_sizes", "unbind", "select", "slice", "chunk", "narrow"})


def _structural(packet: str, args: Any, kwargs: Any, flat: list[tuple[int, ...]]) -> list[Content] | None:
    """Names where an operation moves whole entries of a batch; None where it does something else."""
    if not args:
        return None
    first: Any = args[0]
    if packet in _ALIKE or (packet == "_to_copy" and kwargs.get("dtype") in (None, first.dtype)):
        rows = rows_of(first)
        return [Content(None, rows) if rows else Content(content_of(first))]
    if packet == "cat" and not (args[1] if len(args) > 1 else kwargs.get("dim", 0)):
        rows = tuple(row for tensor in first for row in rows_of(tensor))
        return [Content(None, rows)] if len(rows) == flat[0][0] else None
    if packet == "repeat" and all(count == 1 for count in args[1][1:]) and len(args[1]) == first.ndim:
        rows = rows_of(first) * args[1][0]
        return [Content(None, rows)] if rows and len(rows) == flat[0][0] else None
    if packet == "expand" and len(args[1]) == first.ndim and flat[0][1:] == tuple(first.shape[1:]):
        rows = rows_of(first)
        if rows:
            return [Content(None, rows * (flat[0][0] // len(rows)))]
    if packet == "unsqueeze" and args[1] == 0:
        return [Content(None, (content_of(first),))]
    if (
        packet in ("squeeze", "view", "_unsafe_view")
        and len(rows_of(first)) == 1
        and tuple(first.shape[1:]) == flat[0]
    ):
        return [Content(rows_of(first)[0])]
    if packet in _PARTS:
        return _parts(packet, args, kwargs, flat)
    return None


def _parts(packet: str, args: Any, kwargs: Any, flat: list[tuple[int, ...]]) -> list[Content] | None:
    first, rows = args[0], rows_of(args[0])
    place = 1 if packet in ("unbind", "select", "slice", "narrow") else 2
    axis = args[place] if len(args) > place else kwargs.get("dim", 0)
    if axis != 0 or not rows:
        return None
    if packet == "unbind":
        return [Content(row) for row in rows]
    if packet == "select":
        return [Content(rows[args[2]])]
    if packet == "slice":
        return [Content(None, rows[slice(*(*args[2:5], None, None, None)[:3])])]
    if packet == "narrow":
        return [Content(None, rows[args[2] : args[2] + args[3]])]
    contents, begin = [], 0
    for shape in flat:
        contents.append(Content(None, rows[begin : begin + shape[0]]))
        begin += shape[0]
    return contents if begin == len(first) else None


def _keeps_rows(func: Any, packet: str, args: Any) -> str | None:
    """Whether each entry of the result depends on the same entry of the arguments alone."""
    if torch.Tag.pointwise in func.tags or packet == "_to_copy":
        return "pointwise"
    if packet not in _VIEWS:
        return None
    if packet == "transpose" and 0 in (args[1] % args[0].ndim, args[2] % args[0].ndim):
        return None
    if packet == "permute" and args[1][0] != 0:
        return None
    return "view"


def _axes(args: Any) -> Any:
    """The axes of a transposition; the shape of a view is in its result already, but for the size of the batch."""
    return (
        _signature(args[1:])
        if len(args) > 1 and not isinstance(args[1], (list, tuple))
        else tuple(args[1][1:] if len(args) > 1 else ())
    )


def _read(tensor: torch.Tensor) -> tuple[tuple[Name, ...], Name | None]:
    content = getattr(tensor, "content", None)
    if content is None:
        return _real(tensor)
    since = tensor.held.written  # type: ignore[attr-defined]  # of a placeholder
    if since is None:
        return content.rows, content.whole
    rows = tuple(_merged(row, since) for row in content.rows)
    return rows, _merged(content.whole, since) if content.whole is not None else None


def _merged(name: Name, since: Name) -> Name:
    return Name(hash((name.key, since.key)), name.sources | since.sources)


def _real(tensor: torch.Tensor) -> tuple[tuple[Name, ...], Name | None]:
    plain = tensor.detach()
    if plain.ndim and 0 < len(plain) <= _MOST_ROWS:
        return tuple(Name(_digest(row)) for row in plain), None
    return (), Name(_digest(plain))


def _digest(tensor: torch.Tensor) -> int:
    flat = tensor.reshape(-1).clone(memory_format=torch.contiguous_format)
    raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return hash((raw, tuple(tensor.shape), str(tensor.dtype)))


def _union(names: Any) -> frozenset[tuple[int, int]]:
    sources: frozenset[tuple[int, int]] = frozenset()
    for name in names:
        sources |= name.sources
    return sources


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors among an operation's arguments or results, those in lists and tuples too."""
    for element in value:
        if isinstance(element, torch.Tensor):
            yield element
        elif isinstance(element, (list, tuple)):
            yield from tensors_in(element)


def _signature(value: Any) -> Any:
    """Arguments that aren't tensors, as something that can be hashed."""
    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, dict):
        return tuple((name, _signature(inner)) for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_signature(inner) for inner in value)
    return repr(value)
