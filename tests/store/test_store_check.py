"""`diffbench check`: damage that loading doesn't see is found, each told by file, field, value and remedy."""

from __future__ import annotations

import datetime
import json
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from store_builders import make_artifacts, make_observation

from pytest_diffbench.commands import main as cli
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.store import Store, check
from pytest_diffbench.store.checking import png_problem

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = Path(__file__).parents[2] / "baselines"
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def with_moments(artifacts: Artifacts) -> Artifacts:
    """The trace as it is measured: a row of moments for each array."""
    rows = []
    for name in sorted(artifacts.trace):
        array = artifacts.trace[name].astype(np.float64)
        rows.append([np.linalg.norm(array), array.mean(), array.std(), array.min(), array.max(), 0])
    return Artifacts(artifacts.images, artifacts.trace | {"moments": np.array(rows, dtype=np.float32)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of one case with two images, of which nothing is wrong."""
    artifacts = with_moments(make_artifacts(images=2, shape=(40, 50, 3)))
    Store(tmp_path).save(make_observation(artifacts), artifacts, None, False)
    (entry,) = Store(tmp_path).entries()
    return entry


def printed_by_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of a root with something bad in it."""
    root = folder.parent.parent
    assert cli.main(["check", str(root)]) == 1
    out = capsys.readouterr().out
    assert "bad  " in out
    return out


def edited(folder: Path, *where: str | int, value: Any) -> None:
    path = folder / "baseline.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    holder: Any = data
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    path.write_text(json.dumps(data), encoding="utf-8")


def test_what_was_saved_is_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "NOTES.md").write_text("the team's own")
    (folder.parent.parent / ".gitattributes").write_text("*.png binary\n")
    (folder.parent.parent / "README.md").write_text("the team's own")
    assert cli.main(["check", str(folder.parent.parent)]) == 0, capsys.readouterr().out


def test_the_projects_own_baselines_are_well() -> None:
    checked = list(check(OWN))
    assert len(checked) >= 30
    assert [str(fault) for checked_case in checked for fault in checked_case.faults] == []


# -- figures

ROUND: tuple[str | int, ...] = ("runs", 0, "rounds", 1)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ((*ROUND, "total_s"), 3.2e8, "runs[0].rounds[1].total_s is 320000000.0: Expected `float` <= 2592000.0"),
        ((*ROUND, "steps_s", 0), 1e9, "runs[0].rounds[1].steps_s[0] is 1000000000.0"),
        ((*ROUND, "telemetry"), {"steal_rel": 1.5}, "telemetry.steal_rel is 1.5"),
        ((*ROUND, "telemetry"), {"power_w": -3}, "telemetry.power_w is -3"),
        ((*ROUND, "telemetry"), {"temperature_c": -400}, "telemetry.temperature_c is -400"),
        (("memory", "peak_bytes"), 1 << 60, "memory.peak_bytes is 1152921504606846976"),
        (("output", "rerun", "psnr_db"), -4.0, "output.rerun.psnr_db is -4.0"),
        (("output", "rerun", "latents_rel"), -0.5, "output.rerun.latents_rel is -0.5"),
        ((*ROUND, "total_s"), 9.0, "runs[0].rounds[1].total_s is 9.0, but its stages_s add up to 1.1"),
        ((*ROUND, "stages_s"), {}, None),
        ((*ROUND, "steps_s"), [0.1, 0.2], "runs[0].rounds[1].steps_s is 2 times, but work.steps is 3"),
        ((*ROUND, "steps_s"), [0.1, 0.2, 8.0], "total_s is 1.1, but its steps_s alone add up to 8.3"),
        (
            ("runs", 0, "started"),
            "2031-01-01T00:00:00Z",
            "runs[0].started is '2031-01-01T00:00:00Z', but it is later",
        ),
        (("runs", 0, "started"), "yesterday", "runs[0].started is 'yesterday', but it isn't a time"),
        (("runs", 0, "warmup"), {"rounds": 7, "steady": True}, "warmup.rounds is 7, but runs[0].warmup_s holds 1"),
        (("memory", "peak_bytes"), 5, "memory.peak_bytes is 5, but that of memory.stages.denoise is 536870912"),
        (("memory", "reserved_bytes"), 7, "memory.reserved_bytes is 7, but memory.peak_bytes, a part of it"),
        (("work", "denoiser", 0, "steps"), "0-9", "work.denoiser[0].steps is '0-9', but work.steps is 3"),
        (("work", "component_calls", "transformer"), 1, "work.component_calls.transformer is 1"),
        (("work", "flops", "transformer"), 1, "work.flops.transformer is 1"),
        (("work", "attention_parameters", "transformer"), 5000, "work.parameters.transformer is 1000"),
        (("work", "timesteps"), [1.0], "work.timesteps is 1 figures, but work.steps is 3"),
        (("work", "idle_steps"), "7", "work.idle_steps is '7', but work.steps is 3"),
        (("output", "finite"), False, "output.finite is False"),
        (("output", "rerun", "psnr_db"), 50.0, "output.rerun.identical is True"),
        (("output", "rerun", "alike"), [["a", "b"], ["c"]], "output.rerun.rounds is 2"),
        (("output", "images", 0, "width_px"), 51, "is 50 x 40 px"),
        (("output", "images", 0, "constant"), True, "has unequal pixels"),
        (("output", "latents_shape"), [1, 4, 3, 2], "latents/final is of shape [1, 4, 2, 3]"),
        (("layers", "attention_layers"), 0, "layers.attention_s is 0.1"),
    ],
)
def test_an_impossible_figure_is_named(
    where: tuple[str | int, ...],
    value: Any,
    said: str | None,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edited(folder, *where, value=value)
    if said is None:
        assert cli.main(["check", str(folder.parent.parent)]) == 0, capsys.readouterr().out
        return
    out = printed_by_check(folder, capsys)
    assert said in out
    assert str(folder) in out
    assert "Restore it from version control" in out


def test_a_clock_a_little_ahead_is_no_finding(folder: Path) -> None:
    edited(folder, "runs", 0, "started", value="2026-06-01T12:00:00Z")
    assert [checked_case.faults for checked_case in check(folder.parent.parent, NOW)] == [()]
    (fault,) = next(check(folder.parent.parent, NOW - datetime.timedelta(days=2))).faults
    assert "runs[0].started" in fault.problem


def test_a_run_listed_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))["runs"][0]
    edited(folder, "runs", value=[run, run])
    assert "runs[1].id is 'run-0', but runs[0] is the same run" in printed_by_check(folder, capsys)


def test_all_faults_are_reported_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(folder, "layers", "attention_layers", value=0)
    (folder / "image-0.png").unlink()
    (folder / "image-1.png").write_bytes(b"no picture")
    (folder / "image-2.png").write_bytes(b"no picture")
    assert printed_by_check(folder, capsys).count("bad  ") == 4


# -- files


@pytest.mark.parametrize("name", ["image-0.png", "image-1.png", "trace.safetensors"])
def test_a_missing_file(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).unlink()
    assert f"{folder / name}: is missing" in printed_by_check(folder, capsys)


@pytest.mark.parametrize(
    "name", ["image-2.png", "image-9.png", "Image.PNG", "old.safetensors", "image-0.png.g7", ".baseline.json.1.tmp"]
)
def test_a_file_named_in_no_record(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).write_bytes((folder / "image-0.png").read_bytes())
    assert f"{folder / name}: belongs to no image, part or trace of generation 1" in printed_by_check(folder, capsys)


def test_what_an_interrupted_save_left_and_counts_is_well(folder: Path) -> None:
    (folder / "image-0.png").rename(folder / "image-0.png.g1")
    assert [checked_case.faults for checked_case in check(folder.parent.parent)] == [()]


@pytest.mark.parametrize("where", ["cpu-model-2c/case", "cpu-model-2c", "", "cpu-model-2c/case/deeper"])
def test_files_beside_no_record(where: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder.parent.parent / where
    place.mkdir(parents=True, exist_ok=True)
    (place / "image-0.png").write_bytes((folder / "image-0.png").read_bytes())
    assert f"{place / 'image-0.png'}: belongs to no baseline" in (out := printed_by_check(folder, capsys))
    assert "1 ok, 0 bad, 1 file without a baseline" in out


def test_a_record_at_the_wrong_depth_is_detected_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder.parent.parent
    assert cli.main(["check", str(root.parent)]) == 1
    assert "baseline.json: belongs to no baseline: baselines are in <machine>/<case>/" in capsys.readouterr().out


def test_a_renamed_case_and_a_renamed_machine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed = folder.rename(folder.parent / "another-name")
    assert f"whose folder is {folder.name}" in printed_by_check(renamed, capsys)
    other = renamed.parent.rename(renamed.parent.parent / "other-machine")
    out = printed_by_check(other / "another-name", capsys)
    assert "runs[0].environment.machine is 'cpu-model-2c', but the folder is other-machine's" in out


# -- damage that pixels and arrays hide


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Where each part of a PNG begins and ends."""
    spans, place = [], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        spans.append((place, end))
        place = end
    return spans


def without_the_end(data: bytes) -> bytes:
    return data[: chunks(data)[-1][0]]


def with_more(data: bytes) -> bytes:
    return data + b"\0\0"


def with_a_wrong_checksum(data: bytes) -> bytes:
    _, end = next(span for span in chunks(data) if data[span[0] + 4 : span[0] + 8] == b"IDAT")
    return data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]


def with_truncated_pixels(data: bytes) -> bytes:
    """The stream ends without its own checksum; the part's is right."""
    begin, end = next(span for span in chunks(data) if data[span[0] + 4 : span[0] + 8] == b"IDAT")
    body = b"IDAT" + data[begin + 8 : end - 8]
    part = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:begin] + part + data[end:]


DAMAGES = [without_the_end, with_more, with_a_wrong_checksum, with_truncated_pixels]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_png_with_pixels_of_the_right_digest(
    damage: Callable[[bytes], bytes], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "image-0.png"
    sound = path.read_bytes()
    assert png_problem(sound) is None
    path.write_bytes(damage(sound))
    Store(folder.parent.parent).load(folder).artifacts()  # loads
    assert str(path) in printed_by_check(folder, capsys)


@pytest.mark.parametrize("length", [0, 1, 8, 20, 60])
def test_a_png_broken_off_anywhere(length: int, folder: Path) -> None:
    data = (folder / "image-0.png").read_bytes()
    assert png_problem(data[:length]) is not None
    assert png_problem(data[: len(data) - 1 - length]) is not None


def rescaled(folder: Path, name: str, factor: float) -> None:
    """An array of the trace with one value much larger, as a flipped bit makes it."""
    path = folder / "trace.safetensors"
    arrays = load_file(path)
    arrays[name].reshape(-1)[3] = arrays[name].reshape(-1)[3] * factor + factor
    save_file(arrays, path, metadata={"generation": "1"})


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [
        ("latents/final", 2.0, "latents/final has norm"),
        ("latents/0", 2.0**40, "latents/0 has norm"),
        ("moments", -(2.0**30), "which is impossible for an array"),
    ],
)
def test_a_readable_and_damaged_trace(
    name: str, factor: float, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rescaled(folder, name, factor)
    Store(folder.parent.parent).load(folder).artifacts()  # loads
    assert said in printed_by_check(folder, capsys)


def test_a_trace_with_a_missing_array(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "trace.safetensors"
    arrays = load_file(path)
    del arrays["latents/0"]
    save_file(arrays, path, metadata={"generation": "1"})
    assert "moments are of shape [2, 6], not [1, 6]" in printed_by_check(folder, capsys)
