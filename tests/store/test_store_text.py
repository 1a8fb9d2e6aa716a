"""The layout of `baseline.json`."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_builders import make_artifacts, make_observation, make_run

from pytest_diffbench.records import Baseline
from pytest_diffbench.records.base import LONGEST_S
from pytest_diffbench.store.schema import decode, encode, to_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=30
)


def make_baseline(runs: int = 2) -> Baseline:
    observation = make_observation(make_artifacts())
    return Baseline(
        case=observation.case,
        runs=tuple(make_run(f"run-{index}") for index in range(runs)),
        work=observation.work,
        output=observation.output,
        memory=observation.memory,
        layers=observation.layers,
    )


@given(VALUES)
def test_text_reads_back_as_the_same_value(value: Any) -> None:
    assert json.loads(to_text(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_every_bit(value: float) -> None:
    for read in (json.loads(to_text([value])), msgspec.json.decode(to_text([value]))):
        assert struct.pack("d", float(read[0])) == struct.pack("d", value)


@given(st.floats(min_value=5e-324, max_value=LONGEST_S), st.floats(min_value=0, max_value=LONGEST_S))
def test_baseline_keeps_every_bit(total_s: float, step_s: float) -> None:
    baseline = make_baseline(1)
    timed = msgspec.structs.replace(baseline.runs[0].rounds[0], total_s=total_s, steps_s=(step_s,))
    run = msgspec.structs.replace(baseline.runs[0], rounds=(timed,))
    baseline = msgspec.structs.replace(baseline, runs=(run,))
    assert decode(encode(baseline, Path("b.json")), Path("b.json")) == baseline


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_text({"a": [value]})


def test_schema_comes_first_and_every_round_takes_a_single_line() -> None:
    lines = encode(make_baseline(), Path("b.json")).decode().splitlines()
    assert lines[1] == '  "schema": 1,'
    rounds = [line for line in lines if '"total_s"' in line]
    assert len(rounds) == 4
    assert all(line.startswith('        {"total_s": 1.1, ') and line.rstrip(",").endswith("}") for line in rounds)


def test_added_run_adds_lines_and_changes_a_single_line() -> None:
    # The line before gains a comma: all that JSON allows.
    before = encode(make_baseline(2), Path("b.json")).decode().splitlines()
    after = encode(make_baseline(3), Path("b.json")).decode().splitlines()
    assert len([line for line in before if line not in after]) <= 1
    assert len(after) > len(before)


def test_order_of_facts_and_arguments_is_stable() -> None:
    baseline = make_baseline()
    arguments = dict(reversed(baseline.case.definition.arguments.items()))
    definition = msgspec.structs.replace(baseline.case.definition, arguments=arguments)
    other = msgspec.structs.replace(baseline, case=msgspec.structs.replace(baseline.case, definition=definition))
    assert encode(baseline, Path("b.json")) == encode(other, Path("b.json"))


def test_layout() -> None:
    value = {
        "schema": 1,
        "empty": [{}, []],
        "short": {"a": 1, "b": None},
        "numbers": [1 / 3] * 9,
        "long": {"a": "x" * 70, "b": "y" * 70},
        "rounds": [{"total_s": 1.5, "stages_s": {"denoise": 1.25}}],
    }
    assert to_text(value) == (
        "{\n"
        '  "schema": 1,\n'
        '  "empty": [\n    {},\n    []\n  ],\n'
        '  "short": {"a": 1, "b": null},\n'
        '  "numbers": [' + ", ".join(["0.3333333333333333"] * 9) + "],\n"
        '  "long": {\n    "a": "' + "x" * 70 + '",\n    "b": "' + "y" * 70 + '"\n  },\n'
        '  "rounds": [\n    {"total_s": 1.5, "stages_s": {"denoise": 1.25}}\n  ]\n'
        "}\n"
    )
