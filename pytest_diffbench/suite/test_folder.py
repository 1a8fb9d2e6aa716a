"""Whatever pipeline a folder holds: `--diffbench-models FOLDER --pyargs pytest_diffbench.suite.test_folder`.

Height and width are the pipeline's own. Skipped where `--diffbench-models` isn't a pipeline's folder, and where the
pipeline needs more than a prompt.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench import MissingPipelineError
from pytest_diffbench.suite.expectations import PROMPT

if TYPE_CHECKING:
    from pytest_diffbench import Bench, Result

pytestmark = pytest.mark.diffbench(model="folder", weights="pretrained")

STEPS = 2
"""Few: what a step costs shows in them, and a folder may hold a model of any size."""

GUIDED, PLAIN = 4.0, 1.0


def call_of(pipeline: Any, **arguments: Any) -> dict[str, Any]:
    """Arguments of a call with the prompt, where one is taken; skips the test where there's no such call.

    Raises:
        MissingPipelineError: it can't be called without what only its owner has, such as a picture.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    call = {"prompt": PROMPT} | arguments if "prompt" in takes else arguments
    needs = [
        name
        for name, parameter in takes.items()
        if name not in call
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needs:
        raise MissingPipelineError(
            f"{type(pipeline).__name__} can't be called with {'a prompt' if 'prompt' in takes else 'nothing'} alone: "
            f"it needs {', '.join(needs)}. Write a test that passes {'it' if len(needs) == 1 else 'them'}: "
            "diffbench(diffbench_pipeline, ...), with the marker's model='folder'."
        )
    for name in call:
        if name not in takes:
            pytest.skip(f"{type(pipeline).__name__} takes no {name}")
    return call


def flops_of(result: Result) -> int:
    return sum(result.work.flops.values())


def test_default_call(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """The prompt alone: steps, guidance and size as the pipeline's authors set them."""
    result = diffbench(diffbench_pipeline, **call_of(diffbench_pipeline))
    assert result.work.denoiser_calls >= 1


@pytest.mark.parametrize("steps", [1, STEPS])
def test_steps(diffbench: Bench, diffbench_pipeline: Any, steps: int) -> None:
    """What a call costs with one step and with two: their difference is the step."""
    result = diffbench(diffbench_pipeline, **call_of(diffbench_pipeline, num_inference_steps=steps))
    assert result.work.denoiser_calls >= steps


def test_guidance(diffbench: Bench, diffbench_pipeline: Any) -> None:
    """Guidance on and off: it costs no less with it."""
    takes = inspect.signature(diffbench_pipeline.__call__).parameters
    scale = next((name for name in ("true_cfg_scale", "guidance_scale") if name in takes), None)
    if scale is None:
        pytest.skip(f"{type(diffbench_pipeline).__name__} takes no guidance scale")
    call = call_of(diffbench_pipeline, num_inference_steps=STEPS)
    scales: tuple[dict[str, Any], ...] = ({scale: GUIDED}, {scale: PLAIN})
    negative: dict[str, Any] = (
        {"negative_prompt": ""} if scale == "true_cfg_scale" and "negative_prompt" in takes else {}
    )
    on = diffbench(diffbench_pipeline, label="on", **call, **negative, **scales[0])
    off = diffbench(diffbench_pipeline, label="off", **call, **scales[1])
    assert on.guidance.guided_steps >= off.guidance.guided_steps
    assert flops_of(on) >= flops_of(off)
