"""From a planned call to the record of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.components import count_parameters, modules_of
from pytest_diffbench.measure.environment import environment_of
from pytest_diffbench.measure.guidance import call_class_of
from pytest_diffbench.measure.survey import OUTSIDE
from pytest_diffbench.plan.planning import Part, plan_call
from pytest_diffbench.records import PartPlan, PipelinePlan, Roofline
from pytest_diffbench.records.peaks import peak_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from pytest_diffbench.records import Fact


def plan_of(
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    source: str,
    dtype: str,
    device: str | None = None,
    notes: tuple[str, ...] = (),
) -> PipelinePlan:
    """Plan a call.

    Args:
        target: a pipeline with blank weights.
        arguments: of the call, by name.
        source: what the pipeline was built from.
        dtype: of its parameters.
        device: to derive least times for, as `peaks.peak_named` takes it; None for none.
        notes: what is left out.

    Raises:
        MeasureError: the pipeline doesn't take the arguments, or the device isn't known.
        NotPlannableError: it reads values that aren't there.
    """
    definition.bind(target, (), arguments)
    peak = peak_named(device) if device is not None else None
    survey, _, _ = plan_call(target, (), arguments, seed=0)
    work = survey.work()
    modules = modules_of(target)
    facts = definition.resolved_facts(target, arguments)

    untold = dict(modules)

    def part_of(name: str, part: Part) -> PartPlan:
        module = untold.pop(name.partition(".")[0], None)  # the weights of one that is called in two ways count once
        return PartPlan(
            name=name,
            calls=1 if name == OUTSIDE else work.component_calls.get(name, 0),
            flops=part.tally.flops,
            attention_flops=part.tally.attention_flops,
            parameters=count_parameters(module) if module is not None else None,
            weights_bytes=_weights_bytes(module) if module is not None else None,
            activations_peak_bytes=part.peak_bytes,
            text_tokens=part.text_tokens or None,
            roofline_s=part.tally.roofline_s(peak) if peak is not None else None,
        )

    return PipelinePlan(
        source=source,
        pipeline=definition.name_of(target),
        dtype=dtype,
        arguments=describe(dict(arguments)),
        work=work,
        guidance=survey.guidance(definition.name_of(target), facts, call_class_of(target)),
        parts=(
            *(part_of(name, part) for name, part in survey.parts.items()),
            *(part_of(name, Part()) for name in tuple(untold)),
        ),
        tokens={f"{component} {branch}": count for (component, branch), count in survey.tokens.items()},
        roofline=Roofline(
            device=peak.name,
            flops_per_s_16=peak.flops_per_s_16,
            flops_per_s_32=peak.flops_per_s_32,
            bytes_per_s=peak.bytes_per_s,
            memory_bytes=peak.memory_bytes,
            source=peak.source,
        )
        if peak is not None
        else None,
        software=planned_software(target),
        notes=(*notes, *_unseen(work)),
    )


def planned_software(target: object) -> dict[str, Fact]:
    """Versions of the libraries whose code a plan runs: all that its figures depend on."""
    software = environment_of("cpu", target).software
    names = ("torch", "diffusers", "transformers", "pytest-diffbench", "scheduler")
    return {name: software[name] for name in names if name in software}


def _unseen(work: Any) -> tuple[str, ...]:
    missing = []
    if not work.denoiser:
        missing.append("no denoiser call was observed")
    if not work.steps:
        missing.append("no scheduler step was observed")
    return tuple(missing)


def _weights_bytes(module: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.dtype.itemsize for parameter in module.parameters())
