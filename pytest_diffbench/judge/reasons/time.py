"""Reasons of the time gate, in the order in which one of several names a verdict."""

from __future__ import annotations

from pytest_diffbench.judge.reasons.reason import Reason

REASONS = (
    Reason(
        "time.incomplete", "unsure", "the measurement was interrupted or raised", "Fix the error that ended the test."
    ),
    Reason(
        "time.not_seen", "incomparable", "no round was timed", "Allow at least one round with `--diffbench-rounds`."
    ),
    Reason(
        "time.definition_changed",
        "incomparable",
        "an argument, the model, dtype, seed or weights differ from the baseline's; the message names each field",
        "Undo the change of the call, or save a baseline for the new one.",
        helps="save",
    ),
    Reason(
        "time.no_baseline",
        "unbaselined",
        "nothing is stored for this case, or nothing of this part",
        "Save this run as the first baseline.",
        helps="save",
    ),
    Reason("time.same", "same", "within chance, or under the practical floor"),
    Reason(
        "time.faster",
        "better",
        "faster beyond chance and floor, without what the machine did too, and fresh processes agree",
        "Accept the faster times, so that they are held from now on.",
        helps="save",
    ),
    Reason(
        "time.slower",
        "worse",
        "the total is slower beyond chance and floor, without what the machine did too, and fresh processes "
        "agree; stages and steps that carry it are listed",
        "Look at the stage and steps that are named, or profile the call.",
        helps="save",
    ),
    Reason(
        "time.stage_slower",
        "worse",
        "the same of one or more stages, while the total is within chance or floor",
        "Look at the stage that is named.",
        helps="save",
    ),
    Reason(
        "time.step_slower",
        "worse",
        "the same of a group of steps alone; the message names those that moved most",
        "Check what the named steps do that the others don't.",
        helps="save",
    ),
    Reason(
        "time.other_machine",
        "unbaselined",
        "the baseline is of another class of machine",
        "Save a baseline on this class of machine.",
        helps="save",
    ),
    Reason(
        "time.hardware",
        "incomparable",
        "the hardware differs from all of the baseline's runs",
        "Save a baseline on this hardware; running it again can't help.",
        helps="save",
    ),
    Reason(
        "time.settings",
        "incomparable",
        "settings of the measurement differ from all of the baseline's runs",
        "Use the baseline's settings, or save a baseline with these.",
        helps="save",
    ),
    Reason(
        "time.invalid",
        "unsure",
        "a round's time is missing, zero, negative or not finite",
        "Check the machine's clock.",
        helps="rerun",
    ),
    Reason(
        "time.parallel", "unsure", "several test processes ran at once", "Measure time without `-n`.", helps="rerun"
    ),
    Reason(
        "time.traced",
        "unsure",
        "coverage, a debugger or a profiler watched every call or line; such times are neither compared nor "
        "saved, work and output are judged as ever",
        "Measure time without `--cov`, a debugger or a profiler.",
        helps="rerun",
    ),
    Reason(
        "time.unsteady",
        "unsure",
        "the rounds' interquartile range or drift is above 15 %, or warm-up never became steady",
        "Measure on a quieter machine, or with more warm-up rounds.",
        helps="rerun",
    ),
    Reason(
        "time.unattributed",
        "unsure",
        "more than a quarter of the call, and more than 10 ms, lies outside all stages",
        "Look for work outside the pipeline's components.",
        helps="rerun",
    ),
    Reason(
        "time.crowded",
        "unsure",
        "each thread waited more than a tenth of the time for a processor",
        "Measure on a quieter machine.",
        helps="rerun",
    ),
    Reason(
        "time.few_runs",
        "unsure",
        "fewer than three runs in the baseline, and nothing under half as much time again would have been seen",
        "Save more runs, on several days.",
        helps="save",
    ),
    Reason(
        "time.few_days",
        "unsure",
        "the baseline's runs are of fewer than three days, and nothing under half as much again would have been seen",
        "Save runs on more days.",
        helps="save",
    ),
    Reason(
        "time.few_pairs",
        "unsure",
        "fewer than four usable pairs of runs of two environments",
        "Make more pairs with `--diffbench-pairs`.",
        helps="rerun",
    ),
    Reason(
        "time.blind",
        "unsure",
        "within chance, but the runs spread so much that a change under 50 % would not have been seen",
        "Save more runs, on a quiet machine.",
        helps="save",
    ),
    Reason(
        "time.machine_slower",
        "unsure",
        "reference work took over 10 % longer than beside the baseline, and that explains the case",
        "Measure again when the machine is as fast as it was.",
        helps="rerun",
    ),
    Reason(
        "time.machine_faster",
        "unsure",
        "reference work took over 10 % less than beside the baseline",
        "Measure again; if the machine stays faster, save new baselines.",
        helps="rerun",
    ),
    Reason(
        "time.clocks",
        "unsure",
        "slower in seconds, and unchanged in clock cycles of the device",
        "Fix the device's clocks, or let it cool down.",
        helps="rerun",
    ),
    Reason(
        "time.no_calibration",
        "unsure",
        "beyond chance, or blind, and the machine's pace isn't known of both sides",
        "Save again: new runs record the machine's pace.",
        helps="save",
    ),
    Reason(
        "time.unconfirmed",
        "unsure",
        "suspicious, and not confirmed: no fresh process was made, they disagree, or unchanged code strayed "
        "as far before",
        "Allow more fresh processes with `--diffbench-confirm`, or save more runs.",
        helps="rerun",
    ),
    Reason(
        "time.ratio_same", "same", "as much faster than its reference as before, within chance, floor and distance"
    ),
    Reason(
        "time.ratio_better",
        "better",
        "it gains more than that",
        "Accept the larger gain, so that it is held from now on.",
        helps="save",
    ),
    Reason(
        "time.ratio_worse",
        "worse",
        "it gains less than that, and fresh processes agree; the denoise stage's own ratio is listed",
        "Check what the variant does besides its work: hooks, copies, recompilation.",
        helps="save",
    ),
    Reason("time.ratio_few_runs", "unsure", "fewer than three stored ratios", "Save more runs.", helps="save"),
    Reason(
        "time.ratio_unconfirmed",
        "unsure",
        "it may gain less: no fresh process was made, or they disagree",
        "Allow more fresh processes with `--diffbench-confirm`, or save more runs.",
        helps="rerun",
    ),
    Reason(
        "time.ratio_overtaken",
        "unsure",
        "it gains less, yet takes less time itself, calibrated too: the reference got faster still",
        "Accept the new ratio: the reference gained more.",
        helps="save",
    ),
    Reason(
        "time.ratio_blind",
        "unsure",
        "within chance, but chance would have hidden half as much time again",
        "Measure more blocks, on a quiet machine.",
        helps="rerun",
    ),
    Reason(
        "time.ratio_reference",
        "incomparable",
        "the stored ratio is to a reference with another id or definition",
        "Save again: the reference is called otherwise now.",
        helps="save",
    ),
)
