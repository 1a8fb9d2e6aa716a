"""What each invariant says, why it matters and what to do; and a check in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_diffbench.report.units import format_distance, format_list

if TYPE_CHECKING:
    from pytest_diffbench.records.verification import Check, Obstacle, OutputDistance


class Claim(NamedTuple):
    """What an invariant says.

    Attributes:
        claim: that holds, a sentence without its end.
        broken: what is so where it is broken.
        meaning: why that matters.
        remedy: what to do about it.
    """

    claim: str
    broken: str
    meaning: str
    remedy: str


CLAIMS: dict[str, Claim] = {
    "repeat.as_it_was": Claim(
        "a call leaves the components' dtypes, devices, hooks, processors, configs and weights as they were",
        "A call changed the pipeline",
        "The next call runs on another pipeline, and so does every measurement after the first.",
        "Put back what the call changes, or change a copy.",
    ),
    "repeat.second_call": Claim(
        "a second call with the same arguments returns the same",
        "A second call returned something else",
        "Something is kept from one call to the next: a cache, a scheduler's state, a dtype.",
        "Reset it at the beginning of a call.",
    ),
    "repeat.generator_alone": Claim(
        "nothing but the generator that is passed decides about the noise",
        "The output depends on the global random state, though a generator was passed",
        "Somewhere noise is drawn without the generator: no seed reproduces a picture.",
        "Hand the generator on to every place that draws, the scheduler's step included.",
    ),
    "repeat.generator_used": Claim(
        "another seed gives another output",
        "Another seed gave the same output",
        "The generator is ignored, or the output was kept from the call before.",
        "Draw the first latents with the generator.",
    ),
    "repeat.uninitialised_memory": Claim(
        "memory that nobody has written to takes no part",
        "The output depends on memory that nobody has written to",
        "Values left by whatever ran before get into the picture; it differs from process to process.",
        "Replace `torch.empty` by `torch.zeros` where not every element is written.",
    ),
    "repeat.processes": Claim(
        "another process returns the same",
        "Another process returned something else",
        "The output depends on something that isn't in the call: memory, hash seeds, the order of files.",
        "Look for `torch.empty`, sets and global state.",
    ),
    "waste.idle_steps": Claim(
        "each step changes the sample",
        "Steps returned the very sample that went in",
        "The denoiser was called in vain: a schedule ends with two equal times.",
        "Leave those steps out of the schedule.",
    ),
    "waste.encoded_twice": Claim(
        "nothing is encoded twice from the same input within a call",
        "Components were called several times with the same input",
        "Each further call costs time and can't change the output.",
        "Keep the first result.",
    ),
    "waste.unused_branch": Claim(
        "no step makes an unconditional call and then doesn't use it",
        "Steps made an unconditional call whose prediction wasn't used",
        "Up to half of these steps' time is spent for nothing.",
        "Leave the call out where guidance is off.",
    ),
    "off.unconditional_calls": Claim(
        "at the scale that stands for no guidance, there is no unconditional call",
        "Guidance that is switched off still made unconditional calls",
        "Up to half of the time is spent on predictions that can't change the output.",
        "Compare the scale with its off value before the loop, and call the denoiser once a step.",
    ),
    "off.picture": Claim(
        "at that scale, each step takes the conditional prediction, as it is or but for the rounding of a mix by 1",
        "Guidance that is switched off still changed the prediction",
        "A scale that is documented as off isn't: results at that scale can't be compared with others'.",
        "Hand the conditional prediction to the scheduler where guidance is off.",
    ),
    "off.negative_prompt": Claim(
        "at that scale, a negative prompt changes nothing",
        "A negative prompt changed the output though guidance is off",
        "The unconditional branch gets into the output by another way.",
        "Look where the negative embeddings go when guidance is off.",
    ),
    "off.empty_negative_prompt": Claim(
        "an empty negative prompt is none",
        "An empty negative prompt gave another output than none",
        "Users who pass an empty text and users who pass nothing get different pictures.",
        "Encode an empty text where no negative prompt is given, or document the difference.",
    ),
    "schedule.shift": Claim(
        "a shift of the schedule that depends on the picture's size is that of its number of tokens",
        "The schedule is shifted for another number of tokens",
        "Every picture gets the noise levels of another size.",
        "Hand the number of the picture's tokens to `calculate_shift`.",
    ),
    "batch.images_per_prompt": Claim(
        "two images of one prompt are what two calls give",
        "Two images of one prompt aren't what two calls give",
        "Samples of a batch influence each other, or get another prompt or noise.",
        "Look at what is repeated for each image: embeddings, masks, latents, in one order.",
    ),
    "batch.prompts": Claim(
        "two prompts in one call give what each gives alone",
        "Two prompts in one call don't give what each gives alone",
        "Samples of a batch influence each other: a mask, a padding or a shape is shared.",
        "Mask the padding of the shorter prompt, and repeat embeddings and masks in one order.",
    ),
    "batch.order": Claim(
        "prompts in another order give the same pictures in that order",
        "Prompts in another order gave other pictures",
        "What one sample gets depends on its place in the batch.",
        "Look for code that treats the first sample as all of them.",
    ),
    "batch.prompts_and_images": Claim(
        "two images of each of two prompts are those of calls with one image each, the first prompt's first",
        "Two images of each of two prompts aren't those of calls with one image each",
        "What is repeated for each image isn't repeated in one order: a sample gets another one's mask or noise.",
        "Repeat all of it alike, such as with `repeat_interleave(n, dim=0)`, and draw with each sample's generator.",
    ),
    "text.embeddings": Claim(
        "what `encode_prompt` returns, passed in the prompt's place, gives the same",
        "Embeddings passed in the prompt's place gave another output",
        "Whoever encodes prompts once and keeps them gets other pictures.",
        "Treat embeddings that are passed as those that are made: dtype, repetition, masks.",
    ),
    "text.longer_padding": Claim(
        "more room for the text leaves the output as it is, where the denoiser is told which tokens are padding",
        "The output depends on how far the text is filled up",
        "Padding takes part in attention: the mask isn't used, or not everywhere.",
        "Hand the mask to every attention that sees the text.",
    ),
    "text.masked_tokens": Claim(
        "masked tokens take no part, whatever their embeddings are",
        "The output depends on the embeddings of masked tokens",
        "The mask doesn't mask: padding takes part in attention or in a mean.",
        "Hand the mask to every layer that mixes tokens.",
    ),
    "callback.nothing": Claim(
        "a callback that hands back what it is handed changes nothing",
        "A callback that changes nothing changed the output",
        "What the loop takes from a callback isn't what it went on with before.",
        "Take from the callback what it returned, under the names that it was handed.",
    ),
    "callback.cut_off": Claim(
        "after diffusers' callback that cuts guidance off, each step is conditional",
        "Steps after the cut-off were still guided",
        "The callback costs nothing and saves nothing.",
        "Ask `self.do_classifier_free_guidance` in each step, not once before the loop.",
    ),
    "chunks.vae_slicing": Claim(
        "a VAE that decodes one picture of a batch after the other gives the same",
        "VAE slicing changed the output",
        "An option that is to save memory changes pictures.",
        "Look for statistics over the batch in the VAE, or slices that are put together in another order.",
    ),
    "chunks.vae_tiling": Claim(
        "decoded tiles are put together without seams",
        "VAE tiling leaves a seam, gives something else than its tiles, or isn't done",
        "Large pictures, for which tiles are there, have lines in them or parts that are shifted.",
        "Look for the columns in which tiles overlap: the new one's share grows from 0 to 1 there, in even steps.",
    ),
    "chunks.attention_slicing": Claim(
        "attention that is worked out in slices gives the same",
        "Attention slicing changed the output",
        "An option that is to save memory changes pictures.",
        "Look for masks and scales that the slicing processor leaves out.",
    ),
}
"""By code, in the order of the invariants."""

_OBSTACLES: dict[Obstacle, str] = {
    "no_argument": "the call takes no {where}",
    "no_component": "no component encodes anything",
    "no_method": "there is no {where}",
    "no_mask": "the denoiser is handed no mask of the text, so that padding takes part by design",
    "no_guidance": "no unconditional call was made ({where})",
    "no_joint_call": "the branches aren't one call, which is what those callbacks are for",
    "no_schedule": "it doesn't apply to this pipeline's schedule ({where})",
    "one_process": "the same call wasn't made in a second process",
    "needs_prompt": "the call isn't given one prompt as a text",
    "documented": "the pipeline documents another behaviour ({where})",
    "refused": "the pipeline refused the call ({where})",
    "insensitive": "the output would hardly move if it were broken",
    "unrepeatable": "the same call doesn't return the same twice, so that nothing can be compared",
    "not_read": "it couldn't be read of the call ({where})",
}


def broken_sentence(check: Check) -> str:
    """What is wrong, how much, where, and the limit."""
    where = format_list(check.where)
    text = CLAIMS[check.code].broken + (f": {where}" if where else "")
    if check.distance is not None:
        text += f". {_apart(check.distance)}"
    elif check.expected is not None or check.observed is not None:
        text += f". Observed: {check.observed}, expected: {check.expected}"
    return f"{text}."


def undecided_sentence(check: Check) -> str:
    """Why an invariant wasn't decided, or doesn't apply: without its end."""
    if check.obstacle is None:
        return ""
    where = format_list(check.where)
    text = _OBSTACLES[check.obstacle].format(where=where).replace(" ()", "")
    if check.distance is not None and check.distance.sensitivity_rel is not None:
        text += (
            f" (by {format_distance(check.distance.sensitivity_rel)}, where rounding may come to "
            f"{format_distance(check.distance.limit_rel)})"
        )
    return f"{text}: {check.message}" if check.message else text


def _apart(distance: OutputDistance) -> str:
    if distance.distance_rel is None:
        return "The outputs have different sizes, or values that aren't finite"
    limit = format_distance(distance.limit_rel)
    text = f"The outputs are {format_distance(distance.distance_rel)} apart, limit {limit}"
    if distance.sensitivity_rel is not None:
        text += f" (other samples: {format_distance(distance.sensitivity_rel)})"
    return text
