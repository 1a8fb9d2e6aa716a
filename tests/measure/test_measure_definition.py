"""What is called with which arguments, as plain JSON."""

from __future__ import annotations

import enum
import functools
import http
import json
import types
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.definition import bind, name_of, resolved_facts


class Pipeline:
    components: dict[str, Any] = {"part": object()}  # noqa: RUF012 - as diffusers' property returns it

    def __call__(self, prompt: str = "", steps: int = 30, scale: float = 4.0, latents: Any = None) -> None: ...


def test_positional_arguments_get_their_names() -> None:
    assert bind(Pipeline(), ("a cat",), {"steps": 4}) == {"prompt": "a cat", "steps": 4}


def test_an_unknown_argument_names_the_pipeline_and_known_arguments() -> None:
    with pytest.raises(MeasureError, match=r"Pipeline .*'stepz'.*It takes: prompt, steps, scale, latents"):
        bind(Pipeline(), (), {"stepz": 4})


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(MeasureError, match="can't be called"):
        bind("a text", (), {})


def test_defaults_are_filled_in_for_the_guidance_gate() -> None:
    facts = resolved_facts(Pipeline(), {"scale": 7.5, "latents": torch.ones(1)})
    assert facts == {"prompt": "", "steps": 30, "scale": 7.5}


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 1.0]])),
        (torch.tensor(1.0), torch.tensor(2.0)),
        (np.zeros(4), np.zeros(5)),
        (Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "red")),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        ([1, {"a": 2.0}], [1, {"a": 3.0}]),
        (1.0, float("inf")),
        (str.lower, str.upper),
    ],
    ids=["tensor", "scalar", "array", "image", "generator", "nested", "infinity", "function"],
)
def test_different_data_reads_differently_and_is_json(value: Any, other: Any) -> None:
    assert describe(value) == describe(value)
    assert describe(value) != describe(other)
    assert json.loads(json.dumps([describe(value), describe(other)], allow_nan=False))


class Mode(enum.StrEnum):
    FAST = "fast"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


PLAIN: list[tuple[Any, Any]] = [
    (np.float64(0.5), 0.5),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("text"), "text"),
    (Text("text"), "text"),
    (Mode.FAST, "fast"),
    (http.HTTPStatus.OK, 200),
    ("a\udc80", "a\\udc80"),
]


@pytest.mark.parametrize(("value", "plain"), PLAIN, ids=repr)
def test_plain_values_are_of_the_classes_of_records(value: Any, plain: Any) -> None:
    described = describe({"a": [value], Text("k"): value})
    facts = resolved_facts(Pipeline(), {"scale": value})
    assert described == {"a": [plain], "something else": plain}
    assert (facts["scale"], type(facts["scale"])) == (plain, type(plain))
    assert msgspec.json.decode(msgspec.json.encode([described, facts])) == [described, facts]


def test_scalars_beyond_json_numbers_are_distinguished_all_the_same() -> None:
    assert describe(np.float64("inf")) == "inf"
    assert "scale" not in resolved_facts(Pipeline(), {"scale": np.float64("nan")})
    assert describe(np.complex64(1j)) != describe(np.complex64(2j))
    assert describe(np.datetime64("2020-01-01")) != describe(np.datetime64("2020-01-02"))


def test_names() -> None:
    assert name_of(Pipeline()) == "Pipeline"
    assert name_of(Pipeline.__call__) == "Pipeline.__call__"


class Subclass(Pipeline):
    """Hands on whatever it gets."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        return super().__call__(*args, **kwargs)


class Named(Pipeline):
    """Names one argument of its own, and hands on the rest."""

    def __call__(self, prompt: str = "", *args: Any, loud: bool = False, **kwargs: Any) -> None:
        return super().__call__(prompt.upper() if loud else prompt, *args, **kwargs)


def handing_on(function: Any) -> Any:
    """A decorator that doesn't use functools.wraps."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def of_two(function: Any, other: Any) -> Any:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) or other()

    return inner


class Patched(Pipeline):
    """As a test patches a class."""

    __call__ = handing_on(handing_on(Pipeline.__call__))


def paint(prompt: str, *, size: int = 8) -> None: ...


class Module(torch.nn.Module):
    def forward(self, sample: Any, scale: float = 1.0) -> Any:
        return sample


@pytest.mark.parametrize(
    ("target", "args", "kwargs", "expected"),
    [
        (Subclass(), ("a cat",), {"steps": 4}, {"prompt": "a cat", "steps": 4}),
        (Named(), ("a cat", 4), {"loud": True}, {"prompt": "a cat", "steps": 4, "loud": True}),
        (Patched(), ("a cat", 4), {}, {"prompt": "a cat", "steps": 4}),
        (Subclass().__call__, ("a cat",), {}, {"prompt": "a cat"}),
        (handing_on(paint), ("a cat",), {"size": 4}, {"prompt": "a cat", "size": 4}),
        (handing_on(Pipeline().__call__), ("a cat",), {}, {"prompt": "a cat"}),
        (of_two(paint, print), ("a cat",), {"size": 4}, {"args_0": "a cat", "size": 4}),
        (functools.partial(paint, size=3), ("a cat",), {}, {"prompt": "a cat"}),
        (Module(), (1,), {"scale": 2.0}, {"sample": 1, "scale": 2.0}),
        (dict, (), {"a": 1}, {"a": 1}),
        (len, ("abc",), {}, {"obj": "abc"}),
    ],
)
def test_arguments_have_the_names_of_the_innermost_function(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert bind(target, args, kwargs) == expected


def test_by_position_and_by_keyword_an_argument_is_the_same() -> None:
    for target in (Subclass(), Named(), Patched(), handing_on(Pipeline().__call__)):
        assert bind(target, ("a cat", 4), {}) == bind(target, (), {"prompt": "a cat", "steps": 4})


def test_an_argument_without_a_taker_is_refused() -> None:
    with pytest.raises(MeasureError, match=r"'stepz'.*It takes: prompt, steps, scale, latents"):
        bind(Subclass(), (), {"stepz": 4})
    with pytest.raises(MeasureError, match="too many positional"):
        bind(handing_on(paint), ("a cat", 4), {})


def test_a_method_put_into_an_instance_is_not_the_classs() -> None:
    pipeline = Pipeline()

    def paint(self: Any, colour: str, *args: Any) -> None: ...

    method = types.MethodType(paint, pipeline)
    assert bind(method, ("red",), {}) == {"colour": "red"}
    paint.__name__ = "__call__"
    assert bind(method, ("red",), {}) == {"colour": "red"}
