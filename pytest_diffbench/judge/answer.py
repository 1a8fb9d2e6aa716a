"""One word for programs that optimise: whether a change is faster, and whether that may be believed.

It is made so that no shortcut is `faster`: what wasn't asked, wasn't seen or couldn't be decided is `invalid`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.judge.gains import GAIN_REL, rounds_without_steps
from pytest_diffbench.judge.likeness import same_picture
from pytest_diffbench.records import WRONG
from pytest_diffbench.records.answer import WORDS, Answer, CaseAnswer

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Comparison, SessionReport, VariantReport, Verdict
    from pytest_diffbench.records.answer import Word

_NEEDED = ("work", "output", "time")
"""Gates without which a gain proves nothing."""

_HARMLESS = frozenset({"guidance.not_seen", "guidance.no_formula", "memory.not_seen", "memory.rough"})
"""What isn't decided and doesn't have to be."""


def answer(session: SessionReport) -> Answer:
    """The answer of a session: of its variants where it compared some, and of its other cases.

    Of several, what rules out a gain stands for all; a session of which some cases are faster and the others the same
    is faster.
    """
    compared = {variant.case_id for comparison in session.comparisons for variant in comparison.variants}
    cases = [
        *(found for comparison in session.comparisons for found in _variants(comparison)),
        *(_case(report) for report in session.cases if report.observation.case.id not in compared),
    ]
    words = {found.word for found in cases}
    if session.interrupted or not cases or any(skipped.missing for skipped in session.skipped):
        return Answer(word="invalid", cases=tuple(cases))
    if words == {"same", "faster"}:
        return Answer(word="faster", cases=tuple(cases))
    return Answer(word=next(word for word in WORDS if word in words), cases=tuple(cases))


def _variants(comparison: Comparison) -> list[CaseAnswer]:
    reference = next(variant for variant in comparison.variants if variant.name == comparison.reference)
    return [_variant(variant, reference) for variant in comparison.variants if variant is not reference]


def _variant(variant: VariantReport, reference: VariantReport) -> CaseAnswer:
    word, reasons = _of_variant(variant, reference)
    return CaseAnswer(case=variant.case_id, word=word, reasons=reasons, speedup_rel=variant.speedup_rel)


def _of_variant(variant: VariantReport, reference: VariantReport) -> tuple[Word, tuple[str, ...]]:
    if variant.error is not None or reference.error is not None:
        return "invalid", ("error",)
    wrong: list[str] = [code for code in variant.suspicions if code in WRONG]
    if variant.wrong_guidance is not None and reference.wrong_guidance is None:
        wrong.append(variant.wrong_guidance)
    difference = variant.image_difference
    if variant.tier == "broken":
        wrong.append("broken")
    elif difference is not None and variant.tier != "lossless" and not same_picture(difference):
        wrong.append("another_picture")
    if wrong:
        return "wrong", tuple(wrong)
    doubts: list[str] = [code for code in variant.suspicions if code not in WRONG]
    if difference is None:
        doubts.append("output_not_seen")
    speedup = variant.speedup_rel
    if speedup is None:
        doubts.append("time_not_seen")
    if not variant.probed:
        doubts.append("not_probed")
    if doubts:
        return "invalid", tuple(doubts)
    if variant.inert:
        return "inert", ()
    assert speedup is not None  # else it was doubted
    if speedup.low > GAIN_REL:
        return "faster", ()
    return ("slower", ()) if speedup.high < 1 / GAIN_REL else ("same", ())


def _case(report: CaseReport) -> CaseAnswer:
    word, reasons = _of_case(report)
    return CaseAnswer(case=report.observation.case.id, word=word, reasons=reasons)


def _of_case(report: CaseReport) -> tuple[Word, tuple[str, ...]]:
    if report.error is not None or not report.observation.complete:
        return "invalid", ("error",)
    verdicts = {verdict.gate: verdict for verdict in report.verdicts}
    if inert := [verdict.reason for verdict in report.verdicts if verdict.reason == "work.inert"]:
        return "inert", tuple(inert)
    suspicions = report.suspicions or ()
    wrong = [
        *(code for code in suspicions if code in WRONG),
        *(
            verdict.reason
            for verdict in report.verdicts
            if verdict.gate in ("guidance", "output") and verdict.decision == "worse"
        ),
    ]
    if wrong:
        return "wrong", tuple(wrong)
    doubts = [f"{gate}.not_asked" for gate in _NEEDED if gate not in verdicts]
    doubts += [verdict.reason for verdict in report.verdicts if _is_open(verdict)]
    doubts += [code for code in suspicions if code not in WRONG]
    if report.suspicions is None and rounds_without_steps(report.observation):
        doubts.append("rounds_without_steps")
    if report.observation.left_behind:
        doubts.append("left_behind")
    if doubts:
        return "invalid", tuple(doubts)
    time = verdicts["time"]
    words: dict[str, Word] = {"better": "faster", "worse": "slower"}
    word = words.get(time.decision, "same")
    if word == "faster" and report.suspicions is None:
        # Faster with the prompt that everybody knows: nobody asked whether with others, too.
        return "invalid", (time.reason, "not_probed")
    return word, (time.reason,)


def _is_open(verdict: Verdict) -> bool:
    """Whether a gate left a question open that a gain depends on; more operators are for time to judge."""
    if verdict.decision in ("same", "better", "worse") or verdict.reason in _HARMLESS:
        return False
    return not (verdict.gate == "work" and verdict.decision == "unsure" and verdict.reason != "work.incomplete")
