"""Stages and steps from passages: pure arithmetic, no torch."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.measure import clock
from pytest_diffbench.measure.stages import BoundaryTimer, Passage, attribute

if TYPE_CHECKING:
    from pytest_diffbench.measure.components import Role


def passages(*spans: tuple[Role, float, float]) -> list[Passage]:
    """Entrances and exits in the order of their time; nested spans are fine."""
    passages_of_spans = [Passage(role, True, begin) for role, begin, _ in spans]
    passages_of_spans += [Passage(role, False, end) for role, _, end in spans]
    return sorted(passages_of_spans, key=lambda passage: (passage.at_s, passage.entered))


def test_stages_and_unattributed_add_up_to_the_total() -> None:
    times = attribute(
        passages(
            ("text", 0.1, 0.3),
            ("denoiser", 1.0, 2.0),
            ("step", 2.5, 2.6),
            ("denoiser", 3.0, 4.0),
            ("step", 4.5, 4.6),
            ("vae_decode", 5.0, 6.0),
        ),
        total_s=7.0,
    )
    assert times.stages_s == pytest.approx(
        {"text_encode": 0.2, "denoise": 3.6, "vae_decode": 1.0, "unattributed": 2.2}
    )
    assert sum(times.stages_s.values()) == pytest.approx(7.0)


def test_a_step_lasts_from_the_end_of_the_previous_step() -> None:
    times = attribute(
        passages(("denoiser", 1.0, 2.0), ("step", 2.0, 2.5), ("denoiser", 3.0, 4.0), ("step", 4.0, 4.5)), 5.0
    )
    assert times.steps_s == pytest.approx((1.5, 2.0))
    assert sum(times.steps_s) == pytest.approx(times.stages_s["denoise"])


def test_time_between_denoiser_and_scheduler_is_denoising() -> None:
    times = attribute(passages(("denoiser", 0.0, 1.0), ("step", 3.0, 4.0)), 4.0)
    assert times.stages_s == pytest.approx({"denoise": 4.0, "unattributed": 0.0})


def test_without_a_scheduler_denoising_ends_with_the_last_call() -> None:
    times = attribute(passages(("denoiser", 0.0, 1.0), ("denoiser", 2.0, 3.0)), 5.0)
    assert times.stages_s == pytest.approx({"denoise": 3.0, "unattributed": 2.0})
    assert times.steps_s == ()


def test_an_encoder_inside_encode_prompt_counts_once() -> None:
    times = attribute(passages(("text", 0.0, 4.0), ("text", 1.0, 2.0)), 5.0)
    assert times.stages_s["text_encode"] == pytest.approx(4.0)


def test_an_autoencoder_within_the_loop_is_not_denoising() -> None:
    times = attribute(
        passages(("denoiser", 0.0, 1.0), ("vae_encode", 1.0, 3.0), ("denoiser", 3.0, 4.0), ("step", 4.0, 5.0)), 5.0
    )
    assert times.stages_s == pytest.approx({"denoise": 3.0, "vae_encode": 2.0, "unattributed": 0.0})


def test_helpers_keep_the_surrounding_stage() -> None:
    times = attribute(passages(("other", 0.0, 1.0), ("denoiser", 1.0, 2.0), ("step", 2.0, 3.0)), 4.0)
    assert times.stages_s == pytest.approx({"denoise": 2.0, "unattributed": 2.0})


def test_a_target_without_observed_parts_has_no_stages() -> None:
    assert attribute([], 3.0).stages_s == {}
    assert attribute(passages(("other", 0.0, 1.0)), 3.0).stages_s == {}


def test_the_timer_reads_a_clock_replaceable_by_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(step=1_000_000_000)
    monkeypatch.setattr(clock, "now_ns", lambda: next(ticks))
    timer = BoundaryTimer(clock.HostClock())
    denoiser: Any = SimpleNamespace(role="denoiser")
    step: Any = SimpleNamespace(role="step")
    timer.start()
    for site in (denoiser, step):
        timer.enter(site, (), {})
        timer.leave(site, "latents")
    times = timer.times(total_s=5.0)
    assert times.stages_s == pytest.approx({"denoise": 3.0, "unattributed": 2.0})
    assert timer.last_step_output == "latents"
