"""A trace as entries in the order of the call, what the names of its places mean, and how far two are apart."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.records.artifacts import MOMENT_NAMES, MOMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Trace: TypeAlias = dict[str, NDArray[np.float32]]


Kind: TypeAlias = Literal["encoder", "text", "prediction", "latents", "final", "decoder_input", "decoded", "returned"]

_NUMBER = r"(?:0|[1-9]\d*)"
_REPEATED = rf"(?:#(?P<repetition>{_NUMBER}))?"
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("text", re.compile(rf"text/(?P<call>{_NUMBER})")),
    ("encoder", re.compile(rf"text/(?P<component>[^/#]+)/(?P<call>{_NUMBER})(?:/(?P<part>{_NUMBER}))?")),
    (
        "prediction",
        re.compile(rf"prediction/(?P<step>{_NUMBER})/(?P<branch>[a-z-]+)(?:/(?P<component>[^/#]+))?{_REPEATED}"),
    ),
    ("latents", re.compile(rf"latents/(?P<step>{_NUMBER})")),
    ("final", re.compile(r"latents/final")),
    ("decoder_input", re.compile(rf"decoder_input{_REPEATED}")),
    ("decoded", re.compile(rf"decoded{_REPEATED}")),
    ("returned", re.compile(rf"returned/(?P<part>{_NUMBER})")),
)

_BRANCHES = ("cond", "uncond", "joint-uncond", "joint-cond", "joint")
"""In the order in which they are made, as far as that is known of all pipelines; others come last."""

_RANK = {name: rank for rank, name in enumerate(_BRANCHES)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place of a call whose tensor a trace holds.

    Attributes:
        name: in the trace.
        kind: `encoder` is what a text encoder returned, `text` what the pipeline made of it.
        step: of predictions and latents, from 0.
        branch: of predictions: `cond`, `uncond`, `joint-uncond`, `joint-cond`, `joint` or `unknown`.
        component: a text encoder, or one of several denoisers.
        call: number of the encoder's call or of the text embedding, from 0.
        part: number of the tensor in what an encoder, or the call itself, returned, from 0.
        repetition: how many calls with the same name came before.
    """

    name: str
    kind: Kind
    step: int = 0
    branch: str = ""
    component: str = ""
    call: int = 0
    part: int = 0
    repetition: int = 0

    @property
    def order(self) -> tuple[int | str, ...]:
        """Sorts places in the order of the call."""
        if self.kind in ("encoder", "text"):
            return (0 if self.kind == "encoder" else 1, self.call, self.part, self.component)
        if self.kind in ("prediction", "latents"):
            late = int(self.kind == "latents")
            return (2, self.step, late, self.repetition, _RANK.get(self.branch, len(_RANK)), self.component)
        if self.kind == "final":
            return (3,)
        if self.kind == "returned":
            return (5, self.part)
        return (4, self.repetition, int(self.kind == "decoded"))

    def is_step_before(self, other: Place) -> bool:
        """Whether it is of a step before that of another place, or of the same step and made before its latents."""
        if self.kind not in ("prediction", "latents"):
            return False
        return self.step < other.step or (
            self.step == other.step and self.kind == "prediction" and other.kind == "latents"
        )


def place_of(name: str) -> Place | None:
    """Read the name of an array of a trace; None where it isn't the name of a place."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(name)
        if match is not None:
            parts = {key: value for key, value in match.groupdict().items() if value is not None}
            words = {key: value for key, value in parts.items() if key in ("branch", "component")}
            numbers = {key: int(value) for key, value in parts.items() if key not in words}
            return Place(name=name, kind=kind, **words, **numbers)  # type: ignore[arg-type]  # keys are the fields' names
    return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """What passed one place of a call.

    Moments are of the tensor's finite values, and None in traces that were stored before there were any.

    Attributes:
        place: where.
        array: its sketch; the final latents whole.
        norm: L2 norm; without moments the sketch's, an estimate within about 4 %.
        mean: of all values.
        std: standard deviation, of the values themselves (not of a sample).
        min: the least value.
        max: the greatest value.
        not_finite: number of values that are NaN or infinite.
    """

    place: Place
    array: NDArray[np.float32] = dataclasses.field(repr=False)
    norm: float
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    not_finite: int | None = None

    @property
    def name(self) -> str:
        """The place's name: `text/0`, `prediction/3/uncond`, `latents/3`, see `artifacts.Artifacts`."""
        return self.place.name


class TraceView:
    """A trace as tests see it: iterating gives its entries in the order of the call, indexing an array by name."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.entries: tuple[TraceEntry, ...] = tuple(entries_of(trace).values())

    def __iter__(self) -> Iterator[TraceEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self._trace

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._trace[name]

    def distance(self, other: TraceView) -> dict[str, float]:
        """Relative L2 distance from `other` by name, for places that both hold, in the order of the call.

        Estimated from sketches, within about 4 % of itself; 0 where nothing differs by more than rounding to float32.
        Infinite where shapes differ, where `other` alone is zero, or where one side holds more values that aren't
        finite.
        """
        return distances(entries_of(self._trace), entries_of(other._trace))


def entries_of(trace: Trace) -> dict[str, TraceEntry]:
    """Entries by name, in the order of the call."""
    import numpy as np

    names = sorted(name for name in trace if name != MOMENTS)
    moments = trace.get(MOMENTS)
    rows = {}
    if moments is not None and moments.shape == (len(names), len(MOMENT_NAMES)):
        rows = {name: [float(value) for value in row] for name, row in zip(names, moments, strict=True)}
    entries = []
    for name in names:
        place, array = place_of(name), trace[name]
        if place is None:
            continue
        if name in rows:
            norm, mean, std, low, high, lost = rows[name]
            entry = TraceEntry(
                place=place, array=array, norm=norm, mean=mean, std=std, min=low, max=high, not_finite=round(lost)
            )
        else:
            entry = TraceEntry(place=place, array=array, norm=float(np.linalg.norm(array.astype(np.float64))))
        entries.append(entry)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.place.order)}


def distances(now: dict[str, TraceEntry], base: dict[str, TraceEntry]) -> dict[str, float]:
    """Relative distance at each place that both hold, in the order of the call."""
    return {name: _distance_rel(entry, base[name]) for name, entry in now.items() if name in base}


def relative_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Norm of `a - b` over the norm of `b`; of sketches, an estimate of the same for the sketched tensors.

    Infinite when the shapes differ, when `b` alone is zero, or when either holds NaN or infinity.
    """
    import numpy as np

    if a.shape != b.shape:
        return math.inf
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    gap, size = float(np.linalg.norm(a64 - b64)), float(np.linalg.norm(b64))
    if gap == 0:
        return 0.0
    rel = gap / size if size > 0 else math.inf
    return rel if math.isfinite(rel) else math.inf


def _distance_rel(now: TraceEntry, base: TraceEntry) -> float:
    if now.not_finite is not None and base.not_finite is not None and now.not_finite != base.not_finite:
        return math.inf
    return relative_distance(now.array, base.array)
