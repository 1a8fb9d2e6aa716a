"""The two calls that are looked at in full: one for what it does and holds, one for what that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.components import modules_of
from pytest_diffbench.measure.memory import StageMemoryWatch, gauge_for
from pytest_diffbench.measure.rounds import observe_once
from pytest_diffbench.measure.survey import Survey
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


def survey_call(caller: Caller, sites: Sequence[Site], target: Any, device: str) -> Surveyed:
    """Survey a call; what is compiled is compiled before, since that takes memory which isn't the pipeline's."""
    modules = modules_of(target)
    if any(is_compiled(module) for module in modules.values()):
        caller.prepare()
        caller.call()
    watch = StageMemoryWatch(gauge_for(device))
    watch.start()
    survey = Survey(modules, watch)
    output = observe_once(caller, sites, survey)
    memory = watch.finish()
    return Surveyed(survey, memory, caller.returned("survey", output))


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
