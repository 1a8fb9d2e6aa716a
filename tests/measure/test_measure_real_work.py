"""Stages, layers, FLOPs and memory of real pipelines, compiled and hooked ones among them."""

from __future__ import annotations

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
    observe,
    stable_diffusion,
    stable_diffusion_3,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pytest_diffbench.measure.components import sites_of
from pytest_diffbench.measure.flops import FlopMeter
from pytest_diffbench.measure.layers import timer_for_survey
from pytest_diffbench.measure.rounds import Caller
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.measure.surveying import survey_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.measure.components import Site
    from pytest_diffbench.records import Work


pytestmark = pytest.mark.pipeline

PIPELINES: dict[str, Callable[[], Any]] = {
    "lumina2": lambda: mini("lumina2"),
    "flux": lambda: mini("flux"),
    "sd": stable_diffusion,
    "sd3": stable_diffusion_3,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_stages_add_up_and_little_is_left_over(name: str) -> None:
    observation = observe(PIPELINES[name](), PROMPT, rounds=3, **SMALL)
    for timed in observation.run.rounds:
        assert sorted(timed.stages_s) == ["denoise", "text_encode", "unattributed", "vae_decode"]
        assert sum(timed.stages_s.values()) == pytest.approx(timed.total_s, rel=1e-6)
        assert len(timed.steps_s) == 2
        assert sum(timed.steps_s) <= timed.stages_s["denoise"] + 1e-9
    # Of the best round: whatever interrupts a busy machine may fall between the stages.
    assert min(timed.stages_s["unattributed"] / timed.total_s for timed in observation.run.rounds) < 0.25


def test_layers_and_attention_parameters() -> None:
    for name, count in {"lumina2": 4, "flux": 2}.items():
        pipeline = mini(name)
        observation = observe(pipeline, PROMPT, **SMALL)
        assert observation.layers is not None
        assert observation.layers.attention_layers == count
        assert observation.layers.attention_rel is not None
        assert 0 < observation.layers.attention_rel < 1
        assert observation.work is not None
        by_name = sum(p.numel() for path, p in pipeline.transformer.named_parameters() if ".attn." in path)
        assert observation.work.attention_parameters == {"transformer": by_name}
        assert observation.work.parameters["transformer"] == sum(p.numel() for p in pipeline.transformer.parameters())


class LoggedClock:
    """Notes each mark."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def mark(self) -> object:
        """A moment."""
        self._log.append("mark")
        return None

    def seconds(self, marks: Sequence[object]) -> list[float]:
        """All at once."""
        return [0.0] * len(marks)


def test_what_the_survey_does_lies_outside_of_the_layers_times(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, log = mini("lumina2"), list[str]()
    for name in ("enter", "leave"):
        original = getattr(Survey, name)

        def noted(self: Survey, site: Site, *given: Any, name: str = name, original: Any = original) -> None:
            if site.role == "denoiser":
                log.append(name)
            original(self, site, *given)

        monkeypatch.setattr(Survey, name, noted)
    clock = LoggedClock(log)
    caller = Caller(pipeline, (PROMPT,), SMALL, 0, clock)
    layers = timer_for_survey(pipeline, "cpu", clock)
    assert layers is not None
    with layers.installed():
        survey_call(caller, list(sites_of(pipeline)), pipeline, ["cpu"])
    first, *passages = log
    assert first == "mark"  # the call begins
    places = [i for i, event in enumerate(passages) if event != "mark"]
    assert len(places) == 2 * 4
    for enters, leaves in zip(places[::2], places[1::2], strict=True):
        assert (passages[enters], passages[leaves]) == ("enter", "leave")
        assert passages[enters + 1 : leaves] == ["mark"] * (2 + 2 * 4)  # the denoiser, and its attention layers
    assert len(passages) == sum(2 + 2 * 4 + 2 for _ in places[::2])  # no layer is timed anywhere else


def test_layers_have_a_separate_call_if_a_survey_would_show() -> None:
    pipeline = mini("lumina2")
    assert timer_for_survey(pipeline, "cuda", LoggedClock([])) is None
    assert timer_for_survey(pipeline, "cpu", LoggedClock([])) is not None


def independent_flops(pipeline: Any, monkeypatch: pytest.MonkeyPatch, *args: Any, **kwargs: Any) -> list[int]:
    """FLOPs of each denoiser call: torch's counter, which doesn't know the CPU's attention, and attention by hand."""
    counted: list[int] = []
    attention = 0
    functional = torch.nn.functional.scaled_dot_product_attention

    def counting(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any) -> Any:
        nonlocal attention
        # scores are (queries, keys), each a product over the width; so is each of the weighted sums
        attention += 2 * query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return functional(query, key, value, *rest, **named)

    forward = pipeline.transformer.forward

    def counted_forward(*inputs: Any, **named: Any) -> Any:
        nonlocal attention
        attention = 0
        with FlopCounterMode(display=False) as counter:
            output = forward(*inputs, **named)
        counted.append(counter.get_total_flops() + attention)
        return output

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", counting)
        patch.setattr(pipeline.transformer, "forward", counted_forward)
        pipeline(*args, **kwargs)
    return counted


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_flops_equal_an_independent_count(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = mini(name)
    settings = {**SMALL, "num_inference_steps": 1}
    observation = observe(pipeline, PROMPT, **settings)
    assert observation.work is not None
    expected = independent_flops(pipeline, monkeypatch, PROMPT, **settings)
    assert [group.flops for group in observation.work.denoiser] == expected
    assert observation.work.flops["transformer"] == sum(expected)


@pytest.mark.parametrize("name", ["lumina2", "flux"])
def test_flops_equal_torchs_own_counter(name: str) -> None:
    pipeline = mini(name)
    with FlopMeter() as meter:
        pipeline(PROMPT, **SMALL)
    # math attention on this side, since torch has no formula for the CPU's fused one
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        pipeline(PROMPT, **SMALL)
    assert meter.total() == counter.get_total_flops() > 0


def without_python_calls(work: Work | None) -> Work:
    assert work is not None
    return msgspec.structs.replace(work, python_calls={})


def without_operators(work: Work | None) -> Work:
    return msgspec.structs.replace(without_python_calls(work), operators={})


@pytest.mark.full
def test_flops_do_not_depend_on_the_kernel_of_attention() -> None:
    observation = observe(mini("lumina2"), PROMPT, **SMALL)
    with sdpa_kernel(SDPBackend.MATH):
        in_full = observe(mini("lumina2"), PROMPT, **SMALL)
    assert without_operators(in_full.work) == without_operators(observation.work)


@pytest.mark.parametrize("heads", [4, 2], ids=["all heads", "grouped heads"])
def test_attention_with_fewer_keys_and_other_widths(heads: int) -> None:
    query, key, value = torch.zeros(3, 4, 7, 8), torch.zeros(3, heads, 5, 8), torch.zeros(3, heads, 5, 8)
    with FlopMeter() as meter:
        torch.nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=heads != 4)
    assert meter.total() == 2 * (3 * 4 * 7 * 5 * 8) * 2


@pytest.mark.full
def test_the_survey_of_what_is_compiled_runs_compiled_code() -> None:
    """Else its memory and its trace would be those of other code."""
    torch._dynamo.reset()
    ran: list[int] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            ran.append(1)
            return graph.forward(*args)

        return run

    pipeline = new_mini("lumina2")
    pipeline.transformer.layers[0].compile(backend=backend)
    observation = observe(pipeline, PROMPT, guidance_scale=1.0, **SMALL)
    assert observation.work is not None
    # One graph a call, in three of four passes: the one that counts FLOPs runs eagerly.
    assert len(ran) == 3 * observation.work.denoiser_calls


@pytest.mark.full
def test_hooks_of_accelerate_keep_working() -> None:
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    class Counting(ModelHook):  # type: ignore[misc]  # accelerate has no types
        calls = 0

        def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            self.calls += 1
            return args, kwargs

    plain = observe(mini("lumina2"), PROMPT, **SMALL)
    pipeline, hook = new_mini("lumina2"), Counting()
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        add_hook_to_module(part, hook)
    hooked = observe(pipeline, PROMPT, **SMALL)
    # transformer, decoder and encoder, in survey, count and one round
    assert hook.calls == 3 * (4 + 1 + 2)
    assert without_python_calls(hooked.work) == without_python_calls(plain.work)
    assert hooked.output == plain.output
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
        assert part._hf_hook is hook
        remove_hook_from_module(part)


def test_memory_is_reported_stage_by_stage() -> None:
    observation = observe(mini("lumina2"), PROMPT, **SMALL)
    assert observation.memory is not None
    if observation.memory.source == "process_rss":
        assert set(observation.memory.stages) == {"text_encode", "denoise", "vae_decode", "unattributed"}
        assert max(stage.peak_bytes for stage in observation.memory.stages.values()) == observation.memory.peak_bytes
