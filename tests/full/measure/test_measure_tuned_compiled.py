"""Compiled, offloaded and tiled pipelines, measured."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pytest_diffbench.outputs.pixels import psnr_db
from pytest_diffbench.pipelines.tuned import resolved

if TYPE_CHECKING:
    from pathlib import Path

from test_measure_tuned import (
    assert_same_work,
    calls,
    load,
    measured,
    plain,  # noqa: F401 - a fixture
    saved,  # noqa: F401 - a fixture
    spec_of,
)

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def eager_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile with torch's own tracer and no code generator behind it, which takes a minute for each model."""
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend="eager"))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["flux", "lumina2"])
def test_offload_by_groups_changes_nothing_but_the_place(saved: Path, plain: Any, name: str) -> None:
    pipeline = load(spec_of(name, offload="group"), saved)
    hooked = [module for module in pipeline.transformer.modules() if getattr(module, "_diffusers_hook", None)]
    assert len(hooked) > 1
    observation, picture = measured(pipeline)
    assert_same_work(observation, plain[name][0])
    assert np.array_equal(picture, plain[name][1])


@pytest.mark.parametrize(("name", "how"), [("flux", "regional"), ("flux", "whole"), ("lumina2", "whole")])
def test_compiling_changes_neither_work_nor_guidance(
    saved: Path, plain: Any, eager_compiler: None, name: str, how: str
) -> None:
    pipeline = load(spec_of(name, compile=how), saved)
    compiled = [part for part in pipeline.transformer.modules() if part._compiled_call_impl is not None]
    assert (compiled == [pipeline.transformer]) is (how == "whole")
    observation, picture = measured(pipeline)
    assert observation.run.warmup is not None
    assert observation.run.warmup.compile_s is not None
    assert_same_work(observation, plain[name][0])
    assert psnr_db(picture, plain[name][1]) > 40


def test_tiles_cost_more_and_paint_nearly_the_same_picture(saved: Path) -> None:
    large: dict[str, Any] = {"height": 192, "width": 192}  # the tiny decoder's tiles are of 128 px
    spec = spec_of("lumina2", vae_tiling=True)
    pipeline = load(spec, saved)
    assert resolved(pipeline, spec) == {"vae_tiling": True}
    observation, picture = measured(pipeline, **large)
    pipeline.vae.disable_tiling()
    whole, expected = measured(pipeline, **large)
    assert observation.run.environment.software["vae.use_tiling"] is True
    assert "vae.use_tiling" not in whole.run.environment.software
    assert observation.work is not None
    assert whole.work is not None
    assert calls(observation) == calls(whole)
    assert observation.work.component_calls == whole.work.component_calls
    # Overlaps are decoded twice or four times; the mid block's attention sees its tile alone.
    assert observation.work.flops["vae.decode"] > whole.work.flops["vae.decode"]
    assert observation.work.flops["transformer"] == whole.work.flops["transformer"]
    assert 20 < psnr_db(picture, expected) < 80


def test_a_compiled_pipeline_with_a_cache_is_measured_too(saved: Path, plain: Any, eager_compiler: None) -> None:
    observation, _ = measured(load(spec_of("flux", cache="first-block:100", compile="regional"), saved))
    assert observation.work is not None
    assert calls(observation) == calls(plain["flux"][0])
    assert observation.work.flops["transformer"] < plain["flux"][0].work.flops["transformer"]
