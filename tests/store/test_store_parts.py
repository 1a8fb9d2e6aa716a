"""Videos, audio, maps and tensors on disk: written, read, checked, and kept beside a session's file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import returned_parts as returned
from PIL import Image
from store_builders import make_artifacts, make_case, make_environment, make_observation

from pytest_diffbench.errors import BaselineError, DiffbenchError
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store import Store, sides_of
from pytest_diffbench.store.checking import check
from pytest_diffbench.store.pictures import keep, kept

if TYPE_CHECKING:
    from pytest_diffbench.measure.returned import ReadPart
    from pytest_diffbench.records import Observation
    from pytest_diffbench.records.artifacts import Reference

PARTS = [
    *returned.read("frames", returned.film(3, 24, 32)),
    *returned.read("frames", returned.film(20, 80, 120)),
    *returned.read("audio", returned.recording(0.5)),
    *returned.read("prediction", returned.depth(16)),
    *returned.read("latents", returned.latents()),
]
FILES = [
    "baseline.json",
    "image-0.png",
    "returned-0-sketches.png",
    "returned-1-frames.png",
    "returned-1-sketches.png",
    "returned-2.png",
    "returned-2.safetensors",
    "returned-3.png",
    "returned-3.safetensors",
    "returned-4.safetensors",
    "trace.safetensors",
]


def measured(parts: list[ReadPart]) -> tuple[Observation, Artifacts]:
    artifacts = make_artifacts()
    observation = make_observation(artifacts)
    assert observation.output is not None
    output = msgspec.structs.replace(observation.output, parts=tuple(part.facts for part in parts))
    arrays = tuple(part.kept.arrays for part in parts)
    return msgspec.structs.replace(observation, output=output), Artifacts(artifacts.images, artifacts.trace, arrays)


def stored(root: Path, parts: list[ReadPart]) -> tuple[Path, Reference]:
    store = Store(root)
    observation, artifacts = measured(parts)
    store.save(observation, artifacts, store.find(make_case(), make_environment()), False)
    reference = store.find(make_case(), make_environment())
    assert reference is not None
    return Path(reference.path), reference


def faults(root: Path) -> list[str]:
    return [str(fault) for checked in check(root) for fault in checked.faults]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_equal(read: Any, written: Any) -> None:
    assert [sorted(part) for part in read] == [sorted(part) for part in written]
    for part, other in zip(read, written, strict=True):
        for name, array in part.items():
            assert array.dtype == other[name].dtype
            np.testing.assert_array_equal(array, other[name])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, PARTS)
    assert names(folder) == FILES
    assert_equal(reference.artifacts().parts, [part.kept.arrays for part in PARTS])
    assert faults(tmp_path) == []


def test_frames_are_stacked_in_a_picture_for_any_viewer(tmp_path: Path) -> None:
    folder, _ = stored(tmp_path, PARTS)
    with Image.open(folder / "returned-1-frames.png") as strip:
        assert strip.size == (120, 9 * 80)
    with Image.open(folder / "returned-2.png") as waveform:
        assert waveform.size == (800, 2 * 120)


def test_a_new_generation_leaves_nothing_of_the_old_generation(tmp_path: Path) -> None:
    stored(tmp_path, PARTS)
    folder, reference = stored(tmp_path, PARTS[4:])
    assert reference.baseline.generation == 2
    assert names(folder) == ["baseline.json", "image-0.png", "returned-0.safetensors", "trace.safetensors"]


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("returned") and name not in FILES[5:8:2]])
@pytest.mark.parametrize("how", ["gone", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, how: str) -> None:
    folder, reference = stored(tmp_path / "here", PARTS)
    other = [
        *returned.read("frames", returned.film(3, 24, 32) / 2),
        *returned.read("frames", returned.film(20, 80, 120) / 2),
    ]
    other += [*returned.read("audio", -returned.recording(0.5)), *returned.read("prediction", -returned.depth(16))]
    there, _ = stored(tmp_path / "there", [*other, *returned.read("latents", -returned.latents())])
    if how == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((there / name).read_bytes())
    with pytest.raises(BaselineError, match=name.replace(".", r"\.") if how == "gone" else "returned-"):
        reference.artifacts()
    assert faults(tmp_path / "here")


def test_only_what_was_measured_is_saved(tmp_path: Path) -> None:
    observation, _ = measured(PARTS)
    _, artifacts = measured(PARTS[1:])
    with pytest.raises(BaselineError, match="other parts"):
        Store(tmp_path).save(observation, artifacts, None, False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"defects": []', '"defects": ["not_finite"]', "says that all is finite"),
        ('"kept_pieces": [0', '"kept_pieces": [99', "it has 3 pieces"),
        ('"unrecognised": null', '"unrecognised": "str"', "output holds images or parts"),
    ],
)
def test_a_self_contradicting_record_is_a_fault(tmp_path: Path, before: str, after: str, words: str) -> None:
    folder, _ = stored(tmp_path, PARTS[:1])
    text = (folder / "baseline.json").read_text()
    (folder / "baseline.json").write_text(re.sub(re.escape(before).replace(r"\[0", r"\[\s*0"), after, text))
    assert any(words in fault for fault in faults(tmp_path))


def test_what_is_kept_beside_a_session_is_located_by_digest(tmp_path: Path) -> None:
    observation, artifacts = measured(PARTS)
    keep(tmp_path, observation.output, artifacts)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    keep(tmp_path, observation.output, artifacts)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    kept_artifacts = kept([tmp_path], observation.case, observation.output)
    assert_equal(kept_artifacts.parts, artifacts.parts)
    path = next(tmp_path.glob("*-sketches.png"))
    path.write_bytes(next(tmp_path.glob("*-frames.png")).read_bytes())
    with pytest.raises(DiffbenchError, match="isn't what was returned"):
        kept([tmp_path], observation.case, observation.output)
    path.unlink()
    assert sum(bool(part) for part in kept([tmp_path], observation.case, observation.output).parts) == len(PARTS) - 1


def test_a_case_without_a_result_is_shown_beside_the_baseline(tmp_path: Path) -> None:
    stored(tmp_path, PARTS)
    observation, artifacts = measured(PARTS)
    sides = sides_of([], msgspec.structs.replace(observation, output=None), Store(tmp_path))
    assert (sides.now.images, sides.now.parts) == ((), ())
    assert_equal(sides.base.parts, artifacts.parts)


def test_what_is_kept_is_located_in_baselines_too(tmp_path: Path) -> None:
    stored(tmp_path, PARTS)
    observation, artifacts = measured(PARTS)
    assert_equal(kept([tmp_path], observation.case, observation.output).parts, artifacts.parts)
