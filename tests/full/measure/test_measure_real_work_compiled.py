"""The work of what is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    new_mini,
    observe,
)

from pytest_diffbench.pipelines.tuned import is_compiled

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation

pytestmark = pytest.mark.pipeline


def compiled(how: str) -> Any:
    pipeline = new_mini("flux")
    if how == "method":
        pipeline.transformer.compile(backend="eager")
    elif how == "wrapper":
        pipeline.transformer = torch.compile(pipeline.transformer, backend="eager")
    elif how == "forward":
        pipeline.transformer.forward = torch.compile(pipeline.transformer.forward, backend="eager")
    else:
        for layer in pipeline.transformer.transformer_blocks:
            layer.compile(backend="eager")
    return pipeline


@pytest.fixture(scope="module")
def uncompiled() -> Observation:
    return observe(mini("flux"), PROMPT, **SMALL)


@pytest.mark.filterwarnings("error:Using `torch.compile")
@pytest.mark.parametrize("how", ["method", "wrapper", "forward", "blocks"])
def test_measuring_what_is_compiled_compiles_nothing(how: str, uncompiled: Observation) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    pipeline = compiled(how)
    assert is_compiled(pipeline.transformer)
    assert not is_compiled(pipeline.vae)
    pipeline(PROMPT, **SMALL)  # compiles
    before = {name: dict(counters[name]) for name in ("stats", "frames", "recompiles", "graph_break")}
    observation = observe(pipeline, PROMPT, rounds=2, **SMALL)
    pipeline(PROMPT, **SMALL)
    assert {name: dict(counters[name]) for name in before} == before
    assert observation.work is not None
    assert uncompiled.work is not None
    assert observation.work.operators == uncompiled.work.operators
    # compiled modules are called in another way, and their code as it is
    assert msgspec.structs.replace(observation.work, python_calls={}, engagements=()) == msgspec.structs.replace(
        uncompiled.work, python_calls={}
    )
    assert {engagement.kind for engagement in observation.work.engagements} == {"compile"}
    assert observation.guidance == uncompiled.guidance
    assert observation.output is not None
    assert observation.output.rerun.identical
    assert observation.layers is None
    assert any("compiled" in note for note in observation.notes)
    assert [len(timed.steps_s) for timed in observation.run.rounds] == [2, 2]
