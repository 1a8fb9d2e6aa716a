"""A baseline whose own guidance wasn't as asked: the fix is no regression, and explains the other picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import judge_factories as make
import numpy as np
import pytest

from pytest_diffbench.judge import Limits

if TYPE_CHECKING:
    from pytest_diffbench.records import CallGroup, GuidanceStep, Verdict
    from pytest_diffbench.records.artifacts import Artifacts

COND = make.group("cond", "0-29")
FIRST_STEPS = "0-6"
FIXED = make.observation()
"""Guided in steps 0-14, as asked."""


def steps(guided: int, **changed: Any) -> list[GuidanceStep]:
    return [make.guided_step(**changed)] * guided + [make.plain_step()] * (make.STEPS - guided)


def judged(
    *, kept: list[GuidanceStep] | None, calls: tuple[CallGroup, ...], current: Artifacts | None = None, **work: Any
) -> dict[str, Verdict]:
    """The verdicts on a sound run, beside a baseline that made other calls."""
    groups = make.guidance(kept).groups() if kept is not None else ()
    reference = make.reference(work=make.work(calls, **work), guidance=groups)
    answers = make.judge_all(FIXED, current or make.artifacts(), reference, Limits(), ["work", "guidance", "output"])
    return {verdict.gate: verdict for verdict in answers}


@pytest.mark.parametrize("kept", [steps(7), None], ids=["guidance kept", "calls alone"])
def test_a_fix_of_guidance_is_not_a_regression_of_work(kept: list[GuidanceStep] | None) -> None:
    answer = judged(kept=kept, calls=(COND, make.group("uncond", FIRST_STEPS)))["work"]
    assert (answer.decision, answer.reason) == ("incomparable", "work.baseline_not_as_asked")
    assert "steps 7-14 not guided (7 guided, 15 expected, cfg_trunc_ratio 0.5)" in answer.message
    assert "8 unconditional transformer calls that the baseline did not make (steps 7-14)" in answer.message


def test_more_work_beyond_guidance_is_worse_all_the_same() -> None:
    answer = judged(
        kept=steps(7),
        calls=(COND, make.group("uncond", FIRST_STEPS)),
        component_calls=make.work().component_calls | {"vae.decode": 0},
    )["work"]
    assert answer.decision == "worse"


def test_a_baseline_as_asked_explains_nothing() -> None:
    answer = judged(kept=steps(make.GUIDED), calls=(COND, make.group("uncond", FIRST_STEPS)))["work"]
    assert answer.reason == "work.denoiser_calls"


def test_a_run_unlike_the_request_is_not_excused() -> None:
    everywhere = make.observation(
        work=make.work((COND, make.group("uncond", "0-29"))), guidance=make.guidance(steps(make.STEPS))
    )
    reference = make.reference(
        work=make.work((COND, make.group("uncond", FIRST_STEPS))), guidance=make.guidance(steps(7)).groups()
    )
    work, guidance = make.judge_all(everywhere, make.artifacts(), reference, Limits(), ["work", "guidance"])
    assert work.reason == "work.denoiser_calls"
    assert guidance.decision == "worse"


def test_a_changed_picture_is_explained_by_the_scale_of_the_baseline() -> None:
    inverted = make.artifacts(np.asarray(255 - make.BASE_IMAGE, dtype=np.uint8))
    output = make.observation(output=make.output(inverted.images[0]))
    reference = make.reference(guidance=make.guidance(steps(make.GUIDED, scale=7.5)).groups())
    work, answer = make.judge_all(output, inverted, reference, Limits(), ["work", "output"])
    assert work.reason == "work.same"
    assert answer.decision == "worse"
    assert "The baseline's guidance was wrong: steps 0-14 mixed at scale 7.5" in answer.message
    sound = make.reference(guidance=make.guidance(steps(make.GUIDED)).groups())
    (other,) = make.judge_all(output, inverted, sound, Limits(), ["output"])
    assert "The baseline's guidance" not in other.message
