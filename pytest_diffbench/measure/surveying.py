"""The two calls that are looked at in full: one for what it does and holds, one for what that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.components import modules_of
from pytest_diffbench.measure.engagement import HookWatch, standing
from pytest_diffbench.measure.memory import StageMemoryWatch, gauge_for
from pytest_diffbench.measure.rounds import TimedRound, observe_once
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.pipelines.devices import is_accelerator, kind_of, return_memory
from pytest_diffbench.pipelines.tuned import is_compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.measure.clock import Clock
    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.returned import Returned
    from pytest_diffbench.measure.rounds import Caller
    from pytest_diffbench.records import Memory, Round, Stage, Work

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


class Surveyed(NamedTuple):
    """What a call did, and what it held."""

    survey: Survey
    memory: Memory | None
    returned: Returned


class Counted(NamedTuple):
    """What a call computed.

    Attributes:
        work: with operators, FLOPs, calls of functions, and what optimisations had a part in it.
        survey: that saw it.
        workspace_bytes: by stage, the most that tensors took which the call had made.
    """

    work: Work
    survey: Survey
    workspace_bytes: Mapping[Stage, int]


class SurveyUnderWay:
    """A survey and the watch over memory that belongs to it; `start` comes right before the call.

    Attributes:
        survey: the observer of the call.
    """

    def __init__(self, target: Any, devices: Sequence[str]) -> None:
        self._device = devices[0]
        gauge = gauge_for(*devices)
        self._watch = StageMemoryWatch(gauge) if gauge is not None else None
        self.survey = Survey(modules_of(target), self._watch)

    def start(self) -> None:
        """The call begins. What earlier ones left in a device's cache goes, or its reservation would be theirs."""
        if is_accelerator(self._device):
            return_memory()
        if self._watch is not None:
            self._watch.start()

    def finish(self, returned: Returned) -> Surveyed:
        """The call is over, and this is what came of it."""
        return Surveyed(self.survey, self._watch.finish() if self._watch is not None else None, returned)


class SurveyedRound(TimedRound):
    """A round of which the first call is surveyed, too: for where what it returns is wanted, and times aren't.

    Args:
        caller: calls the target.
        sites: places to observe.
        clock: of the device.
        target: whose call it is.
        devices: that it runs on, the one that it begins on first.
        keep: is handed the survey once the first call is over.
    """

    def __init__(
        self,
        caller: Caller,
        sites: Sequence[Site],
        clock: Clock,
        target: Any,
        devices: Sequence[str],
        keep: Callable[[Surveyed], None],
    ) -> None:
        super().__init__(caller, sites, clock)
        self._keep = keep
        self._under_way: SurveyUnderWay | None = SurveyUnderWay(target, devices)
        self.beside = self._under_way.survey

    def prepare(self) -> None:
        """As for any round, and begin to watch memory."""
        super().prepare()
        if self._under_way is not None:
            self._under_way.start()

    def finish(self, call: str) -> tuple[Round, Returned]:
        """As for any round; hands the survey over."""
        round_, returned = super().finish(call)
        if self._under_way is not None:
            self._keep(self._under_way.finish(returned))
            self._under_way = self.beside = None
        return round_, returned


def survey_call(caller: Caller, sites: Sequence[Site], target: Any, devices: Sequence[str]) -> Surveyed:
    """Survey a call.

    What is compiled, or searched for among kernels, is so in a call before, since that takes memory which isn't the
    pipeline's.

    Args:
        caller: calls the target.
        sites: places to observe.
        target: whose call it is.
        devices: that it runs on, the one that it begins on first.
    """
    compiled = any(is_compiled(module) for module in modules_of(target).values())
    if compiled or _searches_for_kernels(devices[0]):
        caller.prepare()
        caller.call()
    under_way = SurveyUnderWay(target, devices)
    under_way.start()
    output = observe_once(caller, sites, under_way.survey)
    return under_way.finish(caller.returned("survey", output))


def _searches_for_kernels(device: str) -> bool:
    """Whether the first call tries several kernels for each shape, with workspaces larger than the chosen one's."""
    import torch

    return kind_of(device) == "cuda" and torch.backends.cudnn.benchmark


def count_call(caller: Caller, sites: Sequence[Site], target: Any) -> Counted:
    """Count another call than the survey's: counting runs compiled code eagerly, and the first may fill caches.

    What it returns isn't looked at: eager code rounds otherwise than compiled code.
    """
    census = Census()
    modules = modules_of(target)
    survey = Survey(modules, census=census)
    hooks = HookWatch(modules, lambda: survey.step)
    with hooks.installed():
        observe_once(caller, sites, survey, census)
    work = survey.work()
    engagements = (*hooks.engagements(work), *standing(modules))
    work = msgspec.structs.replace(work, engagements=engagements)
    return Counted(work, survey, census.workspace.peaks())


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
