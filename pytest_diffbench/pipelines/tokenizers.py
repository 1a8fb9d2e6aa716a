"""A tokenizer that is built in code and reads any text: frequent words are one token, the rest falls to pieces.

It is a Unigram model: of all ways to cut a word into known pieces the likeliest wins. Pieces are the words below,
frequent letter groups, single characters and, for everything else, bytes; so no two texts that differ in more than
white space share their tokens, and nothing is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL_TOKENS = (PAD, EOS, BOS, UNK)
"""In the order of their ids, which is Gemma's. CLIP takes an end of 2 for a sign of old, broken configurations."""

_SPACE = "▁"
"""Stands for the space before a word, as in SentencePiece."""

_WORDS = """
a above an and are as at background behind below beside between big black blue bottom bright brown by cat center
centre circle city color colour corner cross cube dark day detailed diamond dog field flower flowers forest four front
girl glass gold golden gray green grey hat hatched heart high holding horse house huge image in inside is it its
landscape large left light lines medium middle moon mountain mountains near night of oil old on one orange outline
outlined over painting photo photograph photorealistic picture pink portrait purple quality rabbit rainbow red right
ring river sea shape shapes silver sitting sky small snow soft square standing star stars street stripes style sun
sunset table tall that the three tiny to top tree trees triangle two under very violet water watercolor wearing white
window with woman wooden yellow
You assistant designed to generate superior images degree image-text alignment based textual prompts or user Prompt
Start
"""
"""Words of everyday prompts, and of the system prompt that Lumina puts before each of them."""

LUMINA_SYSTEM_PROMPT = (
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment "
    "based on textual prompts or user prompts. <Prompt Start>"
)
"""What `Lumina2Pipeline` puts before each prompt by default. It is one token, so that a mini needn't read it through
sixty times an image. Any other system prompt is read word by word."""

_LETTER_GROUPS = """
th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le sa si ar ve ra ld ur
ch ly sh ck ic la ro ri li lo ne me ma co ca pe po pa tr pr br gr cl fl bl sp ing and the ion ent ter est ers ous
ight ness less ment able
"""


def build_tokenizer(
    model_max_length: int,
    *,
    add_bos: bool,
    add_eos: bool,
    whole_system_prompt: bool = True,
    more_words: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """Build the tokenizer.

    Args:
        model_max_length: tokens after which a text is cut off where the caller asks for that.
        add_bos: begin every text with `<bos>`, as Gemma and CLIP do.
        add_eos: end every text with `<eos>`, as CLIP and T5 do.
        whole_system_prompt: read `LUMINA_SYSTEM_PROMPT` as one token.
        more_words: frequent words besides those of all tokenizers. Their ids follow the others', which stay the same.

    Returns:
        A tokenizer of transformers' own class, so that it can be saved and loaded without this package.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = _vocabulary(more_words)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index(UNK), byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
    if whole_system_prompt:
        tokenizer.add_tokens([AddedToken(LUMINA_SYSTEM_PROMPT, normalized=False)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement=_SPACE)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(([BOS] if add_bos else []) + ["$A"] + ([EOS] if add_eos else [])),
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in (BOS, EOS)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it without annotations
        tokenizer_object=tokenizer,
        model_max_length=model_max_length,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
    )


def vocabulary_size(more_words: Sequence[str] = ()) -> int:
    """Number of tokens, special ones and the system prompt included."""
    return len(_vocabulary(more_words)) + 1


def _vocabulary(more_words: Sequence[str]) -> list[tuple[str, float]]:
    """Pieces with their log-likelihoods, in the order of their ids.

    A word must beat its cut into letter groups, and a group its cut into characters: hence -3, -6 and -5 for each
    character, of which a group replaces at least two. Bytes cost most: they are for what nothing else can spell.
    """
    characters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = dict.fromkeys(_WORDS.split())
    groups = dict.fromkeys(_LETTER_GROUPS.split())
    pieces = dict.fromkeys(SPECIAL_TOKENS, 0.0)
    pieces |= {f"<0x{byte:02X}>": -20.0 for byte in range(256)}
    pieces |= dict.fromkeys((_SPACE, *characters), -5.0)
    pieces |= dict.fromkeys(groups, -6.0)
    # "circle" follows a space, but in "circles" and "(circle" it stands with or before something else
    pieces |= dict.fromkeys((word for word in words if len(word) > 2), -4.0)
    pieces |= dict.fromkeys((_SPACE + word for word in words), -3.0)
    pieces |= dict.fromkeys((_SPACE + word for word in more_words), -3.0)
    return list(pieces.items())
