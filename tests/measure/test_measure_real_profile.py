"""What makes a real pipeline slower is attributed to its stage, its steps and its operator."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import shutil
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
    new_mini,
    prepared,
    read_back,
    take,
)
from torch.nn.functional import linear, scaled_dot_product_attention

from pytest_diffbench.artifacts import Artifacts, Reference
from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.kernels import explain
from pytest_diffbench.judge.places import carriers
from pytest_diffbench.judge.question import Question
from pytest_diffbench.measure import clock, runner
from pytest_diffbench.measure.profile_table import Timeline
from pytest_diffbench.measure.runner import drive_plainly
from pytest_diffbench.records import Baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    return {(one.stage, one.name): one.calls for one in profile.operators}


@contextlib.contextmanager
def before_each(module: Any, work: Callable[[int], object], method: str = "forward") -> Iterator[None]:
    """Let a module do more work than it needs, before each of its calls: `work` is told how many came before."""
    original, count = getattr(module, method), 0

    def busier(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        work(count)
        count += 1
        return original(*args, **kwargs)

    object.__setattr__(module, method, busier)
    try:
        yield
    finally:
        object.__delattr__(module, method)


@pytest.fixture(scope="module")
def base() -> Observation:
    return take(profiled(mini("lumina2")))


ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"

BIG = torch.ones(4, 64, 64)
"""Work that can't drown in the noise of a tiny pipeline."""


def attend(_call: int) -> object:
    return scaled_dot_product_attention(BIG[None], BIG[None], BIG[None])


def multiply(_call: int) -> object:
    return linear(BIG, BIG[0])


def copy(_call: int) -> object:
    return BIG.to(torch.float64, copy=True)


@dataclasses.dataclass(frozen=True)
class Plant:
    """More work in a place, and where it must be told of."""

    place: str
    work: Callable[[int], object]
    stage: Stage
    operator: str
    more: int


# Without guidance the denoiser is called once a step.
PLANTS = {
    "attention": Plant("transformer", attend, "denoise", ATTENTION, STEPS),
    "cast": Plant("transformer", copy, "denoise", "aten::copy_", STEPS),
    "scheduler": Plant("scheduler.step", copy, "denoise", "aten::copy_", STEPS),
    "text encoder": Plant("text_encoder", multiply, "text_encode", "aten::mm", 1),
    "decoder": Plant("vae.decoder", attend, "vae_decode", ATTENTION, 1),
}


@contextlib.contextmanager
def planted(pipeline: Any, plant: Plant) -> Iterator[None]:
    module, method = pipeline, "forward"
    for name in plant.place.split("."):
        if name == "step":
            method = name
        else:
            module = getattr(module, name)
    with before_each(module, plant.work, method):
        yield


@pytest.mark.parametrize("kind", PLANTS)
def test_more_work_is_counted_in_its_stage_and_nowhere_else(kind: str) -> None:
    plant, arguments = PLANTS[kind], {"guidance_scale": 1.0}
    pipeline = new_mini("lumina2")
    before = full(pipeline, **arguments)
    with planted(pipeline, plant):
        after = full(pipeline, **arguments)
    texts = (
        1
        if kind != "text encoder"
        else sum(n for (stage, name), n in before.items() if (stage, name) == ("text_encode", "aten::embedding"))
    )
    more = {place: n - before.get(place, 0) for place, n in after.items() if n != before.get(place, 0)}
    assert {stage for stage, _ in more} == {plant.stage}
    assert more[plant.stage, plant.operator] == plant.more * texts


def full(pipeline: Any, **arguments: Any) -> dict[tuple[Stage, str], int]:
    """The calls of all operators: the bound on a stage's rows is lifted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_diffbench.measure.profile_table.ROWS_A_STAGE", 1000)
        return calls(take(profiled(pipeline, **arguments)).profile)


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_slowdown_is_explained_by_its_stage_and_operator(kind: str, base: Observation) -> None:
    plant = PLANTS[kind]
    pipeline = new_mini("lumina2")

    def repeated(call: int) -> None:
        for _ in range(20):
            plant.work(call)

    with planted(pipeline, dataclasses.replace(plant, work=repeated)):
        now = take(profiled(pipeline)).profile
    assert base.profile is not None
    assert now is not None
    lines = explain(base.profile, now, most=100)
    told = [line for line in lines if ("called" in line and "->" in line) or "is new" in line]
    assert all(line.startswith(f"{plant.stage}: ") for line in told), lines
    assert any(line.startswith(f"{plant.stage}: {plant.operator} ") for line in told), lines


def test_two_calls_alike_have_equal_counts_in_every_row(base: Observation) -> None:
    again = take(profiled(mini("lumina2"))).profile
    assert base.profile is not None
    assert again is not None
    assert not [line for line in explain(base.profile, again, most=100) if "times" in line]
    mine, theirs = calls(base.profile), calls(again)
    both = set(mine) & set(theirs)
    assert len(both) > 80
    assert {place: mine[place] for place in both} == {place: theirs[place] for place in both}


def test_more_layers_in_some_steps_are_placed_by_steps_and_by_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_ns", CLOCK)
    pipeline = new_mini("lumina2")

    def work(call: int) -> None:
        CLOCK.advance(0.010)
        if slow and call % STEPS in (3, 4, 5):
            CLOCK.advance(0.006)
            for _ in range(50):
                multiply(call)

    slow = False
    with before_each(pipeline.transformer, work):
        before = take(profiled(pipeline, guidance_scale=1.0, rounds=3))
        slow = True
        after = take(profiled(pipeline, guidance_scale=1.0, rounds=3))
    baseline = Baseline(case=before.case, runs=(before.run,), profile=before.profile)
    reference = Reference(baseline, "machine", "baselines/case", lambda: Artifacts((), {}))
    question = Question(observation=after, artifacts=Artifacts((), {}), reference=reference, limits=Limits())
    places = carriers(question, [after.run], [before.run] * 3)
    assert any(line.startswith("denoise: ") for line in places), places
    assert any(line.startswith("steps 3-5: 10 ms -> 16 ms (+60 %) each, 100 %") for line in places), places
    assert before.profile is not None
    assert after.profile is not None
    lines = explain(before.profile, after.profile, most=100)
    one, other = calls(before.profile), calls(after.profile)
    assert other["denoise", "aten::mm"] - one["denoise", "aten::mm"] == 3 * 50
    assert any(line.startswith("denoise: aten::mm called") for line in lines), lines


def test_stages_of_the_table_are_those_of_the_rounds(base: Observation) -> None:
    assert base.profile is not None
    assert base.profile.kind == "cpu"
    assert {one.stage for one in base.profile.operators} == set(base.run.rounds[0].stages_s)
    assert 0 < sum(one.self_s for one in base.profile.operators) <= base.profile.total_s * (1 + 1e-9)
    assert base.notes == ()


def test_a_trace_shows_stages_and_steps(tmp_path: Path) -> None:
    file = tmp_path / "case.json.gz"
    seen = take(profiled(mini("flux"), file))
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    spans = {one["name"]: one for one in events if one["tid"] == "diffbench" and one["ph"] == "X"}
    steps = [f"diffbench:step {step}" for step in range(STEPS)]
    assert list(spans) == ["diffbench:text_encode", "diffbench:denoise", "diffbench:vae_decode", *steps]
    begins = [spans[name]["ts"] for name in steps]
    assert begins == sorted(begins)
    assert begins[0] == spans["diffbench:denoise"]["ts"]
    names = [one["name"] for one in events if one.get("cat") == "user_annotation"]
    assert names.count("diffbench:transformer") == names.count("diffbench:scheduler.step") == STEPS
    # what the table holds can be counted in the trace
    denoise = spans["diffbench:denoise"]
    inside = [
        one["name"]
        for one in events
        if one.get("cat") == "cpu_op" and denoise["ts"] <= one["ts"] < denoise["ts"] + denoise["dur"]
    ]
    assert inside.count(ATTENTION) == calls(seen.profile)["denoise", ATTENTION]


def test_a_trace_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    seen = take(profiled(mini("lumina2"), tmp_path / "no such folder" / "case.json.gz"))
    assert seen.profile is not None
    (note,) = seen.notes
    assert "no such folder" in note
    assert "can't be written" in note


def test_another_profiler_is_left_alone() -> None:
    measurement = prepared(lambda: torch.ones(3, 8, 8) @ torch.ones(8, 8))
    measurement._plan = dataclasses.replace(measurement._plan, profile=True)
    with torch.profiler.profile() as other:
        seen = take(measurement)
    assert seen.profile is None
    assert len(seen.run.rounds) == 1
    assert any("another profiler was active" in note for note in seen.notes)
    assert any(one.key == "aten::matmul" for one in other.key_averages())


@pytest.mark.parametrize("where", ["start", "stop", "export_chrome_trace"])
def test_a_profiler_that_fails_loses_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(torch.profiler.profile, where)

    def fail(self: Any, *args: Any) -> None:
        if where == "stop":
            original(self, *args)
        raise RuntimeError("CUPTI is busy\nand more")

    monkeypatch.setattr(torch.profiler.profile, where, fail)
    seen = take(profiled(mini("lumina2")))
    assert seen.profile is None
    assert len(seen.run.rounds) == 1
    (note,) = seen.notes
    assert note == "not profiled: the call under torch's profiler failed (RuntimeError: CUPTI is busy)."
    assert not profiler_is_on()


def test_a_call_that_fails_under_the_profiler_loses_nothing() -> None:
    pipeline = new_mini("lumina2")
    measurement = profiled(pipeline)

    def fail(call: int) -> None:
        if call >= 3:  # survey, layers and one round went before
            raise ValueError("boom")

    with before_each(pipeline.vae.decoder, fail):
        seen = take(measurement)
    assert "ValueError: boom" in seen.notes[0]
    assert (seen.profile, len(seen.run.rounds)) == (None, 1)
    assert not profiler_is_on()
    assert take(profiled(pipeline)).profile is not None


def test_an_interruption_of_the_profile_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = profiled(mini("lumina2"))

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Timeline, "operators", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measurement.take(drive_plainly, lambda *_: None)
    assert len(read_back(measurement, complete=False).run.rounds) == 1


def test_a_profile_can_be_taken_later_and_once() -> None:
    measurement = prepared(mini("lumina2"), PROMPT, **SMALL)
    seen = take(measurement)
    assert seen.profile is None
    generator = torch.get_rng_state()
    measurement.take_profile()
    first = measurement.observation(complete=True).profile
    assert first is not None
    measurement.take_profile()
    assert measurement.observation(complete=True).profile is first
    assert torch.get_rng_state().equal(generator)
    assert msgspec.structs.replace(measurement.observation(complete=True), profile=None) == msgspec.structs.replace(
        seen, run=measurement.observation(complete=True).run
    )


def test_a_callable_without_components_is_profiled_too() -> None:
    measurement = prepared(lambda: torch.ones(3, 8, 8) @ torch.ones(8, 8))
    take(measurement)
    measurement.take_profile()
    found = calls(measurement.observation(complete=True).profile)
    assert found["unattributed", "aten::matmul"] == 1


def test_the_profiler_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    take(profiled(mini("lumina2")))
    assert capfd.readouterr() == ("", "")


COMPILERS = [
    "eager",
    pytest.param("inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")),
]


@pytest.mark.parametrize("backend", COMPILERS)
def test_time_spent_compiling_is_told(backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    pipeline = new_mini("lumina2")
    pipeline.transformer.layers[0].feed_forward.compile(backend=backend)
    measurement = prepared(pipeline, PROMPT, **SMALL)
    warmup = take(measurement).run.warmup
    assert warmup is not None
    assert warmup.compile_s is not None
    assert warmup.compile_s > 0
    # Compiled already: nothing more to tell.
    later = prepared(pipeline, PROMPT, **SMALL)
    again = take(later).run.warmup
    assert again is not None
    assert again.compile_s is None
    # What is compiled afterwards is somebody else's.
    torch._dynamo.reset()
    pipeline(PROMPT, **SMALL)
    for one, compile_s in ((measurement, warmup.compile_s), (later, None)):
        told = one.observation(complete=True).run.warmup
        assert told is not None
        assert told.compile_s == compile_s


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
