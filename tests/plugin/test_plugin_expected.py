"""How long a session will take, from what its baselines say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.records import Environment, Round, Run
from pytest_diffbench.session.expected import expected_s

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = Environment(machine="m", family="cpu", hardware={}, settings={}, software={}, state={})


def asked(folder: Path, *names: str, weights: str = "mini") -> Any:
    config = SimpleNamespace(rootpath=folder)
    return [
        (
            SimpleNamespace(path=folder / "test_mine.py", nodeid=f"test_mine.py::{name}", config=config),
            SimpleNamespace(device="cpu", weights=weights),
        )
        for name in names
    ]


def run(took_s: float | None) -> Run:
    return Run(id="r", started="", rounds=(Round(total_s=1.0),), took_s=took_s, environment=ENVIRONMENT)


def test_cases_of_a_test_add_up_and_unknown_tests_count_as_the_others(tmp_path: Path) -> None:
    runs = {
        "test_mine.py::test_one": [run(99.0), run(10.0)],
        "test_mine.py::test_two[a#b]": [run(6.0)],
        "test_mine.py::test_two[a#b]#late": [run(4.0)],
        "test_mine.py::test_old": [run(None)],
        "test_mine.py::test_gone": [run(1000.0)],
    }
    known = asked(tmp_path, "test_one", "test_two[a#b]")
    assert expected_s(known, lambda _machine: runs) == pytest.approx(20.0)
    more = asked(tmp_path, "test_one", "test_two[a#b]", "test_old", "test_new")
    assert expected_s(more, lambda _machine: runs) == pytest.approx(40.0)


def test_nobody_knows_of_plans_and_first_sessions(tmp_path: Path) -> None:
    assert expected_s(asked(tmp_path, "test_one"), lambda _machine: {}) is None
    assert expected_s(asked(tmp_path, "test_one"), lambda _machine: {"test_mine.py::test_one": [run(None)]}) is None
    runs = {"test_mine.py::test_one": [run(5.0)]}
    assert expected_s(asked(tmp_path, "test_one", weights="plan"), lambda _machine: runs) is None
