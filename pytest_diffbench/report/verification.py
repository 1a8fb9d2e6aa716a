"""What invariants say of a pipeline: for the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.report.lines import flow, hang, plain, segment, text_of
from pytest_diffbench.report.sentences.invariants import CLAIMS, broken_sentence, undecided_sentence
from pytest_diffbench.report.units import format_count, format_distance, format_seconds

if TYPE_CHECKING:
    from pytest_diffbench.records.verification import Check, Verification
    from pytest_diffbench.report.lines import Line

_INDENT = 8
_MESSAGE_WIDTH = 100


def verification_lines(verification: Verification, width: int, *, verbose: bool = False) -> list[Line]:
    """All of it: what is broken first, what holds last.

    The verbose one also says why something doesn't apply, and how far outputs were apart where it holds.
    """
    lines = [*_head(verification, width), []]
    for check in verification.having("broken"):
        lines += broken_lines(check, width)
    for check in verification.having("broken", waived=True):
        text = f"{broken_sentence(check)} Accepted: {check.waived}"
        lines += _row("waived", check, text, width, "yellow")
    for check in (*verification.having("unable"), *verification.having("unable", waived=True)):
        lines += _row("unable", check, f"{undecided_sentence(check)}", width, "yellow")
    for check in verification.having("holds", waived=True):
        lines += _row("holds", check, f"needn't be waived any more: {CLAIMS[check.code].claim}", width, "cyan")
    lines += _listed("holds", verification.having("holds"), width, "green", verbose=verbose)
    lines += _listed("n/a", verification.having("not_applicable"), width, "light", verbose=verbose)
    return [*lines, [], _closing(verification)]


def broken_lines(check: Check, width: int) -> list[Line]:
    """A broken invariant: what is wrong, what that means, and what to do."""
    claim = CLAIMS[check.code]
    blank = [segment(" " * _INDENT)]
    return [
        *_row("broken", check, broken_sentence(check), width, "red", "bold"),
        *hang(blank, claim.meaning, width, _INDENT),
        *hang([*blank, segment("-> ", "light")], claim.remedy, width, _INDENT + 3),
    ]


def broken_text(verification: Verification) -> str:
    """Why a test fails: plain text of several lines, of which the first says it all in short."""
    broken = verification.having("broken")
    codes = ", ".join(check.code for check in broken)
    waive = ", ".join(f'"{check.code}": "..."' for check in broken)
    return "\n".join(
        [
            f"diffbench: {verification.pipeline} is wrong without any baseline: {codes}",
            "",
            *(plain(broken_lines(check, _MESSAGE_WIDTH)).rstrip() for check in broken),
            "",
            f"To accept what is known, with the reason: diffbench.verify(..., waive={{{waive}}})",
        ]
    )


def summary_texts(verification: Verification) -> list[str]:
    """For a session's summary: one text for the whole, and one for each fault that was waived."""
    waived = [f"waived {check.code}: {check.waived}" for check in verification.having("broken", waived=True)]
    return [f"{verification.test}: {counts_text(verification)}", *waived]


def counts_text(verification: Verification) -> str:
    """Such as `1 broken, 21 hold`."""
    return text_of(_closing(verification))


def _head(verification: Verification, width: int) -> list[Line]:
    about = [
        f"seed {verification.seed}",
        f"{format_count(verification.calls, 'call')} in {format_seconds(verification.duration_s)}",
    ]
    if verification.rounding_rel is not None:
        about.append(f"rounding moves the output by {format_distance(verification.rounding_rel)}")
    title = [[segment(verification.source or verification.pipeline, "bold")]]
    if verification.source is not None:
        title.append([segment(verification.pipeline)])
    software = [
        f"{name} {verification.software[name]}" for name in ("diffusers", "torch") if name in verification.software
    ]
    return flow([*title, *([segment(text)] for text in [*about, *software])], width, 0)


def _row(label: str, check: Check, text: str, width: int, *markup: str) -> list[Line]:
    head = [segment(f"{label:{_INDENT}}", *markup), segment(f"{check.code}  ", "bold")]
    return hang(head, text, width, _INDENT)


def _listed(label: str, checks: tuple[Check, ...], width: int, *markup: str, verbose: bool) -> list[Line]:
    if not checks:
        return []
    if not verbose:
        return hang(
            [segment(f"{label:{_INDENT}}", *markup)], ", ".join(check.code for check in checks), width, _INDENT
        )
    lines: list[Line] = []
    for check in checks:
        gap = check.distance
        text = CLAIMS[check.code].claim if check.answer == "holds" else undecided_sentence(check)
        if check.answer == "holds" and gap is not None and gap.distance_rel is not None:
            text += f" ({format_distance(gap.distance_rel)} apart, limit {format_distance(gap.limit_rel)})"
        lines += _row(label, check, text, width, *markup)
    return lines


def _closing(verification: Verification) -> Line:
    broken, holds = len(verification.having("broken")), len(verification.having("holds"))
    waived, unable = len(verification.having("broken", waived=True)), len(verification.having("unable"))
    counts = [
        (broken, "broken", ("red", "bold")),
        (waived, "waived", ("yellow",)),
        (unable, "undecided", ("yellow",)),
        (holds, "hold", ("green",)),
    ]
    parts: Line = []
    for count, word, markup in counts:
        if count:
            parts += [*([segment(", ")] if parts else []), segment(f"{count} {word}", *markup)]
    return parts or [segment("nothing was looked at", "yellow")]
