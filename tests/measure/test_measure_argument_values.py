"""Arguments of every kind: another value reads differently, the same value reads the same in another process."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
import os
import pathlib
import subprocess
import sys
import uuid
from typing import Any

import numpy as np
import pytest
import torch

from pytest_diffbench.measure.argument_values import describe, held_by_class_alone


class Mode(enum.Enum):
    FAST = 1
    FINE = 2


@dataclasses.dataclass
class Options:
    steps: int
    name: str = "a"


class Callback:
    def __init__(self, **config: Any) -> None:
        self.config = config


def closing_over(value: int) -> Any:
    def inner() -> int:
        return value

    return inner


PAIRS: dict[str, tuple[Any, Any]] = {
    "bytes": (b"ab", b"ac"),
    "set": ({1, 2}, {1, 3}),
    "frozenset": (frozenset("ab"), frozenset("ac")),
    "enum": (Mode.FAST, Mode.FINE),
    "dataclass": (Options(1), Options(2)),
    "path": (pathlib.PurePosixPath("a"), pathlib.PurePosixPath("b")),
    "range": (range(3), range(4)),
    "complex": (1j, 2j),
    "decimal": (decimal.Decimal("1.0"), decimal.Decimal("1.1")),
    "fraction": (fractions.Fraction(1, 3), fractions.Fraction(1, 4)),
    "uuid": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "date": (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    "torch dtype": (torch.float16, torch.bfloat16),
    "torch device": (torch.device("cpu"), torch.device("meta")),
    "numpy dtype": (np.dtype("float32"), np.dtype("float64")),
    "partial": (functools.partial(max, 1), functools.partial(max, 2)),
    "partial by keyword": (functools.partial(max, key=len), functools.partial(max, key=abs)),
    "lambda": (lambda x: x + 1, lambda x: x + 2),
    "closure": (closing_over(1), closing_over(2)),
    "class": (Mode, Options),
    "configured": (Callback(cutoff=0.2), Callback(cutoff=0.4)),
    "nested": ({"a": [Options(1), {"b": b"1"}]}, {"a": [Options(1), {"b": b"2"}]}),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_different_value_reads_differently_and_is_json(kind: str) -> None:
    value, other = PAIRS[kind]
    assert describe(value) == describe(value)
    assert describe(value) != describe(other)
    assert json.loads(json.dumps(describe(value), allow_nan=False)) == describe(value)
    assert not held_by_class_alone(describe(value))


def test_a_set_has_no_order_and_layout_no_meaning() -> None:
    assert describe({"b", "a", "c"}) == describe({"c", "b", "a"})
    lambdas = [lambda value: value + 1, lambda  value:  value  +  1, lambda value: value - 1]  # fmt: skip  # one line
    spread = [
        lambda value: (
            value + 1  # a comment
        ),
        lambda value: value + 1,
    ]
    plain, spaced, other = (describe(function)["digest"] for function in lambdas)
    assert plain == spaced != other
    first, second = (describe(items)["digest"] for items in spread)
    assert first == second


def test_functions_of_libraries_go_by_their_name() -> None:
    assert describe(json.dumps) == {"function": "json.dumps"}
    assert describe(torch.nn.functional.relu) == {"function": "torch.nn.functional.relu"}
    assert "digest" not in describe(str.lower)
    assert describe(str.lower) != describe(str.upper)


def test_values_identified_by_class_alone_are_listed() -> None:
    class Counting:
        def __init__(self, calls: int) -> None:
            self.calls = calls

        def __call__(self) -> None:
            self.calls += 1

    assert describe(Counting(1)) == describe(Counting(2)), "which changes with every call"
    assert held_by_class_alone(describe(Counting(1)))
    assert held_by_class_alone(describe({"a": [Counting(1)]}))
    assert held_by_class_alone(describe(object()))


CODE = """
import json, pathlib, sys
from pytest_diffbench.measure.argument_values import describe
values = [{"a", "b", "c", "d"}, b"x", pathlib.PurePosixPath("p"), range(3)]
sys.stdout.write(json.dumps(describe(values)))
"""


def test_a_digest_is_the_same_in_a_second_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", CODE], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
