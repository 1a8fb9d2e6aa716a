"""What all gates share: the table of gates, limits, definitions, light imports and plain words."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import judge_factories as make
import pytest

from pytest_diffbench.errors import OptionError
from pytest_diffbench.judge import Limits, definition_changes
from pytest_diffbench.judge.limits import TierLimits
from pytest_diffbench.records import GATES, Case, Definition


def test_a_verdict_per_gate_in_order() -> None:
    asked = make.judge_all(make.observation(), make.artifacts(), make.reference(), Limits(), ["time", "work", "time"])
    assert [verdict.gate for verdict in asked] == ["work", "time"]
    everything = make.judge_all(make.observation(), make.artifacts(), make.reference(), Limits(), GATES)
    assert [(verdict.gate, verdict.decision) for verdict in everything] == [(gate, "same") for gate in GATES]
    assert make.judge_all(make.observation(), make.artifacts(), None, Limits(), []) == ()


def test_an_unknown_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="no such gate: speed"):
        make.judge_all(make.observation(), make.artifacts(), None, Limits(), ["speed"])


def test_an_incomplete_measurement_says_why() -> None:
    observation = make.observation(complete=False, notes=("interrupted in round 2",))
    for answer in make.judge_all(observation, make.artifacts(), make.reference(), Limits(), GATES):
        assert answer.decision == "unsure"
        assert "interrupted in round 2" in answer.message


def test_a_changed_definition_names_fields_for_all_gates_but_guidance() -> None:
    changed = make.definition(num_inference_steps=20, joint_attention_kwargs={"scale": 0.5})
    observation = make.observation(case=Case(id="case", definition=changed))
    for answer in make.judge_all(observation, make.artifacts(), make.reference(), Limits(), GATES):
        if answer.gate == "guidance":
            assert answer.decision == "same"
        else:
            assert answer.decision == "incomparable"
            assert "arguments.num_inference_steps: 30 -> 20" in answer.message
            assert "arguments.joint_attention_kwargs.scale: (absent) -> 0.5" in answer.message


def test_judging_is_pure() -> None:
    observation, against = make.observation(), make.reference()
    first = make.judge_all(observation, make.artifacts(), against, Limits(), GATES)
    assert first == make.judge_all(observation, make.artifacts(), against, Limits(), GATES)
    assert observation == make.observation()


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ((1, 2), [1, 2], False),
        (30, 30.0, False),
        (True, 1, True),
        (math.nan, math.nan, False),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, True),
        ({}, None, True),
        ({"a": 1}, {}, True),
        (None, "unknown", True),
    ],
)
def test_definitions_are_compared_as_read_from_json(old: Any, new: Any, changed: bool) -> None:
    before, after = make.definition(extra=old), make.definition(extra=new)
    assert bool(definition_changes(before, after)) is changed
    assert bool(definition_changes(after, before)) is changed


def test_long_values_are_shortened() -> None:
    (change,) = definition_changes(make.definition(), make.definition(prompt="x" * 500))
    assert (change.field, change.before) == ("arguments.prompt", "'a red circle'")
    assert change.after is not None
    assert len(change.after) <= 60
    assert change.after.startswith("'xxx")


def test_every_field_of_a_definition_counts() -> None:
    base = make.definition()
    other = Definition(
        pipeline="FluxPipeline",
        weights="random",
        model="flux",
        revision="1",
        dtype="bfloat16",
        offload="model",
        tuning={"compile": "regional"},
        seed=1,
        arguments={},
    )
    named = {change.field.split(".")[0] for change in definition_changes(base, other)}
    assert named == set(Definition.__struct_fields__)


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Limits) if isinstance(field.default, int | float)]
)
@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf, "1", True, None])
def test_limits_refuse_what_is_no_threshold(field: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"Limits\.{field} is .*Give "):
        Limits(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("time_alpha", 0.0), ("time_alpha", 1.0), ("time_power", 1.0), ("ratio_min_runs", 1), ("time_few_days", 2.5),
     ("tile_size_px", 0)],
)  # fmt: skip
def test_limits_refuse_values_outside_their_range(field: str, value: Any) -> None:
    with pytest.raises(OptionError, match=field):
        Limits(**{field: value})


@pytest.mark.parametrize(
    ("name", "tiers"),
    [("ssim", (1.5, 0.9)), ("tile_ssim", (0.9, 2)), ("psnr_db", (-1, 28)), ("hash_bits", (4.5, 10))],
)
def test_limits_of_image_metrics_keep_to_their_range(name: str, tiers: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match=name):
        Limits(metric_limits={name: TierLimits(*tiers)})


def test_limits_are_a_single_frozen_table_with_zero_allowed() -> None:
    limits = Limits(memory_rel=0, time_floor_s=0)
    assert limits.memory_rel == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.memory_rel = 1  # type: ignore[misc]  # on purpose


def test_judging_imports_neither_torch_nor_pytest_and_numpy_only_for_images() -> None:
    code = """
import sys
import pytest_diffbench.judge
heavy = {"torch", "pytest", "numpy", "scipy", "PIL", "diffusers", "transformers"}
assert not heavy & set(sys.modules), sorted(heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
