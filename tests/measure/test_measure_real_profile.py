"""What makes a real pipeline slower is attributed to its stage, its steps and its operator."""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import torch
from real_calls import (
    PROMPT,
    SMALL,
    frozen_heap,  # noqa: F401 - a fixture
    mini,
    prepared,
    read_back,
    take,
)

from pytest_diffbench.judge.time.kernels import explain
from pytest_diffbench.measure import clock, runner
from pytest_diffbench.measure.profile_table import Timeline
from pytest_diffbench.measure.rounds import drive_plainly

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.measure.runner import Measurement
    from pytest_diffbench.records import Observation, Profile, Stage

pytestmark = pytest.mark.pipeline

STEPS = 7


class VirtualClock:
    """Only moves when it is told to; looking at it takes a microsecond."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


CLOCK = VirtualClock()
CALL: dict[str, Any] = SMALL | {"num_inference_steps": STEPS}


def profiled(pipeline: Any, trace_file: Path | None = None, **changed: Any) -> Measurement:
    measurement = prepared(pipeline, PROMPT, **(CALL | changed))
    measurement._plan = dataclasses.replace(measurement._plan, profile=True, trace_file=trace_file)
    return measurement


def profiler_is_on() -> bool:
    return torch.autograd._profiler_enabled()  # type: ignore[attr-defined]  # all that tells


def calls(profile: Profile | None) -> dict[tuple[Stage, str], int]:
    assert profile is not None
    return {(operator.stage, operator.name): operator.calls for operator in profile.operators}


@pytest.fixture(scope="module")
def base() -> Observation:
    return take(profiled(mini("lumina2")))


ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"


@pytest.mark.full
def test_two_calls_alike_have_equal_counts_in_every_row(base: Observation) -> None:
    again = take(profiled(mini("lumina2"))).profile
    assert base.profile is not None
    assert again is not None
    assert not [
        change for change in explain(base.profile, again, most=100).changes if change.calls[0] != change.calls[1]
    ]
    base_calls, later_calls = calls(base.profile), calls(again)
    both = set(base_calls) & set(later_calls)
    assert len(both) > 80
    assert {place: base_calls[place] for place in both} == {place: later_calls[place] for place in both}


def test_stages_of_the_table_match_the_rounds(base: Observation) -> None:
    assert base.profile is not None
    assert base.profile.kind == "cpu"
    assert {operator.stage for operator in base.profile.operators} == set(base.run.rounds[0].stages_s)
    assert 0 < sum(operator.self_s for operator in base.profile.operators) <= base.profile.total_s * (1 + 1e-9)
    assert base.notes == ()


def test_a_trace_shows_stages_and_steps(tmp_path: Path) -> None:
    file = tmp_path / "case.json.gz"
    observation = take(profiled(mini("flux"), file))
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    spans = {event["name"]: event for event in events if event["tid"] == "diffbench" and event["ph"] == "X"}
    steps = [f"diffbench:step {step}" for step in range(STEPS)]
    assert list(spans) == ["diffbench:text_encode", "diffbench:denoise", "diffbench:vae_decode", *steps]
    begins = [spans[name]["ts"] for name in steps]
    assert begins == sorted(begins)
    assert begins[0] == spans["diffbench:denoise"]["ts"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert names.count("diffbench:transformer") == names.count("diffbench:scheduler.step") == STEPS
    # what the table holds can be counted in the trace
    denoise = spans["diffbench:denoise"]
    inside = [
        event["name"]
        for event in events
        if event.get("cat") == "cpu_op" and denoise["ts"] <= event["ts"] < denoise["ts"] + denoise["dur"]
    ]
    assert inside.count(ATTENTION) == calls(observation.profile)["denoise", ATTENTION]


@pytest.mark.full
def test_an_unwritable_trace_is_noted(tmp_path: Path) -> None:
    observation = take(profiled(mini("lumina2"), tmp_path / "no such folder" / "case.json.gz"))
    assert observation.profile is not None
    (note,) = observation.notes
    assert "no such folder" in note
    assert "can't be written" in note


def test_a_different_profiler_is_left_alone() -> None:
    measurement = prepared(lambda: torch.ones(3, 8, 8) @ torch.ones(8, 8))
    measurement._plan = dataclasses.replace(measurement._plan, profile=True)
    with torch.profiler.profile() as other:
        observation = take(measurement)
    assert observation.profile is None
    assert len(observation.run.rounds) == 1
    assert any("another profiler was active" in note for note in observation.notes)
    assert any(average.key == "aten::matmul" for average in other.key_averages())


@pytest.mark.parametrize(
    "where",
    [
        "start",
        pytest.param("stop", marks=pytest.mark.full),
        pytest.param("export_chrome_trace", marks=pytest.mark.full),
    ],
)
def test_a_failing_profiler_loses_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(torch.profiler.profile, where)

    def fail(self: Any, *args: Any) -> None:
        if where == "stop":
            original(self, *args)
        raise RuntimeError("CUPTI is busy\nand more")

    monkeypatch.setattr(torch.profiler.profile, where, fail)
    observation = take(profiled(mini("lumina2")))
    assert observation.profile is None
    assert len(observation.run.rounds) == 1
    (note,) = observation.notes
    assert note == "not profiled: the call under torch's profiler failed (RuntimeError: CUPTI is busy)."
    assert not profiler_is_on()


@pytest.mark.full
def test_an_interruption_of_the_profile_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = profiled(mini("lumina2"))

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Timeline, "operators", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measurement.take(drive_plainly, lambda *_: None)
    assert len(read_back(measurement, complete=False).run.rounds) == 1


@pytest.mark.full
def test_a_profile_can_be_taken_later_and_once() -> None:
    measurement = prepared(mini("lumina2"), PROMPT, **SMALL)
    observation = take(measurement)
    assert observation.profile is None
    generator = torch.get_rng_state()
    measurement.take_profile()
    first = measurement.observation(complete=True).profile
    assert first is not None
    measurement.take_profile()
    assert measurement.observation(complete=True).profile is first
    assert torch.get_rng_state().equal(generator)
    assert msgspec.structs.replace(measurement.observation(complete=True), profile=None) == msgspec.structs.replace(
        observation, run=measurement.observation(complete=True).run
    )


def test_a_callable_without_components_is_profiled_too() -> None:
    measurement = prepared(lambda: torch.ones(3, 8, 8) @ torch.ones(8, 8))
    take(measurement)
    measurement.take_profile()
    counts = calls(measurement.observation(complete=True).profile)
    assert counts["unattributed", "aten::matmul"] == 1


@pytest.mark.full
def test_the_profiler_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    take(profiled(mini("lumina2")))
    assert capfd.readouterr() == ("", "")


def test_nothing_compiled_is_none_even_where_the_compiler_was_imported() -> None:
    assert "torch._dynamo" in sys.modules
    warmup = take(prepared(mini("lumina2"), PROMPT, **SMALL)).run.warmup
    assert warmup is not None
    assert (warmup.rounds, warmup.compile_s) == (0, None)


class Falling:
    """A callable that is slow at first, by the virtual clock."""

    def __init__(self, *times_s: float) -> None:
        self.times_s = list(times_s)
        self.calls = 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        CLOCK.advance(self.times_s.pop(0) if len(self.times_s) > 1 else self.times_s[0])
        return torch.zeros(3, 8, 8)


@pytest.mark.parametrize(
    ("times_s", "warmups", "doubt"),
    [
        ((9, 1.0), 2, None),  # the survey's time is never used
        ((9, 2.0, 1.0), 3, None),
        ((9, 4.0, 2.0, 1.0), 4, None),
        ((9, 4.0, 2.0, 1.0, 1.0, 1.0, 0.5), 4, "two modes, 100 % apart"),
        ((9, *(0.8**n for n in range(30))), 2 + runner.MOST_EXTRA_WARMUPS, "drift of -67 %"),
        ((9, *(0.8**n for n in range(6)), 0.2), 2 + runner.MOST_EXTRA_WARMUPS, "still warming up after 7 calls"),
    ],
)
def test_warm_up_goes_on_while_calls_get_faster(
    monkeypatch: pytest.MonkeyPatch, times_s: tuple[float, ...], warmups: int, doubt: str | None
) -> None:
    monkeypatch.setattr(clock, "now_ns", CLOCK)
    measurement = prepared(Falling(*times_s), rounds=5)
    measurement._plan = dataclasses.replace(measurement._plan, warmup_rounds=2)
    warmup = take(measurement).run.warmup
    assert warmup is not None
    assert (warmup.rounds, warmup.steady, warmup.doubt) == (warmups, doubt is None, doubt)
