"""Accepting runs: what is added, what starts a new generation, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from store_builders import (
    make_artifacts,
    make_case,
    make_environment,
    make_observation,
    make_output,
    make_run,
    make_work,
)

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.judge import Limits
from pytest_diffbench.records import GATES, Guidance, GuidanceStep, Memory, Output, RerunNoise, StageMemory
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.session import saving
from pytest_diffbench.store import Store, case_folder

if TYPE_CHECKING:
    from pytest_diffbench.records.artifacts import Artifacts, Reference

OLD = make_artifacts(7)
NEW = make_artifacts(99)


def reference_in(store: Store) -> Reference:
    reference = store.find(make_case(), make_environment())
    assert reference is not None
    return reference


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def save(
    store: Store, artifacts: Artifacts, run_id: str, previous: Reference | None, unchanged: bool, **changes: Any
) -> str:
    observation = make_observation(artifacts, run=make_run(run_id), **changes)
    return saved_text(store.save(observation, artifacts, previous, unchanged))


def test_accepted_guidance_is_the_measure_of_the_next_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "baselines")
    steps = {
        "unread": GuidanceStep(branches=("unknown",), used="unknown", sign=0),
        "mix": GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(7.5, -6.0, -0.5)),
    }

    def saved(run_id: str, step: str) -> str:
        guidance = Guidance(pipeline="OwnPipeline", arguments={}, dtype_eps=2**-23, steps=(steps[step],))
        observation = make_observation(OLD, run=make_run(run_id), guidance=guidance)
        reference = store.find(make_case(), make_environment())
        done = saving.save(observation, OLD, reference, Limits(), store, False, False, GATES, ())
        return saved_text(done.done) if done.done is not None else ""

    assert saved("run-1", "unread") == "created"
    assert saved("run-2", "mix") == "new generation 2", "what is newly read replaces what wasn't"
    assert saved("run-3", "mix") == "added run 2"
    assert saved("run-4", "unread") == "new generation 3", "so does what no longer is"


def test_a_run_brings_what_an_older_baseline_did_not_count(tmp_path: Path) -> None:
    """The work is the same: what it is made of belongs to it, whoever counted it first."""
    store = Store(tmp_path / "baselines")
    save(store, OLD, "run-1", None, False)
    counts: dict[str, Any] = {
        "operators": {"transformer": {"addmm": 3}},
        "python_calls": {"transformer": 9},
        "compiled": {"graphs": 1},
    }

    def stage(workspace_bytes: int) -> Memory:
        measured_stage = StageMemory(peak_bytes=1 << 28, workspace_bytes=workspace_bytes)
        return Memory(source="process_rss", peak_bytes=1, stages={"denoise": measured_stage})

    counted = msgspec.structs.replace(make_work(), **counts)
    assert save(store, OLD, "run-2", reference_in(store), True, work=counted, memory=stage(7)) == "added run 2"
    kept = reference_in(store).baseline
    assert kept.work == counted
    assert kept.memory is not None
    assert kept.memory.stages["denoise"] == StageMemory(peak_bytes=1 << 29, workspace_bytes=7)
    later = msgspec.structs.replace(counted, operators={"transformer": {"addmm": 2}})
    save(store, OLD, "run-3", reference_in(store), True, work=later, memory=stage(8))
    assert msgspec.structs.replace(reference_in(store).baseline, runs=kept.runs) == kept, "what was counted stays"


def test_life_of_a_baseline(tmp_path: Path) -> None:
    store = Store(tmp_path / "baselines")
    assert save(store, OLD, "run-1", None, False) == "created"
    first = reference_in(store)
    assert first.distance == "machine"
    assert first.baseline.generation == 1
    assert first.baseline.work == make_work()
    assert first.baseline.output == make_output(OLD)
    before = files(tmp_path)

    assert save(store, NEW, "run-2", first, True, memory=Memory(source="process_rss", peak_bytes=1)) == "added run 2"
    second = reference_in(store)
    assert [run.id for run in second.baseline.runs] == ["run-1", "run-2"]
    assert msgspec.structs.replace(second.baseline, runs=first.baseline.runs) == first.baseline
    after = files(tmp_path)
    assert [name for name in before if before[name] != after[name]] == [
        f"baselines/cpu-model-2c/{case_folder(make_case())}/baseline.json"
    ]

    assert save(store, NEW, "run-3", second, False, work=make_work(5)) == "new generation 2"
    third = reference_in(store)
    assert third.baseline.generation == 2
    assert [run.id for run in third.baseline.runs] == ["run-3"]
    assert third.baseline.work == make_work(5)
    assert np.array_equal(third.artifacts().images[0], NEW.images[0])
    assert np.array_equal(third.artifacts().trace["latents/0"], NEW.trace["latents/0"])
    assert sorted(Path(name).name for name in files(tmp_path)) == [
        "baseline.json",
        "image-0.png",
        "trace.safetensors",
    ]


def test_twenty_newest_runs_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, OLD, "run-0", None, False)
    said = [save(store, OLD, f"run-{index}", reference_in(store), True) for index in range(1, 24)]
    assert said[18:] == ["added run 20"] * 5
    assert [run.id for run in reference_in(store).baseline.runs] == [f"run-{index}" for index in range(4, 24)]


@pytest.mark.parametrize("distance", ["family", "any"])
@pytest.mark.parametrize("unchanged", [True, False])
def test_baseline_of_a_different_machine_is_never_added_to(tmp_path: Path, distance: Any, unchanged: bool) -> None:
    store = Store(tmp_path)
    family = "cpu" if distance == "family" else "cuda"
    elsewhere = make_observation(OLD, run=make_run(environment=make_environment("another", family)))
    store.save(elsewhere, OLD, None, False)
    before = files(tmp_path)
    previous = reference_in(store)
    assert previous.distance == distance
    assert save(store, OLD, "run-1", previous, unchanged) == "created"
    assert reference_in(store).distance == "machine"
    assert reference_in(store).baseline.generation == 1
    assert before.items() <= files(tmp_path).items()


def test_fewer_images_leave_no_old_images(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, make_artifacts(images=3), "run-1", None, False)
    save(store, make_artifacts(images=1), "run-2", reference_in(store), False)
    names = sorted(path.name for path in Path(reference_in(store).path).iterdir())
    assert names == ["baseline.json", "image-0.png", "trace.safetensors"]


def test_changed_definition_is_accepted_as_a_new_generation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, OLD, "run-1", None, False)
    assert save(store, OLD, "run-2", reference_in(store), False, case=make_case(seed=9)) == "new generation 2"
    assert reference_in(store).baseline.case == make_case(seed=9)


def test_overtaken_saver_adds_the_run_to_what_is_equal(tmp_path: Path) -> None:
    # Two jobs measured the same new code, and the other one was quicker.
    store = Store(tmp_path)
    save(store, OLD, "run-1", None, False)
    assert save(store, OLD, "run-2", None, False) == "added run 2"
    previous = reference_in(store)
    assert save(store, NEW, "run-3", previous, False) == "new generation 2"
    assert save(store, NEW, "run-4", previous, False) == "added run 2"
    assert [run.id for run in reference_in(store).baseline.runs] == ["run-3", "run-4"]


@pytest.mark.parametrize(
    "changes",
    [
        {"work": make_work(5)},
        {"work": None},
        {"case": make_case(seed=9)},
        {"output": None},
        {"output": make_output(NEW)},
    ],
)
def test_overtaken_saver_with_a_different_result_starts_a_generation(tmp_path: Path, changes: dict[str, Any]) -> None:
    store = Store(tmp_path)
    save(store, OLD, "run-1", None, False)
    artifacts = OLD
    if "output" in changes:
        artifacts = NEW if changes["output"] is not None else dataclasses.replace(OLD, images=())
    assert save(store, artifacts, "run-2", None, True, **changes) == "new generation 2"


def test_rerun_noise_doesnt_part_overtaken_savers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, OLD, "run-1", None, False)
    output = msgspec.structs.replace(
        make_output(OLD), rerun=RerunNoise(rounds=2, identical=False, latents_rel=1e-7, psnr_db=90.0)
    )
    assert save(store, OLD, "run-2", None, False, output=output) == "added run 2"


def not_finite() -> Output:
    return msgspec.structs.replace(make_output(OLD), finite=False, not_finite_where="latents, step 3")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"complete": False}, "isn't complete"),
        ({"output": not_finite()}, r"isn't finite \(latents, step 3\)"),
        ({"output": make_output(NEW)}, "images have digests"),
        ({"output": None}, "images have digests"),
        ({"run": make_run(total_s=float("nan"))}, r"runs\[0\].rounds\[0\].total_s is nan"),
        ({"run": make_run(total_s=float("inf"))}, r"runs\[0\].rounds\[0\].total_s is inf"),
        ({"run": make_run(total_s=-1.0)}, r"runs\[0\].rounds\[0\].total_s is -1.0"),
        ({"memory": Memory(source="process_rss", peak_bytes=0)}, "memory.peak_bytes is 0"),
        ({"case": make_case(arguments={"sigmas": [0.5, float("nan")]})}, r"arguments.sigmas\[1\] is nan"),
        ({"case": make_case(arguments={"pipe": object()})}, "can't be written"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_what_must_not_become_a_baseline(tmp_path: Path, changes: dict[str, Any], problem: str, exists: bool) -> None:
    store = Store(tmp_path)
    previous = None
    if exists:
        save(store, OLD, "run-0", None, False)
        previous = reference_in(store)
    before = files(tmp_path)
    observation = make_observation(OLD, **changes)
    with pytest.raises(BaselineError, match=problem):
        store.save(observation, OLD, previous, False)
    assert files(tmp_path) == before
    assert exists or not list(tmp_path.iterdir())


def test_broken_baseline_isnt_replaced_in_silence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, OLD, "run-1", None, False)
    previous = reference_in(store)
    (Path(previous.path) / "baseline.json").write_bytes(b"{")
    with pytest.raises(BaselineError, match="cut short"):
        save(store, OLD, "run-2", previous, True)


def test_what_was_saved_reads_back_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    observation = make_observation(OLD)
    store.save(observation, OLD, None, False)
    baseline = reference_in(store).baseline
    for name in ("case", "work", "output", "memory", "layers"):
        assert getattr(baseline, name) == getattr(observation, name)
    assert baseline.runs == (observation.run,)
