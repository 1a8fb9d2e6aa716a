"""Images and traces on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save as save_safetensors
from store_builders import make_artifacts, make_case, make_environment, make_image, make_observation

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records.artifacts import Artifacts, Reference
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store
from pytest_diffbench.store.arrays import damage as seen_at_a_glance
from pytest_diffbench.store.arrays import decode_png, encode_image

if TYPE_CHECKING:
    from collections.abc import Callable

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"


def stored(root: Path, artifacts: Artifacts) -> tuple[Path, Reference]:
    store = Store(root)
    assert saved_text(store.save(make_observation(artifacts), artifacts, None, False)) == "created"
    reference = store.find(make_case(), make_environment())
    assert reference is not None
    return Path(reference.path), reference


def refused(reference: Reference) -> BaselineError:
    with pytest.raises(BaselineError) as caught:
        reference.artifacts()
    return caught.value


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4), (1, 1), (1, 1, 3)])
def test_images_come_back_bit_by_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    artifacts = make_artifacts(shape=shape, images=3)
    _, reference = stored(tmp_path, artifacts)
    read = reference.artifacts()
    assert len(read.images) == 3
    for before, after in zip(artifacts.images, read.images, strict=True):
        assert after.dtype == np.uint8
        assert after.shape == before.shape
        assert np.array_equal(before, after)


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 1), (64, 48, 3), (64, 48, 4)])
def test_a_quick_file_holds_the_same_pixels_and_is_no_larger(shape: tuple[int, ...]) -> None:
    grain = np.random.default_rng(0).integers(0, 8, shape)
    image = (grain + np.arange(64).reshape(64, *[1] * (len(shape) - 1))).astype(np.uint8)
    small, quick = (encode_image(image, Path("image.png"), quick=quick) for quick in (False, True))
    assert np.array_equal(decode_png(quick, Path("image.png"))[1].reshape(shape), image)
    assert small != quick
    assert len(quick) < 1.02 * len(small)


def test_trace_comes_back_bit_by_bit(tmp_path: Path) -> None:
    trace = {
        "latents/final": np.array([[1e-45, -0.0], [3.4e38, 1 / 3]], dtype=np.float32),
        "text/0": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.array(1.5, dtype=np.float32),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "every other": np.arange(8, dtype=np.float32)[::2],
    }
    _, reference = stored(tmp_path, dataclasses.replace(make_artifacts(), trace=trace))
    read = reference.artifacts().trace
    assert read.keys() == trace.keys()
    for name, array in trace.items():
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()


def test_no_images_and_no_trace(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, Artifacts())
    assert reference.artifacts() == Artifacts()
    assert sorted(path.name for path in folder.iterdir()) == ["baseline.json", "trace.safetensors"]


def test_artifacts_are_read_on_demand(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    (folder / "image-0.png").unlink()
    error = refused(reference)
    assert error.path == folder / "image-0.png"
    assert error.problem == "is missing"


@pytest.mark.parametrize(
    ("name", "damage", "problem", "remedy"),
    [
        ("image-0.png", lambda data: POINTER, "holds no data", "`git lfs pull`"),
        ("trace.safetensors", lambda data: POINTER, "holds no data", "`git lfs pull`"),
        ("image-0.png", lambda data: b"", "is empty", "version control"),
        ("trace.safetensors", lambda data: b"", "is empty", "version control"),
        ("image-0.png", lambda data: data[: len(data) // 2], "doesn't decode as PNG", "version control"),
        ("image-0.png", lambda data: b"not a picture", "PNG: it doesn't begin like one", "version control"),
        ("trace.safetensors", lambda data: data[:-1], "doesn't decode as safetensors", "version control"),
        ("trace.safetensors", lambda data: data[:5], "doesn't decode as safetensors", "version control"),
    ],
)
def test_damaged_files(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], problem: str, remedy: str
) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    assert seen_at_a_glance(folder, reference.baseline) == ()
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    error = refused(reference)
    assert error.path == folder / name
    assert problem in error.problem
    assert remedy in error.remedy
    (seen,) = seen_at_a_glance(folder, reference.baseline)
    assert seen.path == folder / name
    assert remedy in seen.remedy


@pytest.mark.parametrize("name", ["image-0.png", "trace.safetensors"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_is_refused_or_harmless(tmp_path: Path, name: str, data: st.DataObject) -> None:
    artifacts = make_artifacts()
    folder = tmp_path / "cpu-model-2c"
    path = next(folder.rglob(name)) if folder.exists() else stored(tmp_path, artifacts)[0] / name
    reference = Store(tmp_path).load(path.parent)
    intact = path.read_bytes()
    broken = bytearray(intact)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(broken)
    blamed: object = None
    try:
        read = reference.artifacts()
    except BaselineError as error:
        blamed = error.path
    finally:
        path.write_bytes(intact)
    if blamed is None:
        assert np.array_equal(read.images[0], artifacts.images[0])
        assert all(np.isfinite(array).all() for array in read.trace.values())
    else:
        assert blamed == path


def test_image_other_than_the_accepted_image(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    other = make_image()
    other[0, 0, 0] ^= 1
    Image.fromarray(other).save(folder / "image-0.png")
    error = refused(reference)
    assert "isn't the accepted image" in error.problem
    assert reference.baseline.output is not None
    assert reference.baseline.output.images[0].digest in error.problem


def test_image_of_a_different_mode(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    Image.fromarray(make_image()).convert("L").save(folder / "image-0.png")
    assert refused(reference).problem == "is of mode L, but RGB was accepted"


def test_other_image_formats_are_refused(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    Image.fromarray(make_image()).save(folder / "image-0.png", format="BMP")
    assert "doesn't decode as PNG" in refused(reference).problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_trace_is_neither_read_nor_written(tmp_path: Path, value: float) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    bad = np.array([0, value], dtype=np.float32)
    (folder / "trace.safetensors").write_bytes(save_safetensors({"text/0": bad}, metadata={"generation": "1"}))
    assert f"text/0[1] is {value}" in refused(reference).problem
    artifacts = dataclasses.replace(make_artifacts(), trace={"text/0": bad})
    with pytest.raises(BaselineError, match="a trace must be finite"):
        Store(tmp_path / "other").save(make_observation(artifacts), artifacts, None, False)
    assert not (tmp_path / "other").exists()


def test_trace_of_a_different_dtype_or_generation(tmp_path: Path) -> None:
    folder, reference = stored(tmp_path, make_artifacts())
    path = folder / "trace.safetensors"
    path.write_bytes(save_safetensors({"text/0": np.zeros(3)}, metadata={"generation": "1"}))
    assert "text/0 is of dtype float64" in refused(reference).problem
    path.write_bytes(save_safetensors({}, metadata={"generation": "2"}))
    assert refused(reference).problem == "is of generation 2, but baseline.json is of generation 1"
    path.write_bytes(save_safetensors({}))
    assert "is of generation None" in refused(reference).problem


@pytest.mark.parametrize("shape", [(6,), (6, 5, 2), (1, 6, 5, 3)])
def test_arrays_other_than_images_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    bad = make_image(shape=shape)
    observation = make_observation(make_artifacts())
    assert observation.output is not None
    facts = msgspec.structs.replace(observation.output.images[0], digest=image_digest(bad))
    output = msgspec.structs.replace(observation.output, images=(facts,))
    with pytest.raises(BaselineError, match="isn't an image") as caught:
        Store(tmp_path).save(msgspec.structs.replace(observation, output=output), Artifacts((bad,)), None, False)
    assert str(shape) in caught.value.problem
    assert not list(tmp_path.iterdir())
