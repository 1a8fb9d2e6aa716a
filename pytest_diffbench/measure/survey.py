"""The observer of the survey round: everything that is too expensive to look at while the clock runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.measure.branches import BranchFinder, is_embedding
from pytest_diffbench.measure.combination import handed_apart
from pytest_diffbench.measure.components import attention_modules, count_parameters
from pytest_diffbench.measure.guidance import derive_step, difference_of, prediction_in, reused_step
from pytest_diffbench.measure.handed import number, numbers, sigmas_of, tensor_arguments, tokens_of, tokens_read
from pytest_diffbench.measure.stages import STAGE_OF_ROLE
from pytest_diffbench.measure.trace import first_tensor, outer_tensors, tensors_in
from pytest_diffbench.measure.trace_recorder import NoTrace, TraceRecorder
from pytest_diffbench.records import CallGroup, Fact, Guidance, GuidanceStep, Work, format_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from pytest_diffbench.measure.census import Census
    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.measure.memory import StageMemoryWatch
    from pytest_diffbench.measure.returned import Sketched
    from pytest_diffbench.records import Branch, JointOrder, Stage

OUTSIDE = "pipeline"
"""What no component does: the code of the pipeline's own call, by that name among the components."""


@dataclasses.dataclass(slots=True)
class _Call:
    """One call of a denoiser, while the survey is under way."""

    step: int
    component: str
    branch: Branch
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    flops: int = 0
    prediction: torch.Tensor | None = None
    order: JointOrder | None = None
    tokens: int = 0


class Survey:
    """Watches one call of a pipeline in full.

    Args:
        modules: the pipeline's, by name.
        memory: is told of each stage; None where this call's memory says nothing.
        census: is told of each place, and no trace is kept; None where the call must stay as it is: counting runs
            compiled code eagerly.

    Attributes:
        not_finite_where: the first place where a value wasn't finite.
    """

    def __init__(
        self, modules: dict[str, nn.Module], memory: StageMemoryWatch | None = None, census: Census | None = None
    ) -> None:
        self.not_finite_where: str | None = None
        self.latents_shape: tuple[int, ...] | None = None
        self.latents_dtype: str | None = None
        self._census = census
        self._places = [OUTSIDE]
        self._modules = modules
        self._memory = memory
        self._trace: TraceRecorder | NoTrace = TraceRecorder() if census is None else NoTrace()
        self._stages: list[Stage] = ["unattributed"]
        self._branches = BranchFinder()
        self._calls: list[_Call] = []
        self._open_flops: list[int] = []
        self._component_calls: dict[str, int] = {}
        self._component_flops: dict[str, int] = {}
        self._guidance: list[GuidanceStep] = []
        self._eps: list[float] = []
        self._steps = 0
        self._timesteps: list[float | None] = []
        self._sigmas: list[float | None] = []
        self._idle: list[int] = []
        self._handed: torch.Tensor | None = None
        self._apart: list[tuple[Branch, torch.Tensor]] = []
        """Predictions that the scheduler was handed in one batch, unmixed."""

        self._difference: NDArray[np.float64] | None = None
        """Of the branches' predictions, in the last step that was guided by both."""

        self._count_at(OUTSIDE)
        self._encoding_prompt = False
        self._tokens: frozenset[int] = frozenset()
        self._denoising = False

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note who is called with what."""
        self._count_at(None)
        if site.role == "denoiser":
            self._enter_denoiser(site, args, kwargs)
        elif site.role == "step":
            self._note_schedule(args, kwargs)
            self._enter_step(site, args, kwargs)
        elif site.role == "vae_decode":
            self._record_decoder("decoder_input", (*args, *kwargs.values()))
        elif site.component == "":
            self._encoding_prompt = True
        elif site.role == "text":
            self._tokens = tokens_read(site.owner, args, kwargs)
        self._stages.append(STAGE_OF_ROLE.get(site.role, self._stages[-1]))
        self._watch_memory()
        self._open_flops.append(self._flops())
        self._places.append(_place_of(site) or self._places[-1])
        self._count_at(self._places[-1])

    def leave(self, site: Site, output: Any) -> None:
        """Note what came out of it, and what it cost."""
        self._count_at(None)
        flops = self._flops() - self._open_flops.pop()
        if site.component and site.role != "step":
            self._component_calls[site.name] = self._component_calls.get(site.name, 0) + 1
            self._component_flops[site.name] = self._component_flops.get(site.name, 0) + flops
        if site.role == "denoiser":
            self._leave_denoiser(output, flops)
        elif site.role == "step":
            self._sigmas = sigmas_of(site.owner)
            self._leave_step(output)
        elif site.role == "text":
            self._leave_text(site, output)
        elif site.role == "vae_decode":
            self._check_finite(first_tensor(output), site.name)
            self._record_decoder("decoded", output)
        self._stages.pop()
        if site.role == "vae_decode":
            self._denoising = False
        elif site.role in ("denoiser", "step"):
            self._denoising = True
        self._watch_memory()
        self._places.pop()
        self._count_at(self._places[-1])

    def take_flops_of(self, other: Survey) -> bool:
        """Take over what another survey of the same call counted; False where its calls were others."""
        own_calls, other_calls = (
            [(call.component, call.step, call.shapes) for call in survey._calls] for survey in (self, other)
        )
        if own_calls != other_calls or self._component_calls != other._component_calls:
            return False
        for call, counted in zip(self._calls, other._calls, strict=True):
            call.flops = counted.flops
        self._component_flops = dict(other._component_flops)
        return True

    def trace(self, returned: Sequence[Sketched] = ()) -> dict[str, NDArray[np.float32]]:
        """Float32 arrays by name, see `artifacts.Artifacts`; `returned` are the tensors that the call returned."""
        self._record_predictions()  # those that no scheduler's step came after
        return self._trace.arrays(
            {f"returned/{i}": (tensor.sketch, tensor.moments) for i, tensor in enumerate(returned)}
        )

    @property
    def step(self) -> int:
        """Number of the step that is under way."""
        return self._steps

    def work(self) -> Work:
        """What the call computed."""
        groups: dict[tuple[object, ...], tuple[_Call, list[int]]] = {}
        for call in self._calls:
            key = (call.component, call.branch, tuple(call.shapes.items()), tuple(call.dtypes.items()), call.flops)
            groups.setdefault(key, (call, []))[1].append(call.step)
        return Work(
            steps=self._steps,
            timesteps=numbers(self._timesteps),
            sigmas=numbers(self._sigmas),
            idle_steps=format_steps(self._idle),
            denoiser=tuple(
                CallGroup(
                    component=call.component,
                    branch=call.branch,
                    batch=_batch(call),
                    shapes=call.shapes,
                    dtypes=call.dtypes,
                    flops=call.flops,
                    tokens=call.tokens,
                    steps=format_steps(steps),
                )
                for call, steps in groups.values()
            ),
            component_calls=dict(sorted(self._component_calls.items())),
            flops=dict(sorted(self._component_flops.items())),
            operators=self._census.operators() if self._census is not None else {},
            uncounted=self._census.uncounted() if self._census is not None else {},
            python_calls=self._census.python_calls() if self._census is not None else {},
            parameters={name: count_parameters(module) for name, module in sorted(self._modules.items())},
            attention_parameters={
                name: sum(
                    count_parameters(attention_module) for attention_module in attention_modules(self._modules[name])
                )
                for name in sorted({call.component for call in self._calls})
            },
        )

    def guidance(self, pipeline: str, arguments: dict[str, Fact], call_class: str | None = None) -> Guidance | None:
        """What guidance did; None when no scheduler step was seen."""
        if not self._guidance:
            return None
        several = len({call.component for call in self._calls}) > 1
        steps = (
            self._guidance if several else [msgspec.structs.replace(step, components=()) for step in self._guidance]
        )
        return Guidance(
            pipeline=pipeline,
            arguments=arguments,
            dtype_eps=max(self._eps),
            steps=tuple(steps),
            call_class=call_class,
        )

    def _enter_denoiser(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = tensor_arguments(site.owner, args, kwargs)
        self._calls.append(
            _Call(
                step=self._steps,
                component=site.name,
                branch=self._branches.branch_of(tensors, site.name),
                shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
                dtypes={name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()},
                order=self._branches.order_of(tensors),
                tokens=tokens_of(site.owner, tensors),
            )
        )

    def _leave_denoiser(self, output: Any, flops: int) -> None:
        call = self._calls[-1]
        call.flops = flops
        prediction = prediction_in(output)
        if prediction is not None:
            # On the host: the device's memory is being watched, and compiled graphs reuse their output buffers.
            call.prediction = prediction.detach().to("cpu", copy=True)

    def _note_schedule(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        self._timesteps.append(number(kwargs.get("timestep", args[1] if len(args) > 1 else None)))
        sample = kwargs.get("sample", args[2] if len(args) > 2 else None)
        # a scheduler may well write its result into what it is handed
        self._handed = sample.detach().to("cpu", copy=True) if type(sample) is torch.Tensor else None

    def remarks(self) -> tuple[str, ...]:
        """What is odd about the call, whatever was seen before."""
        notes = []
        if self._idle:
            steps = format_steps(self._idle)
            notes.append(
                f"step{'' if steps.isdigit() else 's'} {steps} returned the very sample that went in: the denoiser "
                "was called in vain"
            )
        for name in self._modules:
            calls = [call for call in self._calls if call.component == name]
            free = sum(not call.flops for call in calls)
            if 0 < free < len(calls):
                notes.append(
                    f"{name}: {free} of {len(calls)} calls computed nothing: something answered in its place"
                )
        return tuple(notes)

    def _enter_step(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import torch

        model_output = kwargs.get("model_output", args[0] if args else None)
        if not isinstance(model_output, torch.Tensor):
            return
        for name, value in (("model_output", model_output), ("sample", kwargs.get("sample"))):
            self._check_finite(value, f"{site.name} {name}, step {self._steps}")
        calls = [call for call in self._calls if call.step == self._steps and call.prediction is not None]
        for call in calls:
            if call.branch != "unknown" and _is_joint(call, model_output):
                call.branch = "joint"
        predictions = [(call.branch, call.prediction) for call in calls if call.prediction is not None]
        if handed_apart(predictions, model_output):
            self._apart = predictions  # mixed when the scheduler has made something else of them
            return
        predictions = predictions or self._apart
        self._apart = []
        if predictions:
            order = next((call.order for call in calls if call.branch == "joint"), None)
            timestep = number(kwargs.get("timestep", args[1] if len(args) > 1 else None))
            derived = derive_step(predictions, model_output, order=order, timestep=timestep, latents=self._handed)
            for call, branch in zip(calls, derived.branches, strict=bool(calls)):
                call.branch = branch
            if derived.used == "unknown" and self._difference is not None:
                derived = reused_step(derived, predictions, model_output, self._difference)
            elif derived.used == "guided":
                self._difference = difference_of(predictions, model_output, order or derived.joint_order)
            derived = msgspec.structs.replace(
                derived, components=tuple(dict.fromkeys(call.component for call in calls))
            )
            self._guidance.append(_settled(derived, predictions))
            # A pipeline that guides in float32 leaves the rounding of the predictions as it is.
            dtypes = {model_output.dtype, *(prediction.dtype for _, prediction in predictions)}
            self._eps.append(max(torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point))

    def _leave_step(self, output: Any) -> None:
        self._record_predictions()
        latents = first_tensor(output)
        if latents is not None and self._handed is not None and self._handed.equal(latents.detach().to("cpu")):
            self._idle.append(self._steps)
        self._handed = None
        if latents is not None:
            self._check_finite(latents, f"latents, step {self._steps}")
            self._trace.latents(self._steps, latents)
            self.latents_shape = tuple(latents.shape)
            self.latents_dtype = str(latents.dtype).removeprefix("torch.")
        self._steps += 1
        self._branches.next_step()

    def _record_predictions(self) -> None:
        # Once the step is over: its input tells joint predictions from others.
        for call in self._calls:
            if call.prediction is not None:
                cond_first = call.order == "cond_uncond"
                self._trace.prediction(call.step, call.component, call.branch, call.prediction, cond_first=cond_first)
                call.prediction = None

    def _record_decoder(self, place: str, value: Any) -> None:
        tensor = first_tensor(value)
        if tensor is not None:
            self._trace.decoder(place, tensor)

    def _leave_text(self, site: Site, output: Any) -> None:
        if site.component == "":
            self._encoding_prompt = False
        else:
            outer = [tensor for tensor in outer_tensors(output) if is_embedding(tensor)]
            self._trace.encoder(site.name, outer)
            self._branches.read(outer, by=id(site.owner))
            if self._encoding_prompt:
                return  # what the pipeline makes of it is recorded when encode_prompt returns
        embeddings = [tensor for tensor in tensors_in(output) if is_embedding(tensor)]
        if site.component:
            embeddings = embeddings[:1]
        self._branches.encoded(embeddings, by=id(site.owner), tokens=self._tokens if site.component else frozenset())
        for embedding in embeddings:
            self._check_finite(embedding, f"text embedding {self._trace.text(embedding)}")

    def _flops(self) -> int:
        return self._census.total() if self._census is not None else 0

    def _count_at(self, place: str | None) -> None:
        # What is looked at here isn't the call's doing.
        if self._census is not None:
            self._census.at(place)

    def _watch_memory(self) -> None:
        stage = self._stages[-1]
        if stage == "unattributed" and self._denoising:
            # What lies between the components of the loop belongs to it; its end shows when the decoder is entered.
            stage = "denoise"
        if self._memory is not None:
            self._memory.enter(stage)
        if self._census is not None:
            self._census.workspace.enter(stage)

    def _check_finite(self, tensor: Any, where: str) -> None:
        import torch

        if self.not_finite_where is None and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            finite = bool(torch.isfinite(tensor).all())
            self.not_finite_where = None if finite else where


def _place_of(site: Site) -> str:
    """What is counted there goes by that name; empty where it belongs to what is around it."""
    return site.component if site.role == "step" else site.name if site.component else ""


def _is_joint(call: _Call, model_output: torch.Tensor) -> bool:
    """Whether a call predicted both branches at once: twice the scheduler's batch, else its shape."""
    prediction = call.prediction
    if prediction is None or prediction.ndim != model_output.ndim:
        return False
    return len(prediction) == 2 * len(model_output)


def _settled(step: GuidanceStep, predictions: list[tuple[Branch, torch.Tensor]]) -> GuidanceStep:
    """A step whose branches predict the very same is guided, whatever the scale: mixing them changes nothing."""
    by_branch = dict(predictions)
    joint = by_branch.get("joint")
    cond, uncond = (by_branch.get("cond"), by_branch.get("uncond")) if joint is None else joint.chunk(2)
    if step.used == "cond" and cond is not None and uncond is not None and cond.equal(uncond):
        return msgspec.structs.replace(step, used="guided")
    return step


def _batch(call: _Call) -> int:
    if "x.0" in call.shapes:  # a list of samples
        return sum(name.startswith("x.") for name in call.shapes)
    for name in ("hidden_states", "sample"):
        if call.shapes.get(name):
            return call.shapes[name][0]
    return next((shape[0] for shape in call.shapes.values() if shape), 1)
