"""Records: figures that are read from them, and the versions of the files that they are kept in."""

from __future__ import annotations

import pytest

from pytest_diffbench.records import BASELINE_SCHEMA, SESSION_SCHEMA, Environment, LayerTimes, Round, Run


def run(*steps_s: tuple[float, ...]) -> Run:
    environment = Environment(machine="m", family="cpu", hardware={}, settings={}, software={}, state={})
    rounds = tuple(Round(total_s=1.0, steps_s=steps) for steps in steps_s)
    return Run(id="a", started="2026-01-01T00:00:00+00:00", rounds=rounds, environment=environment)


def test_versions_are_raised_together_with_a_migration() -> None:
    assert (BASELINE_SCHEMA, SESSION_SCHEMA) == (1, 2)


def test_steps_have_medians_where_every_round_has_as_many() -> None:
    assert run((1.0, 2.0), (3.0, 4.0), (2.0, 9.0)).step_medians_s == (2.0, 4.0)
    assert run((1.0, 2.0), (3.0,)).step_medians_s == ()
    assert run().step_medians_s == ()


@pytest.mark.parametrize(
    ("attention_s", "other_s", "layers", "share_rel"),
    [(1.0, 3.0, 2, 0.25), (0.0, 3.0, 2, 0.0), (0.0, 3.0, 0, None), (0.0, 0.0, 2, None)],
)
def test_timed_attention_has_a_share(
    attention_s: float, other_s: float, layers: int, share_rel: float | None
) -> None:
    assert LayerTimes(attention_s=attention_s, other_s=other_s, attention_layers=layers).attention_rel == share_rel
