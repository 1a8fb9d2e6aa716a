"""Reading `baseline.json`: what is refused, in which words, and how older schemas come up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_builders import make_artifacts, make_observation

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.records import Baseline
from pytest_diffbench.store import schema
from pytest_diffbench.store.schema import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = Path("baselines/cpu/case/baseline.json")


def good() -> Baseline:
    observation = make_observation(make_artifacts())
    return Baseline(
        case=observation.case,
        runs=(observation.run,),
        work=observation.work,
        output=observation.output,
        memory=observation.memory,
        layers=observation.layers,
    )


def plain() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(encode(good(), PATH))
    return data


def refused(data: bytes) -> BaselineError:
    with pytest.raises(BaselineError) as caught:
        decode(data, PATH)
    assert caught.value.path == PATH
    assert caught.value.remedy.endswith(".")
    return caught.value


def put(value: Any, *where: str | int) -> bytes:
    data = plain()
    holder: Any = data
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    return json.dumps(data).encode()


def without(*where: str | int) -> bytes:
    data = plain()
    holder: Any = data
    for key in where[:-1]:
        holder = holder[key]
    del holder[where[-1]]
    return json.dumps(data).encode()


def test_good_baseline_is_read() -> None:
    assert decode(encode(good(), PATH), PATH) == good()


def test_other_layouts_are_read_alike() -> None:
    data = plain()
    shuffled = dict(reversed(data.items()))
    assert decode(json.dumps(shuffled).encode(), PATH) == good()
    assert decode(b"\xef\xbb\xbf" + json.dumps(data, indent=8).replace("\n", "\r\n").encode(), PATH) == good()


@pytest.mark.parametrize(
    ("data", "problem", "remedy"),
    [
        (b"", "is empty", "version control"),
        (b" \n", "is empty", "version control"),
        (b"{", "isn't valid JSON, or was cut short", "version control"),
        (b"[1]", "holds [1] where an object was expected", "version control"),
        (b"\x00\xff\xfe", "isn't valid JSON", "version control"),
        (b"[" * 200_000, "isn't valid JSON", "version control"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "holds no data", "`git lfs pull`"),
        (b'{\n<<<<<<< HEAD\n"schema": 1\n', "conflict markers", "Keep one side"),
        (b"{}", "has no field schema", "version control"),
    ],
)
def test_files_other_than_baselines(data: bytes, problem: str, remedy: str) -> None:
    error = refused(data)
    assert problem in error.problem
    assert remedy in error.remedy


def test_every_truncation_is_refused() -> None:
    data = encode(good(), PATH).rstrip()
    for length in range(0, len(data), 97):
        refused(data[:length])


@pytest.mark.parametrize("value", ["1", None, 1.5, True, [1], {}])
def test_schema_other_than_an_integer(value: Any) -> None:
    assert "schema is" in refused(put(value, "schema")).problem


def test_newer_schema_is_refused_by_name_before_anything_else() -> None:
    error = refused(b'{"schema": 9, "runs": NaN, "what": ["ever"]}')
    assert error.problem == "schema 9 is newer than 1, which this version reads"
    assert error.remedy == "Upgrade pytest-diffbench."


def test_newer_schema_in_a_file_like_a_baseline() -> None:
    text = encode(good(), PATH).decode()
    assert "schema 2 is newer" in refused(text.replace('"schema": 1', '"schema": 2').encode()).problem
    # JSON lets a name stand twice; the last one counts.
    assert "schema 2 is newer" in refused(text.rstrip()[:-1].encode() + b', "schema": 2}').problem


@pytest.mark.parametrize("value", [0, -1])
def test_older_schema_never_released(value: int) -> None:
    assert f"schema {value} is older than 1" in refused(put(value, "schema")).problem


ROUND: tuple[str | int, ...] = ("runs", 0, "rounds", 1)


@pytest.mark.parametrize(
    ("where", "value", "field"),
    [
        ((*ROUND, "total_s"), 0, "runs[0].rounds[1].total_s is 0"),
        ((*ROUND, "total_s"), -1.5, "runs[0].rounds[1].total_s is -1.5"),
        ((*ROUND, "total_s"), float("nan"), "runs[0].rounds[1].total_s is nan"),
        ((*ROUND, "total_s"), float("inf"), "runs[0].rounds[1].total_s is inf"),
        ((*ROUND, "total_s"), "1.5", "runs[0].rounds[1].total_s is '1.5'"),
        ((*ROUND, "total_s"), None, "runs[0].rounds[1].total_s is None"),
        ((*ROUND, "stages_s", "denoise"), -1, "runs[0].rounds[1].stages_s.denoise is -1"),
        ((*ROUND, "stages_s", "denoise"), float("-inf"), "runs[0].rounds[1].stages_s.denoise is -inf"),
        ((*ROUND, "stages_s", "coffee"), 1, "runs[0].rounds[1].stages_s has an invalid name"),
        ((*ROUND, "steps_s", 2), -0.25, "runs[0].rounds[1].steps_s[2] is -0.25"),
        (("runs", 0, "calibration_s", 0), 0, "runs[0].calibration_s[0] is 0"),
        (("runs", 0, "warmup_s", 0), 0.0, "runs[0].warmup_s[0] is 0.0"),
        (("runs",), [], "runs is []"),
        (("runs",), {}, "runs is {}"),
        (("generation",), 0, "generation is 0"),
        (("memory", "peak_bytes"), 0, "memory.peak_bytes is 0"),
        (("memory", "peak_bytes"), -5, "memory.peak_bytes is -5"),
        (("memory", "stages", "denoise", "peak_bytes"), -5, "memory.stages.denoise.peak_bytes is -5"),
        (("work", "steps"), -1, "work.steps is -1"),
        (("work", "flops", "vae"), -1, "work.flops.vae is -1"),
        (("work", "component_calls", "vae.decode"), -1, "work.component_calls.vae.decode is -1"),
        (("work", "denoiser", 1, "batch"), 0, "work.denoiser[1].batch is 0"),
        (("work", "denoiser", 1, "steps"), "3 to 4", "work.denoiser[1].steps is '3 to 4'"),
        (("work", "denoiser", 1, "steps"), "", "work.denoiser[1].steps is ''"),
        (("work", "denoiser", 1, "steps"), "9-2", "work.denoiser[1].steps is '9-2'"),
        (("work", "denoiser", 0, "shapes", "timestep"), [-1], "work.denoiser[0].shapes.timestep is [-1]"),
        (("output", "latents_shape"), [1, 0, 2], "output.latents_shape is [1, 0, 2]"),
        (("output", "images", 0, "width_px"), 0, "output.images[0].width_px is 0"),
        (("output", "rerun", "psnr_db"), float("nan"), "output.rerun.psnr_db is nan"),
        (("case", "id"), "", "case.id is empty"),
        (("case", "definition", "arguments", "scale"), float("nan"), "case.definition.arguments.scale is nan"),
        (("case", "definition", "weights"), "heavy", "case.definition.weights is 'heavy'"),
        (("layers", "attention_s"), -1, "layers.attention_s is -1"),
        (("extra",), 5, "has an unknown field: extra is 5"),
        ((*ROUND, "p99_s"), 5, "has an unknown field: runs[0].rounds[1].p99_s is 5"),
    ],
)
def test_impossible_figure_of_a_baseline_is_refused_by_field_and_value(
    where: tuple[str | int, ...], value: Any, field: str
) -> None:
    assert field in refused(put(value, *where)).problem


def test_overflowing_literal_is_refused() -> None:
    data = encode(good(), PATH).replace(b'"total_s": 1.1,', b'"total_s": 1e999,')
    assert "runs[0].rounds[0].total_s is inf" in refused(data).problem


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (("case",), "case"),
        (("runs",), "runs"),
        ((*ROUND, "total_s"), "runs[0].rounds[1].total_s"),
        (("runs", 0, "environment"), "runs[0].environment"),
    ],
)
def test_missing_field_is_named(where: tuple[str | int, ...], field: str) -> None:
    assert refused(without(*where)).problem == f"has no field {field}"


@given(st.data())
def test_damage_is_refused_or_read_but_never_escapes_as_a_foreign_error(data: st.DataObject) -> None:
    text = bytearray(encode(good(), PATH))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        baseline = decode(bytes(text), PATH)
    except BaselineError:
        return
    assert all(run.rounds for run in baseline.runs)


def test_what_cant_be_read_is_never_written() -> None:
    unreadable = msgspec.structs.replace(good().runs[0].rounds[0], total_s=float("nan"))
    run = msgspec.structs.replace(good().runs[0], rounds=(unreadable,))
    with pytest.raises(BaselineError, match=r"can't be written: runs\[0\].rounds\[0\].total_s is nan"):
        encode(msgspec.structs.replace(good(), runs=(run,)), PATH)


def test_text_beyond_utf8_is_never_written() -> None:
    case = msgspec.structs.replace(good().case, id="t.py::test[\ud800]")
    with pytest.raises(BaselineError, match="can't be written"):
        encode(msgspec.structs.replace(good(), case=case), PATH)


def test_migrations_run_a_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def step(number: int, rename: tuple[str, str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def migrate(data: dict[str, Any]) -> dict[str, Any]:
            numbers.append(number)
            assert data["schema"] == number
            old, new = rename
            return {new if name == old else name: value for name, value in data.items()}

        return migrate

    monkeypatch.setattr(
        schema, "MIGRATIONS", {-1: step(-1, ("processes", "samples")), 0: step(0, ("samples", "runs"))}
    )
    old = plain()
    old["processes"] = old.pop("runs")
    old["schema"] = -1
    assert decode(json.dumps(old).encode(), PATH) == good()
    assert numbers == [-1, 0]


def test_missing_step_and_failing_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("samples")

    monkeypatch.setattr(schema, "MIGRATIONS", {0: fail})
    assert "can't be migrated from schema 0 to 1: KeyError('samples')" in refused(put(0, "schema")).problem
    assert "schema -1 is older than 1" in refused(put(-1, "schema")).problem
