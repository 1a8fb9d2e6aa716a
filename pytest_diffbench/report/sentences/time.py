"""Sentences of the time gate, against a baseline and in pairs of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.sentences.common import differences, field_change
from pytest_diffbench.report.units import format_count, format_list, format_percent, format_seconds

if TYPE_CHECKING:
    from pytest_diffbench.records.details import Doubt, LeftOut, OperatorChange, PartTime, RatioDetails, TimeDetails


_WAITED = " Wall time grew but processor time did not: the call waited, or ran on fewer processors."


def message(reason: str, details: TimeDetails) -> str:
    """What is slower, by how much, beyond which limits and how sure that is; or what would have been detected."""
    if details.doubt is not None and details.median_s is None:
        return doubt_sentence(details.doubt)
    _, _, what = reason.partition(".")
    match what:
        case "same":
            fresh = f", {format_count(details.fresh_runs, 'fresh run')} included" if details.fresh_runs else ""
            return f"Same time: {_call(details)}{fresh}, {_against(details)}. {_detectable(details.detectable_rel)}."
        case "faster":
            return f"Faster: {_call(details)}{_net(details)}. {_beyond(details)}."
        case "slower" | "stage_slower" | "step_slower":
            return _slower(what, details)
        case "clocks":
            return _clocks(details)
        case "unconfirmed":
            return _unconfirmed(details)
        case "machine_slower" | "machine_faster":
            word = "slower" if what == "machine_slower" else "faster"
            pace = format_percent(details.pace_rel or 0.0, signed=True)
            return f"The machine is {word} than for the baseline: reference work {pace}. The call: {_call(details)}."
        case "crowded" | "unsteady" if details.doubt is not None:
            return f"{doubt_sentence(details.doubt)} The call: {_call(details)}."
        case "few_pairs":
            missing = details.pairs_needed - (details.pairs or 0)
            so_far = f" So far: {_call(details)}." if details.median_s is not None else ""
            return f"{format_count(details.pairs or 0, 'usable pair')} of runs; {missing} more needed.{so_far}"
        case "no_calibration":
            return f"Can't tell code from machine: {_call(details)}, and the machine's pace is unknown for one side."
    return f"Can't tell: {_call(details)}, {_against(details)}. {_undetectable(details.chance_detectable_rel)}."


def changes(reason: str, details: TimeDetails) -> list[str]:
    """Where the difference lies, which operators carry it, which runs were left out, what the machine did."""
    lines = [_place(part) for part in details.places[_named_places(reason, details) :]]
    if details.attention_rel is not None:
        before, after = map(format_percent, details.attention_rel)
        lines.append(f"attention: {before} -> {after} of the denoiser's time")
    lines += [_left_out(entry) for entry in details.left_out]
    if details.levels_rel is not None:
        lines.append(f"the baseline's runs lie at two levels, {format_percent(details.levels_rel)} apart")
    if reason in ("time.same", "time.blind") and not details.pace_known and details.pairs is None:
        lines.append("the machine's pace is unknown for one side, so its own changes are not taken off")
    return [*lines, *_machine(details), *operator_lines(details)]


def doubt_sentence(doubt: Doubt) -> str:
    """What speaks against a run's time."""
    observed, allowed = (format_percent(rel or 0.0) for rel in (doubt.found_rel, doubt.allowed_rel))
    names = ", ".join(doubt.names)
    count, total = doubt.rounds or (0, 0)
    match doubt.kind:
        case "invalid":
            return "A round's time is missing, zero, negative or not finite."
        case "parallel":
            return f"{doubt.workers} test processes ran at once and slowed each other down."
        case "traced":
            return f"{names} traced the call, and its own time is in the measured one."
        case "warmup":
            return f"The rounds were not steady after {format_count(total, 'warm-up round')}" + (
                f": {names}." if names else "."
            )
        case "spread":
            return f"The rounds were not steady: interquartile range {observed} of the median (limit {allowed})."
        case "drift":
            drift = format_percent(doubt.found_rel or 0.0, signed=True)
            return f"The rounds drifted by {drift} from the first third to the last (limit {allowed})."
        case "unattributed":
            outside, whole, limit = map(format_seconds, doubt.seconds)
            return f"{outside} of {whole} lie outside all stages (limit {limit})."
        case "crowded":
            return (
                f"The machine was busy: each thread waited for a processor {observed} of the time (limit {allowed})."
            )
        case "throttled":
            return f"The device was throttled in {count} of {format_count(total, 'round')} ({names})."


def creep_phrase(change_rel: float, runs: int) -> str:
    """How much slower a case became since its first accepted runs."""
    return f"{format_percent(change_rel, signed=True)} of time since the first {format_count(runs, 'accepted run')}"


def pair(before_s: float, after_s: float) -> str:
    """A time before and after, and by how much it changed."""
    share = f" ({format_percent((after_s - before_s) / before_s, signed=True)})" if before_s > 0 else ""
    return f"{format_seconds(before_s)} -> {format_seconds(after_s)}{share}"


def _call(details: TimeDetails) -> str:
    return pair(details.baseline_s or 0.0, details.median_s or 0.0)


def _net(details: TimeDetails) -> str:
    """The change without what the machine did, where its pace is known."""
    if not details.pace_known or details.adjusted_ratio is None:
        return ""
    return f", {format_percent(details.adjusted_ratio - 1, signed=True)} net of the machine"


def _against(details: TimeDetails) -> str:
    if details.pairs is not None:
        return f"{format_count(details.pairs, 'pair')} of runs"
    return f"against {_recorded(details)}"


def _recorded(details: TimeDetails) -> str:
    return f"{format_count(details.runs, 'run')} from {format_count(details.days, 'day')}"


def _beyond(details: TimeDetails) -> str:
    if details.pairs is not None or details.chance_interval is None:
        return f"In {format_count(details.pairs or 0, 'pair')} of runs"
    noise = 100 * (details.chance_interval[1] - 1)
    floor_rel = details.leading_floor_rel if details.leading_floor_rel is not None else details.floor_rel
    limit = f"{100 * (floor_rel or 0.0):.2g} %"
    return f"Beyond the baseline's noise (±{noise:.2g} %, {_recorded(details)}) and the {limit} threshold"


def _detectable(rel: float | None) -> str:
    return f"A slowdown of {format_percent(rel or 0.0, signed=True)} would have been detected"


def _undetectable(rel: float | None) -> str:
    return f"Nothing under {format_percent(rel or 0.0, signed=True)} would have been detected"


def _confirmed(details: TimeDetails) -> str:
    if details.pairs is not None:
        return f" in {details.confirmed} of {format_count(details.fresh_runs, 'pair')} of runs"
    if not details.confirmations_wanted:
        return ""
    return f", confirmed by {details.confirmed} of {format_count(details.fresh_runs, 'fresh process')}"


def _slower(what: str, details: TimeDetails) -> str:
    waited = _WAITED if details.waited else ""
    if what == "slower":
        beyond = f" {_beyond(details)}." if details.pairs is None else ""
        places = f" Most of it: {_place(details.places[0])}." if details.places else ""
        return f"Slower: {_call(details)}{_net(details)}{_confirmed(details)}.{beyond}{places}{waited}"
    kind = "step" if what == "step_slower" else "stage"
    parts = [part for part in details.slower if part.kind == kind]
    named = format_list([f"{part.name} {pair(part.before_s, part.after_s)}" for part in parts])
    most = _most_of_steps(what, details)
    return f"Slower in {named}{_net(details)}{_confirmed(details)}.{most} The call: {_call(details)}.{waited}"


def _most_of_steps(what: str, details: TimeDetails) -> str:
    moved = details.moved_steps
    if what != "step_slower" or moved is None or moved.after_s <= moved.before_s:
        return ""
    return f" Most of it in {moved.name}: {pair(moved.before_s, moved.after_s)} each."


def _clocks(details: TimeDetails) -> str:
    clocks = details.clocks
    if clocks is None:
        return f"The device's clock fell. The call: {_call(details)}."
    leading = next((part for part in details.slower if part.name == clocks.name), None)
    times = _call(details) if leading is None else pair(leading.before_s, leading.after_s)
    what = "the call" if clocks.name == "total" else clocks.name
    cycles = format_percent(clocks.cycles_rel, signed=True)
    return (
        f"A slow clock, not slow code: {what} {times}, but {cycles} in clock cycles: the device's clock fell from"
        f" {clocks.before_mhz:,.0f} to {clocks.after_mhz:,.0f} MHz."
    )


def _unconfirmed(details: TimeDetails) -> str:
    parts = [part for part in details.slower if part.kind != "total"]
    figures = f"{_call(details)}{_net(details)}"
    if parts and len(parts) == len(details.slower):
        named = format_list([f"{part.name} {pair(part.before_s, part.after_s)}" for part in parts])
        figures = f"{named}; the call {figures}"
    if details.pairs is not None:
        pairs = format_count(details.pairs, "pair")
        return f"Not confirmed: {figures}. {pairs} of runs neither prove it nor rule it out."
    if details.strayed:
        why = "Beyond chance, but single runs of unchanged code strayed as far on this machine"
    elif not details.fresh_runs:
        why = "Suspicious, and no fresh process was run to confirm it"
    else:
        why = f"{format_count(details.fresh_runs, 'fresh process')} neither confirmed it nor ruled it out"
    return f"Not confirmed: {figures}. {why}."


def _named_places(reason: str, details: TimeDetails) -> int:
    """How many places the message names."""
    return 1 if reason == "time.slower" and details.places else 0


def _place(part: PartTime) -> str:
    share = "" if part.share_rel is None else f", {100 * part.share_rel:.0f} % of the difference"
    return f"{part.name}: {pair(part.before_s, part.after_s)}{' each' if part.each else ''}{share}"


def _left_out(entry: LeftOut) -> str:
    if entry.why == "stray" and entry.seconds is not None:
        usual, own = map(format_seconds, entry.seconds)
        return f"run {entry.run} of the baseline set aside: {own}, the others {usual}"
    origin = {"baseline run": " of the baseline", "session run": " of this session", "pair": ""}[entry.what]
    noun = "pair" if entry.what == "pair" else "run"
    count = f"{format_count(entry.count, noun)}{origin}"
    if entry.why == "pace" and entry.what == "pair":
        return f"{count} left out: the machine changed its pace between the two"
    if entry.why == "cold":
        return "the first pair left out: far from all others, as with cold caches"
    if entry.why == "environment" and entry.environment is not None:
        return f"{count} left out: {differences(entry.environment)}"
    if entry.why == "doubt" and entry.doubt is not None:
        return f"{count} left out: {doubt_sentence(entry.doubt).rstrip('.')}"
    reasons = {
        "pace": "the machine changed its pace between the two"
        if entry.what == "pair"
        else "the machine was off its usual pace",
        "crowded": "other processes had the processors",
        "incomparable": "not comparable with the first",
        "replaced": "unsteady, or the machine was off its pace; replaced",
        "died": "a run died, or timed no rounds",
        "ratio": "the ratio of its rounds was not steady",
    }
    return f"{count} left out: {reasons.get(entry.why, 'a run was not steady')}"


def _machine(details: TimeDetails) -> list[str]:
    machine, lines = details.machine, []
    if machine is None:
        return []
    if machine.throttled_rounds:
        rounds = format_count(machine.rounds, "round")
        lines.append(f"{machine.throttled_rounds} of {rounds} throttled: {', '.join(machine.throttled_by)}")
    if machine.other_processes:
        lines.append(f"{format_count(machine.other_processes, 'other process')} on the device")
    for name, share in (
        ("other processes", machine.others_rel),
        ("the hypervisor's other guests", machine.steal_rel),
    ):
        if share is not None:
            lines.append(f"{name} had {format_percent(share)} of the processors")
    return lines


def operator_lines(details: TimeDetails) -> list[str]:
    """Which operators carry a difference, largest first."""
    lines = [_operator(change) for change in details.operators]
    if details.further_operators:
        lines.append(f"and {details.further_operators} more operators")
    if details.operators_pace_rel is not None:
        pace = format_percent(details.operators_pace_rel, signed=True)
        lines.append(f"operators called as often as before: {pace} in the median")
    return lines


def _operator(change: OperatorChange) -> str:
    (calls_before, calls), (before_s, after_s) = change.calls, change.seconds
    if not calls_before:
        what = f"new, {format_count(calls, 'call')}, {format_seconds(after_s)}"
    elif not calls:
        what = f"gone, {format_count(calls_before, 'call')} before, {format_seconds(before_s)}"
    elif calls != calls_before:
        what = f"{calls_before:,} -> {calls:,} calls ({format_percent(calls / calls_before - 1, signed=True)})"
    else:
        what = f"{pair(before_s, after_s)} in {format_count(calls, 'call')}"
    share = "" if change.added_rel is None else f", {100 * change.added_rel:.0f} % of the added time"
    return f"{change.stage}: {change.name} {what}{share}"


def ratio_message(reason: str, details: RatioDetails) -> str:
    """How much faster than its reference the variant was and is, the limit, and how sure that is."""
    _, _, what = reason.partition(".")
    figures = _speedups(details)
    limit = f"limit ±{100 * details.allowed_rel:.2g} %"
    fresh = f"{details.confirmed} of {format_count(details.fresh_runs, 'fresh process')}"
    match what:
        case "ratio_reference":
            lines = format_list([field_change(change) for change in details.reference])
            return f"The stored speed-up is over a reference that was called differently: {lines}."
        case "ratio_few_runs":
            missing = format_count(details.runs_needed - details.runs, "more run")
            return f"Too few runs to judge: {figures}; {missing} needed."
        case "ratio_better":
            return f"Larger speed-up: {figures} ({limit})."
        case "ratio_worse":
            confirmed = f", confirmed by {fresh}" if details.fresh_runs else ""
            return f"Smaller speed-up: {figures} ({limit}){confirmed}."
        case "ratio_unconfirmed":
            confirmed = f" {fresh} agree." if details.fresh_runs else " No fresh process was run to confirm it."
            return f"Perhaps a smaller speed-up: {figures} ({limit}).{confirmed}"
        case "ratio_overtaken" if details.itself_s is not None:
            own = pair(*details.itself_s)
            return (
                f"Smaller speed-up: {figures}; but the variant itself got faster ({own}), and its reference more so."
            )
        case "ratio_blind":
            rel = format_percent(details.detectable_rel or 0.0, signed=True)
            return f"Can't tell: {figures}. Nothing under {rel} would have been detected."
    rel = format_percent(details.detectable_rel or 0.0, signed=True)
    return f"Same speed-up: {figures}. A loss of {rel} of time would have been detected."


def ratio_changes(reason: str, details: RatioDetails) -> list[str]:
    """The denoise stage's own speed-up, where the variant's changed."""
    if details.denoise_speedup_rel is None or reason in ("time.ratio_same", "time.ratio_blind"):
        return []
    before, after = details.denoise_speedup_rel
    return [f"denoise: {before:.3f}x -> {after:.3f}x as fast as the reference's"]


def _speedups(details: RatioDetails) -> str:
    where = "" if details.distance == "machine" else " on another machine"
    change = format_percent(details.ratio_change_rel, signed=True)
    return (
        f"{details.baseline_speedup_rel:.3f}x -> {details.speedup_rel:.3f}x as fast as the reference ({change}),"
        f" {format_count(details.runs, 'run')} in the baseline{where}"
    )
