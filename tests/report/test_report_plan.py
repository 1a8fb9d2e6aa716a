"""A plan as a table, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pytest_diffbench.records import (
    CallGroup,
    Guidance,
    GuidanceStep,
    PartPlan,
    PipelinePlan,
    Roofline,
    Work,
    as_json,
)
from pytest_diffbench.report.lines import plain, width_of
from pytest_diffbench.report.plan import plan_lines

TERA = 10**12


def part(name: str, flops: int, **changed: Any) -> PartPlan:
    fields: dict[str, Any] = {
        "calls": 2,
        "attention_flops": flops // 4,
        "parameters": 4_762_310_656,
        "weights_bytes": 9_524_621_312,
        "activations_peak_bytes": 478 << 20,
        "roofline_s": 1.5,
    }
    return PartPlan(name=name, flops=flops, **fields | changed)


def a_plan(**changed: Any) -> PipelinePlan:
    group = CallGroup(component="transformer", branch="cond", batch=1, shapes={}, flops=22 * TERA, steps="0-29")
    step = GuidanceStep(branches=("cond", "uncond"), used="guided", sign=0)
    fields: dict[str, Any] = {
        "source": "lumina2",
        "pipeline": "Lumina2Pipeline",
        "dtype": "bfloat16",
        "arguments": {"prompt": "a large red circle on a blue background", "height": 1024, "width": 1024},
        "work": Work(
            steps=30,
            denoiser=(group, msgspec.structs.replace(group, branch="uncond", steps="0-14")),
            component_calls={"text_encoder_2": 2, "transformer": 45},
            flops={"text_encoder_2": 4_844_723_109_888, "transformer": 990 * TERA},
            parameters={},
            attention_parameters={},
        ),
        "guidance": Guidance(pipeline="Lumina2Pipeline", arguments={}, dtype_eps=0.0078125, steps=(step,) * 15),
        "parts": (
            part("text_encoder_2", 4_844_723_109_888, text_tokens=38),
            part("transformer", 990 * TERA),
            part("pipeline", 0, calls=1, parameters=None, weights_bytes=None, attention_flops=0, roofline_s=0.0002),
        ),
        "tokens": {"transformer cond": 4134, "transformer uncond": 4097},
        "roofline": Roofline(
            device="NVIDIA H100 SXM",
            flops_per_s_16=989.4e12,
            flops_per_s_32=66.9e12,
            bytes_per_s=3.35e12,
            memory_bytes=80 * 10**9,
            source="a datasheet",
        ),
        "software": {"torch": "2.13.0+cpu"},
    }
    return PipelinePlan(**fields | changed)


@pytest.mark.parametrize("roofline", [True, False])
def test_the_plan_fits_into_eighty_columns(roofline: bool) -> None:
    plan = a_plan(notes=("safety_checker is left out: it looks at pixels, which a plan doesn't have",))
    if not roofline:
        parts = tuple(msgspec.structs.replace(part, roofline_s=None) for part in plan.parts)
        plan = msgspec.structs.replace(plan, roofline=None, parts=parts)
    lines = plan_lines(plan, 80)
    assert max(width_of(line) for line in lines) <= 80
    assert ("roofline" in plain(lines)) == roofline


def test_the_plan_lists_calls_tokens_work_and_memory() -> None:
    text = plain(plan_lines(a_plan(), 80))
    for row in (
        "transformer cond       30  0-29    4,134  22.00 TFLOP",
        "transformer uncond     15  0-14    4,097  22.00 TFLOP",
        "45 denoiser calls in 30 steps, 15 of them guided",
        "text_encoder_2      2  4.845 T   25 %  4.76 B  8.87 GiB      478 MiB   1.500 s",
        "work         994.8 TFLOP",
        "weights      17.7 GiB",
        "activations  478 MiB, an estimate: large tensors alive at once",
        "roofline     3.000 s on NVIDIA H100 SXM, a bound, not a prediction",
    ):
        assert row in text


def test_the_plan_says_when_a_device_is_too_small() -> None:
    roofline = a_plan().roofline
    assert roofline is not None
    small = msgspec.structs.replace(roofline, device="a small one", memory_bytes=8 * 10**9)
    words = " ".join(plain(plan_lines(a_plan(roofline=small), 80)).split())
    assert "more than the 7.45 GiB of a small one" in words
    assert "more than" not in plain(plan_lines(a_plan(), 80))


def test_json_holds_the_record() -> None:
    assert msgspec.json.decode(as_json(a_plan()), type=PipelinePlan) == a_plan()
    assert json.loads(as_json(a_plan()))["schema"] == 1


def test_times_add_up_only_where_all_are_known() -> None:
    plan = a_plan()
    assert plan.roofline_s == pytest.approx(3.0002)
    untimed = (*plan.parts[:2], msgspec.structs.replace(plan.parts[2], roofline_s=None))
    assert msgspec.structs.replace(plan, parts=untimed).roofline_s is None
