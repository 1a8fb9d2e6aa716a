"""Reasons of the guidance gate, in the order in which one of several names a verdict."""

from __future__ import annotations

from pytest_diffbench.judge.reasons.reason import Reason

REASONS = (
    Reason(
        "guidance.incomplete",
        "unsure",
        "the measurement was interrupted or raised",
        "Fix the error that ended the test.",
    ),
    Reason(
        "guidance.not_seen",
        "incomparable",
        "no scheduler step was seen, or the denoiser's branches couldn't be followed",
        "Leave the gate out where a call has no guidance; the notes of the case say why nothing was seen.",
    ),
    Reason("guidance.same", "same", "every step did what the arguments ask for, within rounding of the dtype"),
    Reason(
        "guidance.planned",
        "incomparable",
        "the call was [planned](plan.md): the branches that it called, and those that each step depends on, "
        "are as asked; scale, sign and renorm need values",
        "Measure the pipeline with its weights to check scale, sign and renorm too.",
    ),
    Reason(
        "guidance.no_formula",
        "incomparable",
        "no formula is registered for this pipeline class, or the call asks for what its formula doesn't "
        "cover, and no baseline holds what it did; the message says what was seen, and what of it is odd "
        "beside the arguments",
        "Save a baseline to compare with, or register a formula (`register_formula`).",
        helps="save",
    ),
    Reason(
        "guidance.steered",
        "incomparable",
        "the call isn't as its formula says, and a callback of the caller's takes part in each step; or "
        "steps are guided by the difference of branches that an earlier step had",
        "Save a baseline: from then on, what the callback does to guidance is compared with it.",
        helps="save",
    ),
    Reason(
        "guidance.unknown",
        "unsure",
        "an argument wasn't recorded, or a step's prediction matches neither branch nor their mix",
        "Check what couldn't be read; equal positive and negative prompts can't be told apart.",
        helps="rerun",
    ),
    Reason(
        "guidance.newly_read",
        "unsure",
        "where no formula decides: what the baseline's steps were made of couldn't be read when it was saved, and "
        "now can be; the pipeline changed, or the plugin reads more than it did",
        "Check that the steps do what the call asks for, and save them.",
        helps="save",
    ),
    Reason(
        "guidance.not_as_asked",
        "worse",
        "there is neither a formula nor a baseline, but all steps mix at a scale that is no argument's, nor one "
        "more than any",
        "Check where the guidance scale goes. Where the class means something else by it, save a baseline, or "
        "register a formula (`register_formula`).",
        helps="save",
    ),
    Reason(
        "guidance.changed",
        "worse",
        "where no formula decides: branches, scale, sign or renorm of a step aren't what they are in the baseline; "
        "or the baseline could read a step's prediction, and now it matches nothing that a formula or a fit knows",
        "Check the steps that are named.",
        helps="save",
    ),
    Reason(
        "guidance.steps",
        "worse",
        "another number of steps ran than was asked for",
        "Check the scheduler; schedulers of higher order call the denoiser twice a step.",
    ),
    Reason(
        "guidance.extra_steps",
        "worse",
        "steps were guided that shouldn't be; formerly `guidance.truncation_ignored`",
        "Check the truncation condition: step i of N (from 0) is guided where `(i + 1) / N <= cfg_trunc_ratio`.",
    ),
    Reason(
        "guidance.missing_steps",
        "worse",
        "steps were not guided that should be; formerly `guidance.truncated_too_much`",
        "Check the truncation condition: step i of N (from 0) is guided where `(i + 1) / N <= cfg_trunc_ratio`.",
    ),
    Reason(
        "guidance.wrong_branch",
        "worse",
        "a step used the unconditional prediction, was guided without a call of both branches, or mixed "
        "them in each other's place",
        "Use the conditional prediction in truncated steps, and check the order of the two halves of a joint batch.",
    ),
    Reason(
        "guidance.wasted_call",
        "worse",
        "the unconditional branch was called in a step that doesn't use it",
        "Skip the unconditional call in steps that don't use it.",
    ),
    Reason(
        "guidance.sign",
        "worse",
        "the scheduler was handed the prediction with the wrong sign",
        "Check the sign: `Lumina2Pipeline` and `ZImagePipeline` negate the prediction, other pipelines don't.",
    ),
    Reason(
        "guidance.scale",
        "worse",
        "the branches were mixed with another scale",
        "Check where the guidance scale comes from.",
    ),
    Reason(
        "guidance.renorm_missing",
        "worse",
        "renorm is on, but guided predictions were left as they were",
        "Check that `cfg_normalization` reaches the guided prediction.",
    ),
    Reason(
        "guidance.renorm_wrong",
        "worse",
        "guided predictions were rescaled, but not as the formula says",
        "Check the axis of the norm, and look for a clamp.",
    ),
    Reason(
        "guidance.renorm_unasked",
        "worse",
        "renorm is off, but guided predictions have the conditional norm",
        "Check `cfg_normalization`: it is off, yet predictions are rescaled.",
    ),
    Reason(
        "guidance.gain",
        "worse",
        "renorm is off, but guided predictions were scaled by something else",
        "Look for a rescaling of the guided prediction.",
    ),
)
