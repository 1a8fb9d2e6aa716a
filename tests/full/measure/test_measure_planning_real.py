"""A plan sees the work that a real run does, for each kind of pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import guidance_pipelines as tiny
import msgspec
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    pass
from test_measure_planning import SMALL, planned, without_weights

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]


CASES: list[tuple[str, dict[str, Any]]] = [
    ("lumina2", {}),
    ("lumina2", {"cfg_trunc_ratio": 0.5, "cfg_normalization": False}),
    ("lumina2", {"guidance_scale": 1.0}),
    ("lumina2", {"prompt": ["a cat", "two green dogs and a house"]}),
    ("flux", {}),
    ("flux", {"true_cfg_scale": 2.0, "negative_prompt": "ugly"}),
    ("stable_diffusion", {}),
    ("stable_diffusion", {"guidance_scale": 1.0}),
    ("stable_diffusion", {"num_images_per_prompt": 2, "guidance_rescale": 0.7}),
    ("stable_diffusion_xl", {"negative_prompt": "ugly"}),
    ("stable_diffusion_3", {}),
    ("stable_diffusion_3", {"negative_prompt": tiny.PROMPT}),
    ("qwen_image", {"true_cfg_scale": 4.0, "negative_prompt": "ugly"}),
    ("z_image", {}),
]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_a_plan_sees_the_work_of_a_real_run(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    pipeline = getattr(tiny, name)()
    real = tiny.observed(pipeline, **SMALL | arguments)
    plan = planned(without_weights(pipeline, tmp_path), **arguments)
    assert real.work is not None
    assert plan.work == msgspec.structs.replace(real.work, operators={}, python_calls={})
    assert real.guidance is not None
    assert plan.guidance is not None
    assert [(step.branches, step.used) for step in plan.guidance.steps] == [
        (step.branches, step.used) for step in real.guidance.steps
    ]
    assert plan.guidance.arguments == real.guidance.arguments
