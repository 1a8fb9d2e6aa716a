"""Reasons of the memory gate, in the order in which one of several names a verdict."""

from __future__ import annotations

from pytest_diffbench.judge.reasons.reason import Reason

REASONS = (
    Reason(
        "memory.incomplete",
        "unsure",
        "the measurement was interrupted or raised",
        "Fix the error that ended the test.",
    ),
    Reason(
        "memory.not_seen",
        "incomparable",
        "this device has no source of peak memory",
        "Leave the gate out: this device can't tell its peak memory.",
    ),
    Reason(
        "memory.definition_changed",
        "incomparable",
        "an argument, the model, dtype, seed or weights differ from the baseline's; the message names each field",
        "Undo the change of the call, or save a baseline for the new one.",
        helps="save",
    ),
    Reason(
        "memory.no_baseline",
        "unbaselined",
        "nothing is stored for this case, or nothing of this part",
        "Save this run as the first baseline.",
        helps="save",
    ),
    Reason(
        "memory.same", "same", "within 2 % and 8 MiB (25 % and 256 MiB for a resident set), and reserved within 10 %"
    ),
    Reason(
        "memory.less",
        "better",
        "the peak fell by more than that",
        "Accept the smaller peak, so that it is held from now on.",
        helps="save",
    ),
    Reason(
        "memory.peak",
        "worse",
        "the peak grew by more than that; the stage that carries it is named",
        "Look at the stage that is named.",
        helps="save",
    ),
    Reason(
        "memory.stage",
        "worse",
        "a stage's peak grew, under the peak of the call",
        "Look at the stage that is named.",
        helps="save",
    ),
    Reason(
        "memory.workspace",
        "worse",
        "the tensors that a stage makes take more, by over 2 % and 64 KiB; counted exactly, on a CPU as on a GPU",
        "Look at the tensors that this stage keeps alive.",
        helps="save",
    ),
    Reason(
        "memory.reserved",
        "worse",
        "the allocator's reservation grew by more than 10 %",
        "Look for fragmentation: tensors of many sizes, or a workspace that grows.",
        helps="save",
    ),
    Reason(
        "memory.rough",
        "incomparable",
        "only the peak of the process's whole life is known",
        "Measure on a device with an allocator, or run the case in a process of its own.",
    ),
    Reason(
        "memory.source",
        "incomparable",
        "memory was read from another source than in the baseline",
        "Save a baseline with this way of reading memory.",
        helps="save",
    ),
    Reason(
        "memory.hardware",
        "incomparable",
        "the hardware differs from the baseline's in the facts that are named",
        "Save a baseline on this hardware; running it again can't help.",
        helps="save",
    ),
    Reason(
        "memory.settings",
        "incomparable",
        "settings of the measurement differ",
        "Use the baseline's settings, or save a baseline with these.",
        helps="save",
    ),
    Reason(
        "memory.other_machine",
        "unbaselined",
        "the baseline is of another class of machine",
        "Save a baseline on this class of machine.",
        helps="save",
    ),
)
