"""Caches save the work of the steps that skip it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_diffbench.records import parse_steps

if TYPE_CHECKING:
    from pathlib import Path

from test_measure_tuned import (
    calls,
    load,
    measured,
    plain,  # noqa: F401 - a fixture
    saved,  # noqa: F401 - a fixture
    spec_of,
)

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize(
    ("cache", "skipping"),
    [
        ("first-block:100", {1, 2, 3, 4, 5}),
        ("pyramid:spatial_attention_block_skip_range=2", None),
        ("faster", None),
        ("taylorseer:cache_interval=3,disable_cache_before_step=2", {2, 4, 5}),  # it refreshes at 3
    ],
)
def test_a_cache_saves_flops_in_skipped_steps(saved: Path, plain: Any, cache: str, skipping: set[int] | None) -> None:
    spec = spec_of("flux", cache=cache)
    pipeline = load(spec, saved)
    observation, picture = measured(pipeline)
    assert observation.work is not None
    assert calls(observation) == calls(plain["flux"][0]), "blocks are skipped, and not calls"
    groups = {group.flops: set(parse_steps(group.steps)) for group in observation.work.denoiser}
    whole = plain["flux"][0].work.denoiser[0].flops
    assert max(groups) == whole
    assert 0 in groups[whole], "the first step has nothing to reuse, also in a call that comes after others"
    saved_in = set().union(*(steps for flops, steps in groups.items() if flops < whole))
    assert saved_in
    if skipping is not None:
        assert saved_in == skipping
    assert not np.array_equal(picture, plain["flux"][1])
    again, same_picture = measured(pipeline)
    assert again.work == observation.work
    assert np.array_equal(picture, same_picture)
