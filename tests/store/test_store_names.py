"""Names of case folders."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_builders import make_case

from pytest_diffbench.store import case_folder

ANY_TEXT = st.text(st.characters(), max_size=300)  # lone surrogates included: they can stand in a test's id
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


@given(ANY_TEXT, st.text(max_size=40), st.one_of(st.none(), st.text(max_size=20)))
def test_name_is_safe_on_every_file_system(test_id: str, dtype: str, model: str | None) -> None:
    name = case_folder(make_case(test_id, dtype=dtype, model=model))
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*[a-z0-9]", name)
    assert len(name) <= 100
    assert not RESERVED.match(name)


@given(ANY_TEXT, ANY_TEXT)
def test_two_ids_never_share_a_name(first: str, other: str) -> None:
    names = {case_folder(make_case(test_id)).casefold() for test_id in (first, other)}
    assert len(names) == len({first, other})


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("t.py::test_a", "t.py::test_A"),
        ("t.py::test_é", "t.py::test_e\u0301"),
        ("t.py::test[a/b]", "t.py::test[a\\b]"),
        ("t.py::test[a\nb]", "t.py::test[a b]"),
        ("t.py::test[\ud800\udc00]", "t.py::test[\U00010000]"),
        ("a/t.py::test", "b/t.py::test"),
        ("t.py::A::test", "t.py::B::test"),
        ("t.py::test[" + "x" * 5000 + "1]", "t.py::test[" + "x" * 5000 + "2]"),
        ("1" + "x" * 5000, "2" + "x" * 5000),
    ],
)
def test_ids_differing_only_in_odd_places_have_separate_names(first: str, other: str) -> None:
    assert case_folder(make_case(first)) != case_folder(make_case(other))


@pytest.mark.parametrize(
    "test_id", ["con", "NUL.txt", "a/com1.py::", "aux.5", "LPT9", "", "...", "\n", "::[", "con[]"]
)
def test_reserved_and_empty_ids(test_id: str) -> None:
    name = case_folder(make_case(test_id))
    assert not RESERVED.match(name)
    assert not name.startswith(("-", "."))


@pytest.mark.parametrize(
    ("change", "other_folder"),
    [
        ({"weights": "random"}, True),
        ({"dtype": "bfloat16"}, True),
        ({"offload": "model"}, True),
        ({"tuning": {"cache": "first-block"}}, True),
        ({"tuning": {}}, False),
        ({"model": "flux"}, True),
        ({"model": None}, True),
        ({"seed": 1}, False),
        ({"arguments": {"prompt": "another"}}, False),
        ({"revision": "abc"}, False),
        ({"pipeline": "FluxPipeline"}, False),
    ],
)
def test_what_names_a_folder(change: dict[str, Any], other_folder: bool) -> None:
    assert (case_folder(make_case(**change)) != case_folder(make_case())) is other_folder


def test_a_lora_names_a_folder_without_the_digest() -> None:
    first, other = (make_case(tuning={"lora": digest}) for digest in ("sha256:1", "sha256:2"))
    assert case_folder(first) == case_folder(other) != case_folder(make_case())


def test_absent_and_empty_model_differ() -> None:
    assert case_folder(make_case(model=None)) != case_folder(make_case(model=""))


@pytest.mark.parametrize(
    ("test_id", "readable"),
    [
        ("tests/deep/test_cfg.py::test_trunc[0.5-lumina2]", "test_cfg-test_trunc-0.5-lumina2-mini-float32-"),
        ("tests/test_cfg.py::TestCfg::test_trunc#half", "test_cfg-test_trunc-half-mini-float32-"),
        ("test_größe.py::test_ü", "test_groe-test_u-mini-float32-"),  # ß has no decomposition, and is left out
        ("t.py::" + "test_long_" * 20 + "[last]", "test_long_" * 6 + "test_long-last-mini-float32-"),
        ("t.py::test_it[" + "x" * 5000 + "-last]", "test_it-" + "x" * 32 + "-last-mini-float32-"),
    ],
)
def test_name_reads_like_the_test(test_id: str, readable: str) -> None:
    assert case_folder(make_case(test_id)).startswith(readable)


def test_name_is_the_same_for_ever() -> None:
    # Committed baselines are found by this name: a change here loses all of them.
    assert case_folder(make_case("tests/test_cfg.py::test_trunc[0.5]")) == (
        "test_cfg-test_trunc-0.5-mini-float32-e51ee7263872"
    )
