"""Small steps of recordings, maps and tensors: each accepted, and told together when they are saved."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import returned_parts as returned
from store_builders import make_artifacts, make_case, make_environment, make_observation, make_run

from pytest_diffbench.judge import Limits
from pytest_diffbench.outputs.kinds import KINDS, PART_METRICS
from pytest_diffbench.records import GATES
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.session import saving
from pytest_diffbench.store import Store
from pytest_diffbench.store.checking import check

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STEP_REL = 0.008
"""Of the limit's 1 %."""

STEPS = 7


def vectors(count: int = 16) -> NDArray[Any]:
    return np.random.default_rng(3).normal(size=(1, count, 64)).astype(np.float32)


CASES: dict[str, tuple[str, NDArray[Any], str]] = {
    "audio": ("audios", returned.recording()[None], "SNR of audio 'audios' at most"),
    "map": ("prediction", returned.depth(), "RMS difference over the range of map 'prediction' at least"),
    "latents": ("latents", returned.latents(), "distance of latents 'latents' at least"),
    "embeddings": ("image_embeds", vectors(), "distance of embeddings 'image_embeds' at least"),
    "tensor": ("0", vectors(), "distance of tensor '0' at least"),
    "small": ("0", vectors(2), "distance of tensor '0' at least"),
}
"""By the kind: field, what it holds, and what is told of it."""


def moved(content: NDArray[Any], steps: int, seed: int = 1) -> NDArray[Any]:
    """The same, so many steps away in one direction."""
    drawn = np.random.default_rng(seed).normal(size=content.shape)
    drawn /= np.sqrt(np.square(drawn).mean())
    size = content.std() if content.ndim != 4 or content.shape[-1] != 1 else np.ptp(content)
    return np.asarray(content + steps * STEP_REL * size * drawn, dtype=content.dtype)


def in_cells(content: NDArray[Any], steps: int) -> NDArray[Any]:
    """A map so many steps away, at one end more than at the other: noise has no mean in a cell."""
    slope = np.linspace(-1, 1, content.shape[1])[None, :, None, None]
    return np.asarray(content + steps * STEP_REL * np.ptp(content) * slope / np.sqrt(np.square(slope).mean()))


class Saver:
    """Saves one result after another, and says what was told of each."""

    def __init__(self, root: Path, field: str) -> None:
        self._store, self._field, self._count = Store(root), field, 0

    def save(self, content: NDArray[Any]) -> saving.Saved:
        self._count += 1
        parts = returned.read(self._field, content)
        images = make_artifacts()
        observation = make_observation(images, run=make_run(f"run-{self._count}"))
        assert observation.output is not None
        output = msgspec.structs.replace(observation.output, parts=tuple(part.facts for part in parts))
        observation = msgspec.structs.replace(observation, output=output)
        kept = Artifacts(images.images, images.trace, tuple(part.kept.arrays for part in parts))
        reference = self._store.find(make_case(), make_environment())
        return saving.save(observation, kept, reference, Limits(), self._store, False, False, GATES, ())


@pytest.mark.parametrize("kind", CASES)
def test_seven_small_steps_are_reported_and_reruns_are_not(tmp_path: Path, kind: str) -> None:
    field, content, words = CASES[kind]
    move = in_cells if kind == "map" else moved
    results = [move(content, step) for step in range(STEPS + 1)]
    for before, after in itertools.pairwise(results):
        assert_within_a_step(field, before, after)
    saver = Saver(tmp_path / "sliding", field)
    slides = [saver.save(result).slid for result in results]
    assert slides[:2] == [None, None], "what one step does is said by the gates"
    assert slides[-1] is not None
    assert words in slides[-1]
    assert "limit per step" in slides[-1]
    still = Saver(tmp_path / "still", field)
    assert [still.save(content).slid for _ in results] == [None] * len(results)


def assert_within_a_step(field: str, before: NDArray[Any], after: NDArray[Any]) -> None:
    for old, new in zip(returned.read(field, before), returned.read(field, after), strict=True):
        for figure in KINDS[old.facts.kind].compare(new.kept, old.kept).figures:
            metric = PART_METRICS[figure.metric]
            assert metric.excess(figure.value, metric.machine) <= 1, figure


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", CASES)
def test_what_is_reported_is_never_more_than_the_output_gate_would_find(kind: str, seed: int) -> None:
    field, content, _ = CASES[kind]
    rule = KINDS["tensor" if kind == "small" else kind]
    start, other = (returned.read(field, moved(content, steps, seed))[0].kept for steps in (0, 5))
    sketches = [rule.sketch(kept) for kept in (other, start)]
    assert sketches[0] is not None
    assert sketches[1] is not None
    assert sketches[0].values.size <= 256
    whole = {figure.metric: figure.value for figure in rule.compare(other, start).figures}
    distances = rule.least_distances(sketches[0], sketches[1])
    assert distances
    for figure in distances:
        metric = PART_METRICS[figure.metric]
        assert metric.error(figure.value) <= metric.error(whole[figure.metric]) * (1 + 1e-6), figure


def test_a_different_shape_is_reported_as_such(tmp_path: Path) -> None:
    saver = Saver(tmp_path, "audios")
    slides = [saver.save(returned.recording(seconds)[None]).slid for seconds in (3.0, 2.0, 1.0)]
    assert slides[-1] is not None
    assert "outputs audio 'audios' (48,000 samples, 2 channels) -> audio 'audios' (16,000 samples" in slides[-1]


def test_a_sketch_without_figures_is_a_fault(tmp_path: Path) -> None:
    Saver(tmp_path, "latents").save(returned.latents())
    (path,) = tmp_path.glob("*/*/baseline.json")
    stored = json.loads(path.read_text("utf-8"))
    stored["origin"]["parts"][0]["values"] = []
    path.write_text(json.dumps(stored), "utf-8")
    faults = [str(fault) for checked in check(tmp_path) for fault in checked.faults]
    assert any("origin.parts[0].values is 0 figures" in fault for fault in faults), faults
