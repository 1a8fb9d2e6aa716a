"""The two calls that are looked at in full: one for what it does and holds, one for what that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.components import modules_of
from pytest_diffbench.measure.memory import StageMemoryWatch, gauge_for
from pytest_diffbench.measure.rounds import observe_once
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.pipelines.devices import is_accelerator, kind_of, return_memory
from pytest_diffbench.pipelines.tuned import is_compiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.rounds import Caller
    from pytest_diffbench.records import Memory, Stage

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


class Surveyed(NamedTuple):
    """What a call did, and what it held."""

    survey: Survey
    memory: Memory | None
    returned: Returned


class Counted(NamedTuple):
    """What a call computed.

    Attributes:
        survey: whose work has operators, FLOPs and calls of functions.
        workspace_bytes: by stage, the most that tensors took which the call had made.
    """

    survey: Survey
    workspace_bytes: Mapping[Stage, int]


def survey_call(
    caller: Caller, sites: Sequence[Site], target: Any, device: str, others: Sequence[str] = ()
) -> Surveyed:
    """Survey a call.

    What is compiled or searched for is so before, in a call of its own, since that takes memory which isn't the
    pipeline's; and what earlier calls left in the device's cache goes, or its reservation would be theirs.

    Args:
        caller: calls the target.
        sites: of it.
        target: what is called.
        device: that it runs on.
        others: devices that parts of it lie on besides.
    """
    modules = modules_of(target)
    if any(is_compiled(module) for module in modules.values()) or _searches_for_kernels(device):
        caller.prepare()
        caller.call()
    if is_accelerator(device):
        return_memory()
    gauge = gauge_for(device, others)
    watch = StageMemoryWatch(gauge) if gauge is not None else None
    if watch is not None:
        watch.start()
    survey = Survey(modules, watch)
    output = observe_once(caller, sites, survey)
    memory = watch.finish() if watch is not None else None
    return Surveyed(survey, memory, caller.returned("survey", output))


def _searches_for_kernels(device: str) -> bool:
    """Whether the first call tries several kernels for each shape, with workspaces larger than the chosen one's."""
    import torch

    return kind_of(device) == "cuda" and torch.backends.cudnn.benchmark


def count_call(caller: Caller, sites: Sequence[Site], target: Any) -> Counted:
    """Count another call than the survey's: counting runs compiled code eagerly, and the first may fill caches.

    What it returns isn't looked at: eager code rounds otherwise than compiled code.
    """
    census = Census()
    survey = Survey(modules_of(target), census=census)
    observe_once(caller, sites, survey, census)
    return Counted(survey, census.workspace.peaks())


def with_workspace(memory: Memory | None, workspace_bytes: Mapping[Stage, int]) -> Memory | None:
    """Put what was counted beside what was read of the device."""
    if memory is None:
        return None
    return msgspec.structs.replace(
        memory,
        stages={
            stage: msgspec.structs.replace(stage_memory, workspace_bytes=workspace_bytes.get(stage))
            for stage, stage_memory in memory.stages.items()
        },
    )
