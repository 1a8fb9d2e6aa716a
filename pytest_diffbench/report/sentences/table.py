"""Words of the table that speed-ups are published by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records import Comparison, VariantReport

INERT = "inert"
WRONG_GUIDANCE = "paid for by wrong guidance"
FLAGS = frozenset({INERT, WRONG_GUIDANCE, "broken"})
NOT_ASKED = "not asked"


def tier_text(variant: VariantReport) -> str:
    """The tier in a word; an output that differs, of which nobody asked how far float64 is, has none."""
    if variant.tier is not None:
        return variant.tier
    return NOT_ASKED if variant.image_difference is not None else ""


def notes_of(comparison: Comparison) -> tuple[str, ...]:
    """How the figures were made, and what the words in the table mean, those alone that stand in it."""
    variants = comparison.variants
    notes = [
        f"Speed-ups: {comparison.blocks} blocks interleaved in one process; in brackets the interval at "
        f"{100 * comparison.confidence:g} %. Predicted: T / (T - D s), with the reference's total T and "
        "denoise stage D, and the share s of denoiser work that is saved."
    ]
    over = next((variant.over_prompts for variant in variants if variant.over_prompts is not None), None)
    if over is not None:
        notes.append(
            f"PSNR and SSIM: the worst of {over.prompts} prompts, and in brackets their mean; of PSNR that of the "
            "prompts whose images differ."
        )
        unlike = [variant.name for variant in variants if variant.over_prompts and variant.over_prompts.unlike]
        notes += [f"{name}: images of some prompts can't be compared, and have no figures." for name in unlike]
    tiers = {tier_text(variant) for variant in variants if variant.name != comparison.reference}
    meanings = {
        "bit-equal": "bit-equal: every bit of the output is the reference's.",
        "lossless": "lossless: no further from the call in float64 than the reference is.",
        "lossy": "lossy: further from the call in float64 than the reference is.",
        "broken": "broken: no sound output of the reference's kind and size.",
        NOT_ASKED: "not asked: the output differs, and no call in float64 tells whether that is more than rounding.",
    }
    notes += [meaning for tier, meaning in meanings.items() if tier in tiers]
    if any(variant.inert for variant in variants):
        notes.append("inert: saved neither work nor operators, and changed no bit of the output.")
    wrong = sorted({variant.wrong_guidance for variant in variants if variant.wrong_guidance is not None})
    if wrong:
        notes.append(f"{WRONG_GUIDANCE}: steps weren't guided as the arguments ask for ({', '.join(wrong)}).")
    return tuple(notes)
