"""Guidance without a formula: what was seen is described, held against the baseline, and odd where it contradicts."""

from __future__ import annotations

from typing import Any

import judge_factories as make
import pytest

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.guidance.observed import contradictions
from pytest_diffbench.records import Case, Guidance, GuidanceStep


def guided(scale: float = 4.0, **changed: Any) -> GuidanceStep:
    fields: dict[str, Any] = {
        "branches": ("cond", "uncond"),
        "used": "guided",
        "sign": 1,
        "scale": scale,
        "gain_min": 1.0,
        "gain_max": 1.0,
        "norm_ratio_min": 1.2,
        "norm_ratio_max": 1.4,
    }
    return GuidanceStep(**(fields | changed))


def plain(*branches: Any) -> GuidanceStep:
    return GuidanceStep(branches=branches or ("cond",), used="cond", sign=1)


def read_guidance(*steps: GuidanceStep, pipeline: str = "OwnPipeline", **arguments: Any) -> Guidance:
    return Guidance(pipeline=pipeline, arguments=arguments, dtype_eps=2**-23, steps=steps)


def judged(now: Guidance, base: Guidance | None, **arguments: Any) -> Any:
    case = Case(id="case", definition=make.definition(**arguments))
    observation = make.observation(guidance=now, case=case)
    reference = make.reference(observation, guidance=base.groups()) if base is not None else None
    (verdict,) = make.judge_all(observation, make.artifacts(), reference, Limits(), ["guidance"])
    return verdict


FOUR = (guided(), guided(), plain(), plain())


def test_equal_steps_stand_together() -> None:
    rescaled = guided(gain_min=0.4, gain_max=0.9, norm_ratio_min=1.0, norm_ratio_max=1.0 + 2**-22)
    other = guided(gain_min=0.4, gain_max=0.9)
    groups = read_guidance(guided(4.0), guided(4.0 + 1e-5), rescaled, other, plain(), guided(7.5)).groups()
    assert [(group.steps, group.used, group.renorm) for group in groups] == [
        ("0-1", "guided", "none"),
        ("2", "guided", "rows"),
        ("3", "guided", "other"),
        ("4", "cond", "unknown"),
        ("5", "guided", "none"),
    ]
    assert groups[0].scale == pytest.approx(4.0, abs=1e-4)


def test_what_was_observed_is_described_where_nothing_is_known() -> None:
    verdict = judged(read_guidance(*FOUR), None)
    assert (verdict.reason, verdict.decision) == ("guidance.no_formula", "incomparable")
    assert "steps 0-1 guided at scale 4 (cond + uncond); steps 2-3 conditional only (cond)" in verdict.message


def test_the_same_as_in_the_baseline_is_the_same() -> None:
    verdict = judged(read_guidance(*FOUR), read_guidance(*FOUR))
    assert (verdict.reason, verdict.decision) == ("guidance.same", "same")
    assert "As in the baseline" in verdict.message
    # a reading that is off by rounding
    assert judged(read_guidance(guided(4.0004), *FOUR[1:]), read_guidance(*FOUR)).reason == "guidance.same"


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ((guided(), guided(), guided(), plain()), "step 2 conditional only (cond) -> guided at scale 4"),
        (
            (guided(5.0), guided(5.0), plain(), plain()),
            "steps 0-1 guided at scale 4 (cond + uncond) -> guided at scale 5",
        ),
        ((guided(), plain(), plain(), plain()), "step 1 guided at scale 4 (cond + uncond) -> conditional only"),
        (
            (*FOUR[:2], plain("cond", "uncond"), plain()),
            "step 2 conditional only (cond) -> conditional only (cond + uncond)",
        ),
        (FOUR[:3], "step 3 missing"),
        ((*FOUR, plain()), "step 4 new"),
        ((guided(sign=-1), *FOUR[1:]), "negated"),
        ((guided(gain_min=0.5, gain_max=0.6), *FOUR[1:]), "rescaled"),
        ((guided(None), *FOUR[1:]), "unreadable scale"),  # type: ignore[arg-type]  # as it is read of equal branches
    ],
)
def test_any_change_is_worse_and_named_with_the_steps(now: tuple[GuidanceStep, ...], words: str) -> None:
    verdict = judged(read_guidance(*now), read_guidance(*FOUR))
    assert (verdict.reason, verdict.decision) == ("guidance.changed", "worse")
    assert words in verdict.message


MIX = GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(7.5, -6.0, -0.5))


@pytest.mark.parametrize(
    ("now", "base", "words"),
    [
        (
            GuidanceStep(branches=("unknown",), used="mixed", sign=1, shares=(7.9, -6.4, -0.5)),
            MIX,
            "a mix of 3 predictions, with shares of 7.5, -6, -0.5 (unknown) -> a mix of 3 predictions",
        ),
        (
            guided(2.6, scale_span=(1.0, 4.2)),
            guided(2.5, scale_span=(1.0, 4.0)),
            "guided at scale 1 to 4 (cond + uncond) -> guided at scale 1 to 4.2",
        ),
        (
            guided(components=("transformer",)),
            guided(components=("transformer_2",)),
            "(cond + uncond of transformer_2) -> guided at scale 4 (cond + uncond of transformer)",
        ),
        (guided(5.0, converted=True), guided(4.0, converted=True), "at scale 4, converted with the latents (cond"),
        (
            guided(4.0),
            guided(4.0, converted=True),
            "converted with the latents (cond + uncond) -> guided at scale 4 (c",
        ),
    ],
    ids=["shares", "span", "denoiser", "converted", "not converted"],
)
def test_everything_read_by_a_fit_is_compared(now: GuidanceStep, base: GuidanceStep, words: str) -> None:
    verdict = judged(read_guidance(now), read_guidance(base))
    assert (verdict.reason, verdict.decision) == ("guidance.changed", "worse")
    assert words in verdict.message
    assert judged(read_guidance(base), read_guidance(base)).reason == "guidance.same"


UNREAD = GuidanceStep(branches=("unknown",), used="unknown", sign=0)
UNREAD_BRANCHES = GuidanceStep(branches=("cond", "uncond"), used="unknown", sign=0)
CONVERTED = guided(converted=True)


@pytest.mark.parametrize(
    ("now", "unread", "words"),
    [
        (MIX, UNREAD, "step 0 matching neither branch (unknown) -> a mix of 3 predictions"),
        (
            CONVERTED,
            UNREAD_BRANCHES,
            "step 0 matching neither branch (cond + uncond) -> guided at scale 4, converted",
        ),
    ],
    ids=["mix", "converted"],
)
def test_what_the_baseline_could_not_read_and_now_can_be_is_no_longer_the_same(
    now: GuidanceStep, unread: GuidanceStep, words: str
) -> None:
    verdict = judged(read_guidance(now, plain()), read_guidance(unread, plain()))
    assert (verdict.reason, verdict.decision) == ("guidance.newly_read", "unsure")
    assert words in verdict.message
    assert judged(read_guidance(unread, plain()), read_guidance(unread, plain())).reason == "guidance.same"
    # a change beside it is one
    assert judged(read_guidance(now, guided()), read_guidance(unread, plain())).reason == "guidance.changed"


@pytest.mark.parametrize("now", [plain(), guided(), MIX], ids=["conditional", "guided", "mix of other branches"])
def test_what_was_read_before_fits_were_is_a_change(now: GuidanceStep) -> None:
    assert judged(read_guidance(now), read_guidance(UNREAD_BRANCHES)).reason == "guidance.changed"


@pytest.mark.parametrize("base", [MIX, CONVERTED, guided(), plain()], ids=["mix", "converted", "guided", "plain"])
def test_what_the_baseline_could_read_and_now_cannot_be_is_worse(base: GuidanceStep) -> None:
    unread = GuidanceStep(branches=base.branches, used="unknown", sign=0)
    verdict = judged(read_guidance(unread), read_guidance(base))
    assert (verdict.reason, verdict.decision) == ("guidance.changed", "worse")
    assert "-> matching neither branch" in verdict.message


def test_a_formula_leaves_unreadable_guidance_to_the_baseline() -> None:
    read, mixed = make.guided_step(), make.guided_step(used="mixed", shares=(4.0, -3.0))
    unread = make.guided_step(used="unknown")

    def lumina(step: GuidanceStep) -> Guidance:
        return make.guidance([step, make.plain_step()], num_inference_steps=2, cfg_trunc_ratio=0.5)

    for now in (unread, mixed):
        verdict = judged(lumina(now), lumina(read))
        assert (verdict.reason, verdict.decision) == ("guidance.changed", "worse")
        assert (
            "The formula for Lumina2Pipeline cannot decide: prediction at step 0 matches neither" in verdict.message
        )
        assert judged(lumina(now), lumina(now)).reason == "guidance.unknown", "nothing was lost"
        assert judged(lumina(now), None).reason == "guidance.unknown"
        assert judged(lumina(now), lumina(unread)).reason == "guidance.unknown"
    assert judged(lumina(read), lumina(unread)).reason == "guidance.same", "the formula needs no baseline"


def test_a_baseline_of_before_denoisers_were_named_is_the_same() -> None:
    named = guided(components=("transformer",))
    assert judged(read_guidance(named), read_guidance(guided())).reason == "guidance.same", "it names no denoisers"


@pytest.mark.parametrize(("second", "scale", "odd"), [(3.0, 3.0, False), (3.0, 4.0, True), (None, 4.0, False)])
def test_every_denoiser_has_a_separate_scale(second: float | None, scale: float, odd: bool) -> None:
    steps = (guided(4.0, components=("transformer",)), guided(scale, components=("transformer_2",)))
    call = read_guidance(*steps, guidance_scale=4.0, guidance_scale_2=second)
    assert bool(contradictions(call)) is odd
    if odd:
        words = "guidance_scale_2 is 3, but 1 step of transformer_2 mixed at scale 4"
        assert words in judged(call, None).message


@pytest.mark.parametrize(
    ("scales", "arguments", "odd"),
    [
        ((4.2, 4.2), {"guidance_scale": 4.0}, True),
        ((4.0, 4.0), {"guidance_scale": 4.0}, False),
        ((5.0, 5.0), {"guidance_scale": 4.0}, False),  # c + s (c - u)
        ((4.2,), {"guidance_scale": 4.0}, False),  # may be the first of a schedule
        ((4.2, 3.0), {"guidance_scale": 4.0}, False),  # is one
        ((3.5, 3.5), {"distilled_guidance_scale": 3.25}, False),  # a guider's, which is no argument
        ((4.2, 4.2), {"guidance_scale": 7.0, "prior_guidance_scale": 4.2}, False),
        ((4.2, 4.2), {"guidance_scale": 7.0, "true_cfg_scale": 4.0}, True),
    ],
)
def test_an_unrequested_scale_is_red_without_formula_and_baseline(
    scales: tuple[float, ...], arguments: dict[str, Any], odd: bool
) -> None:
    call = read_guidance(*map(guided, scales), **arguments)
    answer = judged(call, None)
    assert (answer.reason == "guidance.not_as_asked") is odd, answer.message
    assert judged(call, call).reason == "guidance.same", "once it is saved, it is what was accepted"
    assert judged(call, None, callback_on_step_end={"type": "mine.Slide"}).reason == "guidance.no_formula"
    if odd:
        assert "is 4" in answer.message
        assert "but 2 steps mixed at scale 4.2" in answer.message


def test_a_callback_of_the_callers_steers_the_call() -> None:
    arguments: dict[str, Any] = {"num_inference_steps": 2, "cfg_trunc_ratio": 1.0}
    lumina = make.guidance([make.guided_step(), make.plain_step()], **arguments)
    cutoff = {"type": "diffusers.SDCFGCutoffCallback", "config": {"cutoff_step_ratio": 0.5}}
    callback: dict[str, Any] = {"callback_on_step_end": cutoff}
    assert judged(lumina, None).reason == "guidance.missing_steps"
    steered = judged(lumina, None, **callback)
    assert (steered.reason, steered.decision) == ("guidance.steered", "incomparable")
    assert "callback_on_step_end takes part in each step" in steered.message
    assert judged(lumina, lumina, **callback).reason == "guidance.same"
    both = make.guidance([make.guided_step(), make.guided_step()], **arguments)
    assert judged(lumina, both, **callback).reason == "guidance.changed"
    # one that leaves guidance alone leaves it to the formula
    assert judged(both, None, **callback).reason == "guidance.same"


@pytest.mark.parametrize(
    ("guidance", "odd"),
    [
        (read_guidance(plain(), guidance_scale=4.0, negative_prompt="fog"), "but no step was guided"),
        (read_guidance(plain("joint"), guidance_scale=1.0), "but both branches were called in 1 step"),
        (
            read_guidance(plain("cond", "uncond"), plain(), true_cfg_scale=1.0, guidance_scale=4.0),
            "true_cfg_scale is 1",
        ),
        (read_guidance(plain(), guidance_scale=4.0), None),  # distilled
        (read_guidance(guided(), guidance_scale=4.0, negative_prompt="fog"), None),
        (read_guidance(plain(), guidance_scale=1.0, negative_prompt="fog"), None),
        (read_guidance(guided(1.0), guidance_scale=1.0), None),  # it says that it was guided
        (read_guidance(plain("joint")), None),
    ],
)
def test_what_contradicts_the_arguments_is_said_without_a_baseline(guidance: Guidance, odd: str | None) -> None:
    answer = judged(guidance, None)
    assert answer.details.contradictions == contradictions(guidance)
    assert "Observed: " in answer.message
    if odd is None:
        assert (contradictions(guidance), "Contradiction" in answer.message) == ((), False)
    else:
        assert odd in answer.message.partition("Contradiction: ")[2]
