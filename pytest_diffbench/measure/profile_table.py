"""From a Chrome trace of one call to a table of its operators, stage by stage."""

from __future__ import annotations

import bisect
import functools
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from pytest_diffbench.measure.stages import Passage, step_spans, stretches
from pytest_diffbench.records import STAGES, Operator, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_diffbench.measure.components import Role
    from pytest_diffbench.records import Stage

SITE_PREFIX = "diffbench:"
"""Spans of the components carry it: `diffbench:transformer`, `diffbench:scheduler.step`."""

ROWS_A_STAGE = 120
"""A denoiser has about 70 operators. Room for all of them means that which ones are listed isn't left to noise."""

_KERNELS = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_LAUNCHES = frozenset({"cuda_runtime", "cuda_driver", "xpu_runtime"})
_TRACK = "diffbench"
"""Stages and steps are drawn on a track of their own, so that no span there has to nest with torch's."""


class Row(NamedTuple):
    """One operator or kernel that ran.

    Attributes:
        stage: that it belongs to.
        name: without what changes from build to build.
        launched_by: of a kernel, the operator that launched it; None where that isn't told, and for operators.
        self_us: its time in microseconds.
    """

    stage: Stage
    name: str
    launched_by: str | None
    self_us: float


class _Arguments(msgspec.Struct, gc=False):
    correlation: Any = None
    operator: Any = msgspec.field(name="External id", default=None)


class TraceEvent(msgspec.Struct, gc=False):
    """One event of a Chrome trace, as far as it is looked at here. Times are microseconds."""

    ph: str
    name: str = ""
    cat: str = ""
    ts: float = 0.0
    dur: float = 0.0
    pid: Any = None
    tid: Any = None
    args: _Arguments | None = None


class _Trace(msgspec.Struct, gc=False):
    events: list[TraceEvent] = msgspec.field(name="traceEvents")


class Timeline:
    """The events of one profiled call and the passages through components among them.

    Args:
        trace: the text of a Chrome trace, as torch's profiler exports it.
        roles: of the places that were bracketed, by name.

    Raises:
        msgspec.MsgspecError: the text isn't such a trace.
    """

    def __init__(self, trace: bytes, roles: Mapping[str, Role]) -> None:
        self._events = msgspec.json.decode(trace, type=_Trace).events
        spans = [
            event for event in self._events if event.cat == "user_annotation" and event.name.startswith(SITE_PREFIX)
        ]
        marks = sorted(
            # At one moment the inner span ends before the outer, and begins after it.
            mark
            for number, span in enumerate(sorted(spans, key=lambda span: (span.ts, -span.dur)))
            for mark in (
                (span.ts, 1, number, span.name),
                (span.ts + span.dur, 0, -number, span.name),
            )
        )
        self._begin_us = marks[0][0] if marks else 0.0
        self._process: Any = spans[0].pid if spans else None
        self._passages = [
            Passage(roles.get(name.removeprefix(SITE_PREFIX), "other"), bool(entered), self._seconds(at_us))
            for at_us, entered, _, name in marks
        ]
        parts = [stretch for stretch in stretches(self._passages) if stretch.end_s > stretch.begin_s]
        self._begins_s = [part.begin_s for part in parts]
        self._stages: list[Stage] = [part.stage for part in parts]
        if parts:
            self._begins_s.append(parts[-1].end_s)
            self._stages.append("unattributed")

    def kernels(self) -> list[Row]:
        """Each kernel with its time, in the stage that launched it: the device runs behind the host."""
        kernels = [event for event in self._events if event.cat in _KERNELS]
        if not kernels:
            return []
        launched = {
            event.args.correlation: event.ts
            for event in self._events
            if event.cat in _LAUNCHES and event.args is not None and event.args.correlation is not None
        }
        # Every event of the device carries the number of the innermost operator that was open when it was launched.
        operators = {
            event.args.operator: stable_name(event.name)
            for event in self._events
            if event.cat == "cpu_op" and event.args is not None and event.args.operator is not None
        }
        nothing = _Arguments()
        return [
            Row(
                self._stage_at(launched.get((event.args or nothing).correlation, event.ts)),
                stable_name(event.name),
                operators.get((event.args or nothing).operator),
                event.dur,
            )
            for event in kernels
        ]

    def operators(self) -> list[Row]:
        """Each operator on the processor with its time less that of the operators within."""
        by_thread: dict[Any, list[TraceEvent]] = {}
        for event in self._events:
            if event.cat == "cpu_op" and event.ph == "X":
                by_thread.setdefault(event.tid, []).append(event)
        return [row for events in by_thread.values() for row in self._self_times(events)]

    def spans(self) -> bytes:
        """Stages and steps as events for the trace, on a track of their own, each with a comma behind it."""
        if self._process is None:
            return b""
        head = {"ph": "M", "pid": self._process, "tid": _TRACK, "name": "thread_name", "args": {"name": _TRACK}}
        events = [head, *(self._span(name, begin_s, end_s) for name, begin_s, end_s in self._named())]
        return b"".join(msgspec.json.encode(event) + b",\n" for event in events)

    def _named(self) -> Iterable[tuple[str, float, float]]:
        stage, begin_s = "unattributed", 0.0
        for number, following in enumerate(self._stages):
            if following != stage:
                if stage != "unattributed":
                    yield SITE_PREFIX + stage, begin_s, self._begins_s[number]
                stage, begin_s = following, self._begins_s[number]
        for step, (first_s, last_s) in enumerate(step_spans(self._passages)):
            yield f"{SITE_PREFIX}step {step}", first_s, last_s

    def _span(self, name: str, begin_s: float, end_s: float) -> dict[str, Any]:
        begin_us = round(self._begin_us + begin_s * 1e6, 3)
        return {
            "ph": "X",
            "cat": "user_annotation",
            "name": name,
            "pid": self._process,
            "tid": _TRACK,
            "ts": begin_us,
            "dur": round((end_s - begin_s) * 1e6, 3),
        }

    def _self_times(self, events: list[TraceEvent]) -> Iterable[Row]:
        events.sort(key=lambda event: (event.ts, -event.dur))
        around: list[tuple[float, int]] = []
        selves = [event.dur for event in events]
        for number, event in enumerate(events):
            while around and around[-1][0] <= event.ts:
                around.pop()
            if around:
                selves[around[-1][1]] -= event.dur
            around.append((event.ts + event.dur, number))
        for event, self_us in zip(events, selves, strict=True):
            # Spans are rounded to nanoseconds, so that those within may add up to a little more.
            yield Row(self._stage_at(event.ts), stable_name(event.name), None, max(self_us, 0.0))

    def _stage_at(self, at_us: float) -> Stage:
        place = bisect.bisect_right(self._begins_s, self._seconds(at_us)) - 1
        return self._stages[place] if place >= 0 else "unattributed"

    def _seconds(self, at_us: float) -> float:
        # To the nanosecond, as the profiler counts: what subtraction leaves behind would move events over a boundary.
        return round((at_us - self._begin_us) / 1e6, 9)


def table(kind: Literal["cpu", "device"], rows: Sequence[Row]) -> Profile | None:
    """Sum rows up by stage, name and what launched them; None for none."""
    sums: dict[tuple[Stage, str, str | None], tuple[int, float]] = {}
    for stage, name, launched_by, self_us in rows:
        calls, time_us = sums.get((stage, name, launched_by), (0, 0.0))
        sums[stage, name, launched_by] = calls + 1, time_us + self_us
    operators = [
        Operator(name=name, stage=stage, calls=calls, self_s=round(time_us / 1e6, 9), launched_by=launched_by)
        for (stage, name, launched_by), (calls, time_us) in sums.items()
    ]
    # The most expensive first, and always the same one of two alike.
    operators.sort(key=lambda operator: (-operator.self_s, STAGES.index(operator.stage), operator.label))
    room = dict.fromkeys(STAGES, ROWS_A_STAGE)
    kept = []
    for operator in operators:
        if room[operator.stage]:
            room[operator.stage] -= 1
            kept.append(operator)
    total_s = round(sum(time_us for _, time_us in sums.values()) / 1e6, 9)
    return Profile(kind=kind, total_s=total_s, operators=tuple(kept)) if kept else None


def quieter(left: list[Row], right: list[Row]) -> list[Row]:
    """Of two calls with the same operators in the same order the shorter time of each; else the first call as it is.

    What the system does in between, for hundredths of a second at a time, hits a few operators, and others each time.
    """
    if [row[:3] for row in left] != [row[:3] for row in right]:
        return left
    return [min(pair, key=lambda row: row.self_us) for pair in zip(left, right, strict=True)]


_RETURNED = ("void ", "auto ", "std::enable_if")
"""What a signature begins with that names its return type; `Memcpy HtoD (...)` has a space too and none."""

_WRAPPER = re.compile(r"(?:void )?(cutlass::(?:Kernel2?|device_kernel))<(?:[\w:]*enable_\w+<)?([\w:]+)")
"""CUTLASS's launchers, and the first name among what they launch."""


@functools.lru_cache(maxsize=4096)
def stable_name(name: str) -> str:
    """A name without what changes from build to build: template arguments, parameters, addresses, hashes, numbers.

    `void at::native::elementwise_kernel<128, 4, ...>(int, ...)` becomes `at::native::elementwise_kernel`, and
    `triton_poi_fused_add_3` becomes `triton_poi_fused_add`. CUTLASS's launchers keep the name of what they launch:
    otherwise all of its kernels would be `cutlass::Kernel2`.
    """
    if name.startswith("## Call CompiledFxGraph"):  # a hash of the graph follows
        return "CompiledFxGraph"
    if name.startswith("Torch-Compiled Region"):  # its number follows
        return "Torch-Compiled Region"
    plain = re.sub(r"0x[0-9a-fA-F]+", "", name.replace("(anonymous namespace)::", ""))
    if plain.startswith(("triton_", "cpp_fused_")):
        return re.sub(r"_\d+$", "", plain)
    if (wrapped := _WRAPPER.match(plain)) is not None:
        return f"{wrapped[1]}<{wrapped[2]}>"
    if "<" in plain or "(" in plain:
        # of a function's signature, the return type is what stands before the last space outside all brackets
        plain = _outside_brackets(plain.replace("operator()", "operator").replace("->", "")).strip()
        plain = plain.rpartition(" ")[2] if plain.startswith(_RETURNED) else plain
    return plain.strip() or name


def _outside_brackets(text: str) -> str:
    kept: list[str] = []
    depth = 0
    for sign in text:
        if sign in "<({[":
            depth += 1
        elif sign in ">)}]":
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(sign)
    return "".join(kept)


def with_spans(trace: bytes, spans: bytes) -> bytes:
    """A Chrome trace with further events at the head of its list. Raises ValueError where there is no list."""
    begin = trace.index(b"[", trace.index(b'"traceEvents"')) + 1
    return trace[:begin] + b"\n" + spans + trace[begin:]


def roles_by_name(sites: Sequence[Any]) -> dict[str, Role]:
    """The roles of bracketed places by their names."""
    return {site.name: site.role for site in sites}
