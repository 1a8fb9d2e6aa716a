"""Sentences of all gates: why nothing was judged, why two things aren't compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.sentences.output import cause, disagreement, sound_text
from pytest_diffbench.report.units import MOST_LISTED, format_list

if TYPE_CHECKING:
    from pytest_diffbench.records import Verdict
    from pytest_diffbench.records.details import FieldChange, Incomparable, Unjudged

_MOST_UNKNOWN = 3

_FACT_NAMES = {
    "caches": "cache sizes",
    "instruction_sets": "instruction sets",
    "memory_gib": "memory size",
    "cpu_family": "processor family",
    "cpu_model": "processor model",
    "cpu_stepping": "processor stepping",
    "virtual_machine": "kind of virtual machine",
    "device_memory_gib": "device memory size",
    "device_mig": "MIG profile",
    "device_power_limit_w": "device power limit",
}


def unjudged(verdict: Verdict, details: Unjudged) -> tuple[str, list[str]]:
    """Message and further lines of a gate that had nothing to judge, or nothing to judge by."""
    _, _, what = verdict.reason.partition(".")
    notes = f": {format_list(details.notes)}" if details.notes else ""
    sound = f"{sound_text(details.returned)} " if details.returned is not None else ""
    rerun = [] if details.rerun is None else [f"{disagreement(details.rerun)}.{cause(details.rerun)}"]
    if what == "incomplete":
        return f"Not judged: the measurement was interrupted or failed{notes}.", []
    if what == "definition_changed":
        other = "in the other environment" if details.elsewhere else "from the baseline"
        lines = [field_change(change) for change in details.definition]
        return f"{sound}The case is defined differently {other}: {format_list(lines)}.", lines[MOST_LISTED:]
    if what == "no_baseline":
        return f"{sound}{_no_baseline(verdict, details)}", rerun
    if details.side is not None:
        side = "in this run" if details.side == "here" else "in the baseline"
        return f"Nothing to compare: no component was called {side}.", []
    # Several gates may share this, so that it doesn't name its own; the reason beside it does.
    return f"Not judged: the measurement saw nothing of it{notes}.", []


def _no_baseline(verdict: Verdict, details: Unjudged) -> str:
    if details.missing is not None:
        what = "no pair of runs to judge" if verdict.gate == "time" else "nothing to compare with"
        return f"The other environment has {what}: {details.missing}."
    if details.baseline_path is not None:
        if verdict.gate == "time":
            return f"The baseline at {details.baseline_path} holds no times that can be compared with."
        return f"The baseline at {details.baseline_path} holds no {verdict.gate} to compare with."
    return (
        "There is no baseline yet; this run is being saved as the first."
        if details.saving
        else "There is no baseline."
    )


def field_change(change: FieldChange) -> str:
    """Such as `arguments.num_inference_steps: 30 -> 20`."""
    before, after = ("(absent)" if value is None else value for value in (change.before, change.after))
    return f"{change.field}: {before} -> {after}"


def incomparable(verdict: Verdict, details: Incomparable) -> str:
    """Why times or memory of two runs aren't compared."""
    subject = "Times" if verdict.gate == "time" else "Memory figures"
    if details.machine is not None:
        return f"{subject} compare on one class of machine only; the baseline is from {details.machine}."
    if details.sources is not None:
        before, after = details.sources
        return f"{subject} aren't comparable: read from {before} in the baseline, from {after} in this run."
    kind = "hardware" if verdict.reason.rpartition(".")[2] == "hardware" else "settings"
    return f"{subject} aren't comparable: the {kind} differ{'s' * (kind == 'hardware')}: {differences(details)}."


def differences(details: Incomparable) -> str:
    """Facts in which two environments differ, in words; what nobody recorded is one entry."""
    lines = [field_change(change) for change in details.facts]
    if details.unknown:
        names = sorted(details.unknown, key=[*_FACT_NAMES, *details.unknown].index)
        absent = ", ".join(f"no {_FACT_NAMES.get(name, name)}" for name in names[:_MOST_UNKNOWN])
        more = f", and {len(names) - _MOST_UNKNOWN} more" if len(names) > _MOST_UNKNOWN else ""
        lines.append(f"the baseline is from before these facts were recorded ({absent}{more})")
    return format_list(lines)
