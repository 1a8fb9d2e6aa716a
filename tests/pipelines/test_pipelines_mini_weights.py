"""The minis' weights in the package: whole, small, and refused with a remedy where they are missing or damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines import mini
from pytest_diffbench.pipelines.mini import CHECKSUMS, build_mini, revision
from pytest_diffbench.pipelines.registry import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIPPED = Path(str(mini._folder()))
WEIGHTS = sorted(SHIPPED.glob("*.safetensors"))
USED = sorted({file for model in MODELS.values() for file in model.mini.values()})
REMEDY = "Reinstall pytest-diffbench, from a wheel or a complete checkout."


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of weights that a test may break, in place of the package's."""
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "trained"))
    monkeypatch.setattr(mini, "_folder", lambda: folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # pytest would keep it, 20 MB a test


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def list_anew(folder: Path) -> None:
    """Write the list of checksums as training does when it has new weights."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}
    (folder / CHECKSUMS).write_text(json.dumps(digests), encoding="utf-8")


def message_of(name: str = "flux") -> str:
    """Build a mini that can't be built; returns what the error says."""
    with pytest.raises(PipelineError) as caught:
        build_mini(MODELS[name])
    assert REMEDY in str(caught.value)
    return str(caught.value)


def test_every_file_is_listed_with_the_checksum_and_none_lies_beside() -> None:
    listed = json.loads((SHIPPED / CHECKSUMS).read_text(encoding="utf-8"))
    assert {path.name for path in SHIPPED.iterdir()} == {*listed, CHECKSUMS}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS} == listed


def test_every_file_belongs_to_a_mini() -> None:
    assert [path.name for path in WEIGHTS] == USED


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 26_000_000


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_are_finite_and_in_half_precision(path: Path) -> None:
    for name, tensor in load_file(path).items():
        assert tensor.dtype == torch.float16 or not tensor.is_floating_point(), name
        assert torch.isfinite(tensor).all(), name


@pytest.mark.parametrize("file", MODELS["flux"].mini.values())
def test_a_missing_file_is_named(copy: Path, file: str) -> None:
    (copy / file).unlink()
    message = message_of()
    assert str(copy / file) in message
    assert "missing" in message


@pytest.mark.parametrize("file", MODELS["flux"].mini.values())
@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
    ],
    ids=["one bit flipped", "short by a byte", "empty", "git lfs pointer"],
)
def test_a_damaged_file_is_named(copy: Path, file: str, damage: Callable[[Path], object]) -> None:
    damage(copy / file)
    message = message_of()
    assert str(copy / file) in message
    assert "damaged" in message


def test_an_unlisted_file_is_named(copy: Path) -> None:
    listed = json.loads((copy / CHECKSUMS).read_text(encoding="utf-8"))
    del listed["vae.safetensors"]
    (copy / CHECKSUMS).write_text(json.dumps(listed), encoding="utf-8")
    assert str(copy / "vae.safetensors") in message_of()


def test_a_missing_list_is_named(copy: Path) -> None:
    (copy / CHECKSUMS).unlink()
    assert f"{copy / CHECKSUMS}: the checksums of the minis' weights are missing" in message_of()
    with pytest.raises(PipelineError, match=REMEDY):
        revision(MODELS["flux"])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"3", b"null"])
def test_a_broken_list_is_named(copy: Path, content: bytes) -> None:
    (copy / CHECKSUMS).write_bytes(content)
    assert f"{copy / CHECKSUMS}: not a list of checksums" in message_of()
    with pytest.raises(PipelineError, match=REMEDY):
        revision(MODELS["flux"])


def test_without_any_folder_the_list_is_named(copy: Path) -> None:
    shutil.rmtree(copy)
    assert str(copy / CHECKSUMS) in message_of()


@pytest.mark.usefixtures("real_libraries")  # else its cost is that of importing them, where it comes first
def test_a_damaged_file_stops_only_dependent_minis(copy: Path) -> None:
    flip_a_bit(copy / "flux-transformer.safetensors")
    message_of("flux")
    build_mini(MODELS["lumina2"])


def test_the_revision_names_the_weights() -> None:
    revisions = {name: revision(model) for name, model in MODELS.items()}
    assert len(set(revisions.values())) == len(MODELS)
    assert all(value.startswith("sha256:") and len(value) == 7 + 16 for value in revisions.values())
    assert revisions == {name: revision(model) for name, model in MODELS.items()}


@pytest.mark.parametrize("file", USED)
def test_a_changed_file_changes_the_revision_of_dependent_minis(copy: Path, file: str) -> None:
    before = {name: revision(model) for name, model in MODELS.items()}
    flip_a_bit(copy / file)
    list_anew(copy)
    changed = {name for name, model in MODELS.items() if revision(model) != before[name]}
    assert changed == {name for name, model in MODELS.items() if file in model.mini.values()}


def test_what_the_list_says_in_a_different_order_is_the_same_revision(copy: Path) -> None:
    before = revision(MODELS["lumina2"])
    listed = json.loads((copy / CHECKSUMS).read_text(encoding="utf-8"))
    (copy / CHECKSUMS).write_text(json.dumps(dict(reversed(listed.items()))), encoding="utf-8")
    assert revision(MODELS["lumina2"]) == before
