"""Counting what a call makes torch and Python do: operators, their FLOPs and results, and calls of functions.

All are exact: the same call gives the same numbers each time, on a busy machine as on an idle one.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pytest_diffbench.measure.attention_backends import counted_by_shapes
from pytest_diffbench.measure.flops import FlopMeter
from pytest_diffbench.measure.workspace import Workspace
from pytest_diffbench.records import ATTENTION, MASKED_ATTENTION

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_OWN = Path(__file__).parents[1].as_posix()


class Census:
    """Counts all that runs inside it, for the place that `at` was told last; nothing before, and where that is None.

    Python functions are counted by the interpreter's profiling hook; the tracing one looks at each instruction and
    costs more. Where another profiler has it, they aren't counted. Not counted either are functions of this package,
    those by which torch lets operators be observed, and all that a progress bar does, which depends on the time.

    Attributes:
        workspace: what the tensors take that operators return.
    """

    def __init__(self) -> None:
        self.workspace = Workspace()
        self._meter = FlopMeter(self.workspace.add_result)
        self._attention: collections.Counter[tuple[str, str]] = collections.Counter()
        self._python_calls: collections.Counter[str] = collections.Counter()
        self._place: str | None = None

    def __enter__(self) -> Census:
        with contextlib.ExitStack() as undo:
            self._meter.at(self._place)
            undo.callback(self.workspace.close)
            undo.enter_context(self._meter)
            undo.enter_context(_attention_watch()(self))
            undo.enter_context(counted_by_shapes(self._meter.total, self._meter.add))
            if gc.isenabled():  # a collection calls functions, and comes at another place each time
                undo.callback(gc.enable)
                gc.disable()
            if sys.getprofile() is None:
                hook = self._profile_function()
                undo.callback(sys.setprofile, None)
                self._meter.pauses(hook)
                sys.setprofile(hook)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    def total(self) -> int:
        """FLOPs so far."""
        return self._meter.total()

    def at(self, place: str | None) -> None:
        """Count for another place from now on; None to count nothing."""
        self._place = place
        self._meter.at(place)

    def attention(self, *, masked: bool) -> None:
        """Count a call of torch's fused attention."""
        if self._place is not None:
            self._attention[self._place, MASKED_ATTENTION if masked else ATTENTION] += 1

    def operators(self) -> dict[str, dict[str, int]]:
        """How often each operator ran, by place; views aren't among them."""
        by_place: dict[str, dict[str, int]] = {}
        for counts in (self._attention, self._meter.operators()):
            for (place, name), count in sorted(counts.items()):
                if not name.startswith("_scaled_dot_product"):
                    by_place.setdefault(place, {})[name] = count
        return dict(sorted(by_place.items()))

    def uncounted(self) -> dict[str, int]:
        """How often operators of other packages ran that no formula knows, by namespace and name."""
        return dict(sorted(self._meter.uncounted().items()))

    def python_calls(self) -> dict[str, int]:
        """How often Python functions were called, by place; empty where another profiler was active."""
        return dict(sorted(self._python_calls.items()))

    def _profile_function(self) -> Any:
        counts, known, depth = self._python_calls, _treatments, 0

        def profile(frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal depth  # of calls within one that is passed over with all that it calls
            if event == "call":
                if depth:
                    depth += 1
                    return
                code = frame.f_code
                # By identity: a code object's hash goes through all of its constants and instructions.
                _, how = known.get(id(code)) or _look_up(code)
                if how == "all of it":
                    depth = 1
                elif not how and self._place is not None:
                    counts[self._place] += 1
            elif depth and event == "return":
                depth -= 1

        return profile


_Treatment: TypeAlias = Literal["", "itself", "all of it"]
"""Which calls of a function aren't counted: none, its own, or its own and all that are made within."""

_treatments: dict[int, tuple[CodeType, _Treatment]] = {}
"""By identity of the code, which is kept beside so that no other gets its identity."""


def _look_up(code: CodeType) -> tuple[CodeType, _Treatment]:
    treatment = _treatments[id(code)] = code, _treatment_of(code)
    return treatment


def _treatment_of(code: CodeType) -> _Treatment:
    file = code.co_filename.replace("\\", "/")
    # what a progress bar does depends on the time; the others are how operators are observed
    if "/tqdm/" in file or "/torch/_library/" in file or code.co_name == "__torch_dispatch__":
        return "all of it"
    own = file.startswith(_OWN) or file.endswith(("torch/overrides.py", "torch/utils/_python_dispatch.py"))
    return "itself" if own else ""


@functools.cache
def _attention_watch() -> Any:
    # made when it is first wanted, since its base class comes with torch
    import torch
    from torch.overrides import TorchFunctionMode

    fused = torch._C._nn.scaled_dot_product_attention
    mask_at = 3

    class AttentionWatch(TorchFunctionMode):
        """Sees attention as it is asked for, before torch chooses a kernel."""

        def __init__(self, census: Census) -> None:
            super().__init__()
            self._census = census

        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            if func is fused:
                mask = args[mask_at] if len(args) > mask_at else kwargs.get("attn_mask")
                self._census.attention(masked=mask is not None)
            return func(*args, **kwargs)

    return AttentionWatch
