"""Reasons of the output gate, in the order in which one of several names a verdict."""

from __future__ import annotations

from pytest_diffbench.judge.reasons.reason import Reason

REASONS = (
    Reason(
        "output.incomplete",
        "unsure",
        "the measurement was interrupted or raised",
        "Fix the error that ended the test.",
    ),
    Reason(
        "output.not_seen",
        "incomparable",
        "there is no output",
        "Return images, frames, audio, arrays or tensors; the notes of the case say what came back.",
    ),
    Reason(
        "output.unrecognised",
        "incomparable",
        "something came back in which no output was recognised; it isn't part of the baseline",
        "Return images, frames, audio, arrays or tensors.",
    ),
    Reason(
        "output.not_in_baseline",
        "incomparable",
        "the call returned a part that the baseline holds nothing of: it wasn't returned then, or not recognised",
        "Save a baseline that holds it.",
        helps="save",
    ),
    Reason(
        "output.definition_changed",
        "incomparable",
        "an argument, the model, dtype, seed or weights differ from the baseline's; the message names each field",
        "Undo the change of the call, or save a baseline for the new one.",
        helps="save",
    ),
    Reason(
        "output.no_baseline",
        "unbaselined",
        "nothing is stored for this case, or nothing of this part; the result was still found to be sound",
        "Save this run as the first baseline.",
        helps="save",
    ),
    Reason(
        "output.not_finite",
        "worse",
        "NaN or infinity, first at the place that is named",
        "Look at the place that is named; float16 overflows in many decoders.",
    ),
    Reason(
        "output.not_kept",
        "incomparable",
        "what was returned differs, and the pixels, samples or values aren't at hand",
        "Give `diffbench judge` the images (`--images`), or save the case again.",
    ),
    Reason(
        "output.no_images",
        "worse",
        "the call made latents and returned nothing, and wasn't asked for latents",
        "Check what the call returns.",
    ),
    Reason(
        "output.constant",
        "worse",
        "all pixels of an image or of a video, or all values of a map or of each tensor that was returned, are equal",
        "Look for a safety filter, or for NaN turned to black.",
    ),
    Reason(
        "output.silent",
        "worse",
        "an audio holds no sound: its peak is under -80 dB of full scale",
        "Look for NaN turned to zero, and at the vocoder.",
    ),
    Reason(
        "output.global_generator",
        "worse",
        "calls disagree that were handed the same generator, and they drew from a global one: a user gets "
        "another result each time",
        "Hand the call's generator on to whatever draws noise, or pass `generator=None`, which has the "
        "global ones seeded.",
    ),
    Reason(
        "output.lost",
        "worse",
        "the baseline holds images, or other parts, and the call returned none",
        "Check what the call returns; floats from 0 to 255 aren't recognised as an image.",
        helps="save",
    ),
    Reason(
        "output.count",
        "worse",
        "another number of images, or of other parts",
        "Check the batch size.",
        helps="save",
    ),
    Reason(
        "output.kind",
        "worse",
        "a part of another kind or name: values out of their range make a video a tensor",
        "Check what the call returns, and the range of its values.",
        helps="save",
    ),
    Reason(
        "output.length",
        "worse",
        "another number of frames of a video, or of samples of an audio",
        "Check the number of frames, the duration and the decoder.",
        helps="save",
    ),
    Reason(
        "output.rate",
        "worse",
        "another number of frames or samples per second, or none where there was one",
        "Check the rate that is returned, and the configuration that it is read from.",
        helps="save",
    ),
    Reason(
        "output.size",
        "worse",
        "another size in pixels, or another shape or dtype of what was returned",
        "Check height, width and the decoder's scale.",
        helps="save",
    ),
    Reason(
        "output.mode",
        "worse",
        "another mode, such as RGBA in place of RGB",
        "Check the image processor.",
        helps="save",
    ),
    Reason("output.same_bits", "same", "every pixel, sample and value is equal"),
    Reason("output.within_tolerance", "same", "not the same bits, but nearer than every limit"),
    Reason(
        "output.differs",
        "worse",
        "beyond a limit; the message names metric, limit, place in the result and the place where the traces part",
        "Look at the place that is named, and at the step where the difference begins.",
        helps="save",
    ),
    Reason(
        "output.weights",
        "worse",
        "another picture, and the components that are named have other weights than the baseline's",
        "Load the same weights, or seed their initialisation.",
        helps="save",
    ),
    Reason(
        "output.trace",
        "worse",
        "the picture is within its limits, but it came about in another way: an embedding, a prediction or "
        "the latents are beyond the limits of the trace",
        "Look at the place that is named: the picture is alike, but was reached another way.",
        helps="save",
    ),
    Reason(
        "output.decoder",
        "worse",
        "the baseline is another machine's, the latents agree, and the picture is beyond the limits of drift",
        "Check the decoder and what comes after it.",
        helps="save",
    ),
    Reason(
        "output.nondeterministic",
        "worse",
        "calls with one seed used to agree and no longer do, whichever of them it is: survey, warm-up or "
        "round; the message says which",
        "Look for state that a call leaves behind, for uninitialised memory and for unseeded noise.",
        helps="save",
    ),
    Reason(
        "output.rerun_noise",
        "unsure",
        "identical calls of this case drift so far that a difference says nothing",
        "Make the case deterministic: its identical calls differ too much to judge.",
        helps="rerun",
    ),
    Reason(
        "output.other_machine",
        "unsure",
        "picture or final latents are beyond the limits of drift, which may be the other machine's",
        "Save a baseline on this class of machine.",
        helps="save",
    ),
)
