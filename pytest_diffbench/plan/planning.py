"""Runs a pipeline whose weights are blank: its whole loop, at full size, with next to nothing computed."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import torch

from pytest_diffbench.measure.boundaries import Hook, observed
from pytest_diffbench.measure.components import attention_modules, modules_of, sites_of
from pytest_diffbench.measure.costs import CostTable, Tally
from pytest_diffbench.measure.state import seed_everything
from pytest_diffbench.measure.survey import OUTSIDE, Survey
from pytest_diffbench.measure.trace_recorder import NoTrace
from pytest_diffbench.placeholders.content import content_of
from pytest_diffbench.placeholders.tensors import Ledger, PlaceholderMode
from pytest_diffbench.plan.remembered import Memory
from pytest_diffbench.records import GuidanceStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.records import Branch, JointOrder


__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


@dataclasses.dataclass(slots=True)
class Counted:
    """What happened between two points of a call: its cost, and the peak of memory above what was in use before."""

    tally: Tally = dataclasses.field(default_factory=Tally)
    above_bytes: int = 0


@dataclasses.dataclass(slots=True)
class Part:
    """What a component cost over the whole call.

    Attributes:
        tally: its operations.
        peak_bytes: the most bytes of activations that were alive while it ran, those of others included.
        text_tokens: of a text encoder, the most tokens that one of its texts had.
    """

    tally: Tally = dataclasses.field(default_factory=Tally)
    peak_bytes: int = 0
    text_tokens: int = 0


class Planner:
    """Counts what runs while placeholders stand in for tensors.

    Attributes:
        mode: makes the placeholders.
        tally: of what runs right now.
        total_flops: of all so far.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.mode = PlaceholderMode(self.ledger, self._watch)
        self.tally = Tally()
        self.total_flops = 0
        self._costs = CostTable()
        self._attention = 0

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counted]:
        """Count what runs inside by itself, and into what is around it."""
        counted = Counted()
        around, peak, live = self.tally, self.ledger.peak_bytes, self.ledger.live_bytes
        self.tally, self.ledger.peak_bytes = counted.tally, live
        try:
            yield counted
        finally:
            counted.above_bytes = self.ledger.peak_bytes - live
            self.ledger.peak_bytes = max(peak, self.ledger.peak_bytes)
            self.tally = around
            around.merge(counted.tally)

    @contextlib.contextmanager
    def unnamed(self) -> Iterator[None]:
        """Save the names of placeholders where nobody asks for them."""
        before, self.mode.identify = self.mode.identify, False
        try:
            yield
        finally:
            self.mode.identify = before

    def count_again(self, tally: Tally, above_bytes: int) -> None:
        """Count what ran before once more."""
        self.tally.merge(tally)
        self.total_flops += tally.flops
        self.ledger.peak_bytes = max(self.ledger.peak_bytes, self.ledger.live_bytes + above_bytes)

    @contextlib.contextmanager
    def planning(self, target: object) -> Iterator[None]:
        """Stand in for a pipeline's arithmetic."""
        modules = modules_of(target)
        memories = [Memory(self, module, number) for number, module in enumerate(modules.values())]
        overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
        with contextlib.ExitStack() as undo:
            undo.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwriting)
            # A placeholder can't be given other data, as a module's cast does; it has to be replaced.
            torch.__future__.set_overwrite_module_params_on_conversion(True)
            for memory in memories:
                undo.enter_context(memory.installed())
            for module in modules.values():
                for layer in attention_modules(module):
                    undo.callback(layer.register_forward_pre_hook(Hook(self._enter_attention)).remove)
                    undo.callback(layer.register_forward_hook(Hook(self._leave_attention)).remove)
            undo.enter_context(torch.no_grad())
            undo.enter_context(self.mode)
            yield

    def total(self) -> int:
        """FLOPs so far."""
        return self.total_flops

    def _watch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        cost = self._costs.of(func, args, kwargs, out)
        self.tally.add(cost, attention=self._attention > 0)
        self.total_flops += cost.flops

    def _enter_attention(self, *_: Any) -> None:
        self._attention += 1

    def _leave_attention(self, *_: Any) -> None:
        self._attention -= 1


class PlanSurvey(Survey):
    """The survey of a planned call: sees all but values.

    What the scheduler's input is made of is read from what it depends on, since the predictions hold nothing.

    Attributes:
        parts: by component, methods behind a dot, and `OUTSIDE`.
        tokens: by component and branch, the longest sequence that an attention in it looked at.
    """

    def __init__(self, modules: dict[str, torch.nn.Module], planner: Planner) -> None:
        super().__init__(modules)
        self._trace = NoTrace()  # there is nothing to sketch
        self._planner = planner
        self._open: list[tuple[contextlib.ExitStack, Counted, bool]] = []
        self.parts: dict[str, Part] = {}
        self.tokens: dict[tuple[str, str], int] = {}
        self._inside = Tally()

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note who is called with what."""
        super().enter(site, args, kwargs)
        undo = contextlib.ExitStack()
        counted = undo.enter_context(self._planner.counting())
        if site.role in ("vae_encode", "vae_decode"):
            undo.enter_context(self._planner.unnamed())
        self._open.append((undo, counted, bool(site.component) and site.role != "step"))
        if site.role == "text" and site.component:
            part = self.parts.setdefault(site.name, Part())
            part.text_tokens = max(part.text_tokens, _text_tokens(args, kwargs))

    def leave(self, site: Site, output: Any) -> None:
        """Note what came out of it, and what it cost."""
        undo, counted, _ = self._open.pop()
        live = self._planner.ledger.live_bytes
        peak = max(self._planner.ledger.peak_bytes, live)
        undo.close()
        if site.component and site.role != "step":
            part = self.parts.setdefault(site.name, Part())
            part.tally.merge(counted.tally)
            part.peak_bytes = max(part.peak_bytes, peak)
            if not any(inner for _, _, inner in self._open):
                self._inside.merge(counted.tally)
        super().leave(site, output)
        if site.role == "denoiser":
            place = (site.name, self._calls[-1].branch)
            self.tokens[place] = max(self.tokens.get(place, 0), counted.tally.tokens)

    def outside_of(self, whole: Tally) -> Tally:
        """What of a call's cost isn't a component's."""
        return whole.without(self._inside)

    def _enter_step(self, _site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        model_output = kwargs.get("model_output", args[0] if args else None)
        if not isinstance(model_output, torch.Tensor):
            return
        calls = [call for call in self._calls if call.step == self._steps and call.prediction is not None]
        for call in calls:
            batch = len(call.prediction) if call.prediction is not None and call.prediction.ndim else 0
            if call.branch != "unknown" and batch == 2 * len(model_output):
                call.branch = "joint"
        if not calls:
            return
        timestep = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        self._guidance.append(
            planned_step([(call.branch, call.prediction, call.order) for call in calls], model_output, timestep)
        )
        if model_output.is_floating_point():
            self._eps.append(torch.finfo(model_output.dtype).eps)

    def _flops(self) -> int:
        return self._planner.total()

    def _check_finite(self, tensor: Any, where: str) -> None:
        """Nothing to check."""


def plan_call(
    target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int
) -> tuple[PlanSurvey, Planner, Any]:
    """Call a pipeline with blank weights. Noise is drawn as always, as long as it is small.

    Returns:
        What was seen, what was counted, and what the pipeline returned.

    Raises:
        NotPlannableError: it reads values that aren't there.
    """
    planner = Planner()
    survey = PlanSurvey(modules_of(target), planner)
    seed_everything(seed)
    with observed(list(sites_of(target)), survey), planner.planning(target):
        output = target(*args, **kwargs)
    survey.parts[OUTSIDE] = Part(survey.outside_of(planner.tally), planner.ledger.peak_bytes)
    return survey, planner, output


def _text_tokens(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Most tokens of a text: those that the mask lets through, else the length of the ids."""
    mask = kwargs.get("attention_mask", args[1] if len(args) > 1 else None)
    ids = kwargs.get("input_ids", args[0] if args else None)
    if type(mask) is torch.Tensor and mask.ndim == 2:
        return int(mask.sum(dim=1).max())
    return int(ids.shape[-1]) if isinstance(ids, torch.Tensor) and ids.ndim else 0


def planned_step(
    predictions: Sequence[tuple[Branch, torch.Tensor | None, JointOrder | None]],
    model_output: torch.Tensor,
    timestep: Any = None,
) -> GuidanceStep:
    """Follow a scheduler's input back to the predictions of its step.

    Args:
        predictions: of each denoiser call of the step in order: branch, prediction, and of a joint one its order as
            far as the embeddings tell; the unconditional half is taken to be first else, as in most of diffusers.
        model_output: what the scheduler's `step` was handed.
        timestep: what it was handed beside it.
    """
    depends = content_of(model_output).sources
    used: set[Branch] = set()
    for branch, prediction, order in predictions:
        if prediction is None:
            continue
        marks = content_of(prediction).sources & depends
        if branch != "joint":
            used |= {branch} if marks else set()
            continue
        half = len(prediction) // 2
        first, second = ("cond", "uncond") if order == "cond_uncond" else ("uncond", "cond")
        for _, entry in marks:
            used |= {"cond", "uncond"} if entry < 0 else {first if entry < half else second}  # type: ignore[arg-type]  # as above
    return GuidanceStep(
        branches=tuple(branch for branch, _, _ in predictions),
        used=_used(used),
        sign=0,
        timestep=float(timestep)
        if type(timestep) in (int, float) or (type(timestep) is torch.Tensor and timestep.numel() == 1)
        else None,
    )


def _used(branches: set[Branch]) -> Literal["guided", "cond", "uncond", "unknown"]:
    if "unknown" in branches or not branches:
        return "unknown"
    if branches == {"cond", "uncond"}:
        return "guided"
    return "cond" if branches == {"cond"} else "uncond"
