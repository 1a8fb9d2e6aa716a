"""What must hold of a pipeline without any baseline: each invariant is a function in one of these files, and a line
here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.errors import OptionError, did_you_mean
from pytest_diffbench.invariants import batch, callbacks, chunks, encoded, off_switch, repeat, schedule, waste
from pytest_diffbench.invariants.invariant import Invariant, Undecided
from pytest_diffbench.invariants.subject import Subject, first_line
from pytest_diffbench.records.verification import Check, Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.invariants.subject import Elsewhere

INVARIANTS: tuple[Invariant, ...] = (
    Invariant("repeat.as_it_was", repeat.as_it_was),
    Invariant("repeat.second_call", repeat.second_call),
    Invariant("repeat.generator_alone", repeat.generator_alone),
    Invariant("repeat.generator_used", repeat.generator_used),
    Invariant("repeat.uninitialised_memory", repeat.no_uninitialised_memory),
    Invariant("repeat.processes", repeat.processes),
    Invariant("waste.idle_steps", waste.idle_steps),
    Invariant("waste.encoded_twice", waste.encoded_once),
    Invariant("waste.unused_branch", off_switch.unused_branch),
    Invariant("off.unconditional_calls", off_switch.no_unconditional_call),
    Invariant("off.picture", off_switch.conditional_picture),
    Invariant("off.negative_prompt", off_switch.negative_prompt_without_guidance),
    Invariant("off.empty_negative_prompt", off_switch.empty_negative_prompt),
    Invariant("schedule.shift", schedule.shift),
    Invariant("batch.images_per_prompt", batch.images_per_prompt),
    Invariant("batch.prompts", batch.prompts),
    Invariant("batch.order", batch.order),
    Invariant("batch.prompts_and_images", batch.prompts_and_images),
    Invariant("text.embeddings", encoded.prompt_embeddings),
    Invariant("text.longer_padding", encoded.longer_padding),
    Invariant("text.masked_tokens", encoded.masked_tokens),
    Invariant("callback.nothing", callbacks.nothing),
    Invariant("callback.cut_off", callbacks.cut_off),
    Invariant("chunks.vae_slicing", chunks.vae_slicing),
    Invariant("chunks.vae_tiling", chunks.vae_tiling),
    Invariant("chunks.attention_slicing", chunks.attention_slicing),
)
"""In the order in which they are looked at: what the others rely on comes first."""

CODES: tuple[str, ...] = tuple(invariant.code for invariant in INVARIANTS)


def verify(
    pipeline: Any,
    arguments: Mapping[str, Any],
    *,
    seed: int = 0,
    only: Sequence[str] = (),
    waive: Mapping[str, str] | None = None,
    progress: Callable[[str, int, int], None] = lambda _code, _done, _total: None,
    elsewhere: Elsewhere | None = None,
) -> Verification:
    """Look for every invariant of a pipeline.

    Args:
        pipeline: of diffusers, or whatever has its interface.
        arguments: of the call that is varied, by name, without a generator. Few steps and a small picture do.
        seed: of its noise.
        only: codes of invariants, or their families; all where there are none.
        waive: reasons why what is broken is accepted, by code.
        progress: is told the code of each invariant before it is looked at, how many were, and how many there are.
        elsewhere: see `Subject`.

    Raises:
        OptionError: no such code.
        MeasureError: the pipeline failed at the call itself.
    """
    from pytest_diffbench.measure.environment import libraries

    begin_s = time.perf_counter()
    waive = waive or {}
    check_codes("waive", waive, families=False)
    check_codes("only", only, families=True)
    for code, reason in waive.items():
        if not reason.strip():
            raise OptionError(f"waive: {code!r} has no reason. Say why it is accepted.")
    chosen = [
        invariant
        for invariant in INVARIANTS
        if not only or invariant.code in only or invariant.code.partition(".")[0] in only
    ]
    subject = Subject(pipeline, arguments, seed, elsewhere)
    checks = []
    for number, invariant in enumerate(chosen):
        progress(invariant.code, number, len(chosen))
        check = _checked(invariant, subject)
        if invariant.code in waive:
            check = msgspec.structs.replace(check, waived=waive[invariant.code])
        checks.append(check)
    return Verification(
        pipeline=subject.name,
        arguments=subject.facts(),
        seed=seed,
        calls=subject.calls,
        duration_s=time.perf_counter() - begin_s,
        digest=subject.reference.digest,
        rounding_rel=subject.rounding_rel,
        checks=tuple(checks),
        software=libraries(),
    )


def check_codes(name: str, given: Sequence[str] | Mapping[str, str], *, families: bool) -> None:
    """Raise OptionError where a code isn't one of an invariant."""
    known = [*CODES, *(sorted({code.partition(".")[0] for code in CODES}) if families else [])]
    for code in given:
        if code not in known:
            hint = did_you_mean(code, known)
            raise OptionError(f"{name}: there is no invariant {code!r}{hint}. There are: {', '.join(known)}.")


def _checked(invariant: Invariant, subject: Subject) -> Check:
    try:
        return invariant.check(subject).named(invariant.code)
    except Undecided as undecided:
        return undecided.outcome.named(invariant.code)
    except Exception as error:
        return Check(code=invariant.code, answer="unable", obstacle="refused", message=first_line(error))
