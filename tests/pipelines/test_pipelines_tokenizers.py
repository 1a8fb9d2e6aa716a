"""The minis' tokenizer: it reads any text, tells texts apart, and survives being saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoTokenizer

from pytest_diffbench.pipelines.tokenizers import SPECIAL_TOKENS, UNK, build_tokenizer, vocabulary_size

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "",
    "a red circle on a blue background",
    "a red circle on a green background",
    "A red circle on a blue background",
    "Zebra-like xylophones, 3 größe 東京 🙂!",
    "naïve café — “quoted” text",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(77, add_bos=True, add_eos=True)


@pytest.mark.parametrize("text", TEXTS)
def test_reads_and_writes_any_text(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.convert_tokens_to_ids(UNK) not in ids


def test_different_texts_have_different_tokens(tokenizer: Any) -> None:
    assert len({tuple(tokenizer(text).input_ids) for text in TEXTS}) == len(TEXTS)


def test_frequent_words_are_a_single_token(tokenizer: Any) -> None:
    assert len(tokenizer.tokenize(TEXTS[1])) == 7


def test_lumina_system_prompt_leaves_room_for_the_prompt(tokenizer: Any) -> None:
    system_prompt = (
        "You are an assistant designed to generate superior images with the superior degree of image-text alignment "
        "based on textual prompts or user prompts. <Prompt Start> "
    )
    assert len(tokenizer.tokenize(system_prompt)) < 64


def test_pads_and_cuts_to_the_length_asked_for(tokenizer: Any) -> None:
    arguments = {"padding": "max_length", "max_length": 10, "truncation": True}
    short, long = tokenizer(["red", "red " * 99], **arguments).input_ids
    assert len(short) == len(long) == 10
    assert short[0] == long[0] == SPECIAL_TOKENS.index("<bos>")
    assert short[2] == long[-1] == SPECIAL_TOKENS.index("<eos>")
    assert set(short[3:]) == {SPECIAL_TOKENS.index("<pad>")}
    assert tokenizer("red", **arguments).attention_mask == [1, 1, 1] + 7 * [0]


@pytest.mark.parametrize(("add_bos", "add_eos"), [(True, False), (False, True)])
def test_marks_begin_and_end_as_asked(add_bos: bool, add_eos: bool) -> None:
    tokens = build_tokenizer(512, add_bos=add_bos, add_eos=add_eos)("red").tokens()
    assert tokens == ["<bos>"] * add_bos + ["▁red"] + ["<eos>"] * add_eos


def test_a_saved_and_loaded_tokenizer_is_the_same(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded(TEXTS).input_ids == tokenizer(TEXTS).input_ids
    assert loaded.model_max_length == 77
    assert len(loaded) == vocabulary_size()


def test_the_models_read_as_many_tokens_as_the_authors_models() -> None:
    from pytest_diffbench.pipelines import architectures

    lengths = {name: getattr(architectures, name) for name in ("CLIP_TOKENS", "_T5_TOKENS", "_GEMMA_TOKENS")}
    assert lengths == {"CLIP_TOKENS": 77, "_T5_TOKENS": 512, "_GEMMA_TOKENS": 512}
