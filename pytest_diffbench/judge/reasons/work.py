"""Reasons of the work gate, in the order in which one of several names a verdict."""

from __future__ import annotations

from pytest_diffbench.judge.reasons.reason import Reason

REASONS = (
    Reason(
        "work.incomplete", "unsure", "the measurement was interrupted or raised", "Fix the error that ended the test."
    ),
    Reason(
        "work.not_seen",
        "incomparable",
        "no call of any component was seen, here or in the baseline",
        "Pass the pipeline itself, not a function around it; the notes of the case say why nothing was seen.",
    ),
    Reason(
        "work.definition_changed",
        "incomparable",
        "an argument, the model, dtype, seed or weights differ from the baseline's; the message names each field",
        "Undo the change of the call, or save a baseline for the new one.",
        helps="save",
    ),
    Reason(
        "work.no_baseline",
        "unbaselined",
        "nothing is stored for this case, or nothing of this part",
        "Save this run as the first baseline.",
        helps="save",
    ),
    Reason(
        "work.inert",
        "worse",
        "an optimisation is on and had no part in the call, whatever the baseline: a cache that never hit, adapters "
        "of zeros, nothing compiled or quantised; the message names it",
        "Check its threshold and the order of set-up, or switch it off: the call is the plain one.",
    ),
    Reason("work.same", "same", "calls, shapes and parameters are equal, FLOPs too or within their allowance"),
    Reason(
        "work.less",
        "better",
        "less of something, more of nothing; whether less is still enough is for `output` and `guidance` to say",
        "Check the output and guidance gates, then accept the smaller figures.",
        helps="save",
    ),
    Reason(
        "work.steps",
        "worse",
        "another number of scheduler steps",
        "Check the scheduler, `num_inference_steps` and `sigmas`.",
        helps="save",
    ),
    Reason(
        "work.schedule",
        "worse",
        "as many steps, at other timesteps or with other sigmas",
        "Check the scheduler and its configuration.",
        helps="save",
    ),
    Reason(
        "work.branches",
        "worse",
        "calls moved from one branch to another, such as two calls of batch 1 to a joint one of batch 2",
        "Check how conditional and unconditional calls are batched.",
        helps="save",
    ),
    Reason(
        "work.denoiser_calls",
        "worse",
        "the denoiser is called more often; the message names steps and branch",
        "Check for truncation that is ignored, and for calls that are repeated.",
        helps="save",
    ),
    Reason(
        "work.component_calls",
        "worse",
        "another component is called more often, such as `vae.decode`",
        "Check for a result that used to be kept and is now computed again.",
        helps="save",
    ),
    Reason(
        "work.shapes",
        "worse",
        "batch or shapes of the denoiser's arguments changed, and FLOPs didn't fall with them",
        "Check for padding, a longer prompt, or another batch size.",
        helps="save",
    ),
    Reason(
        "work.parameters",
        "worse",
        "a component has more parameters",
        "Check the model's configuration.",
        helps="save",
    ),
    Reason(
        "work.flops",
        "worse",
        "more FLOPs for the same calls",
        "Look inside the component that is named: the same calls compute more.",
        helps="save",
    ),
    Reason(
        "work.baseline_not_as_asked",
        "incomparable",
        "the baseline's steps weren't guided as the arguments ask for, and now they are: a fix, not a regression",
        "Look at the picture, then accept the fix.",
        helps="save",
    ),
    Reason(
        "work.attention_mask",
        "worse",
        "more calls of attention are handed a mask, which rules out the fastest kernels",
        "Drop masks that hide nothing: a mask of ones rules out the fastest attention kernels.",
        helps="save",
    ),
    Reason(
        "work.compiled",
        "worse",
        "`torch.compile` makes more graphs, breaks them more often, or gives up at its limit of recompilations",
        "Run with `TORCH_LOGS=graph_breaks,recompiles` to find the lines.",
        helps="save",
    ),
    Reason(
        "work.uncounted",
        "unsure",
        "fewer FLOPs, where operators of another package ran that no formula counts: a loss of formulas, not of work",
        "Check that nothing else changed, then save: further runs are compared with the same formulas.",
        helps="save",
    ),
    Reason(
        "work.operators",
        "unsure",
        "the same calls, shapes and FLOPs by more operators of torch, or others; the message names "
        "component and operators",
        "Check what changed in the component that is named; the time gate says what it costs.",
        helps="save",
    ),
    Reason(
        "work.python_calls",
        "unsure",
        "the same by at least 5 % more calls of Python functions",
        "Look for a walk over modules, hooks or properties inside the loop.",
        helps="save",
    ),
)
