"""The generators of every accelerator that a seed reaches are put back, and none is woken for it."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from pytest_diffbench.measure.state import preserved, seed_everything


class Generators:
    """One kind of accelerator as torch shows it, with two devices."""

    def __init__(self, *, awake: bool) -> None:
        self.awake = awake
        self.states = ["before 0", "before 1"]

    def is_initialized(self) -> bool:
        return self.awake

    is_available = is_initialized

    def get_rng_state_all(self) -> list[str]:
        assert self.awake, "this would have initialised it"
        return list(self.states)

    def set_rng_state_all(self, states: list[str]) -> None:
        self.states = list(states)

    def get_rng_state(self) -> str:
        return self.get_rng_state_all()[0]

    def set_rng_state(self, state: str) -> None:
        self.states[0] = state


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_an_accelerator_s_generators_are_put_back(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    kinds = {name: Generators(awake=name == kind) for name in ("cuda", "xpu", "mps")}
    host: dict[str, Any] = {"state": "host"}

    def manual_seed(seed: int) -> None:
        host["state"] = f"seeded {seed}"
        for generators in kinds.values():
            generators.states = [f"seeded {seed}"] * (2 if generators is not kinds["mps"] else 1)

    torch = types.ModuleType("torch")
    vars(torch).update(
        kinds,
        backends=types.SimpleNamespace(mps=kinds["mps"]),
        accelerator=types.SimpleNamespace(
            is_available=lambda: True, current_accelerator=lambda: types.SimpleNamespace(type=kind)
        ),
        manual_seed=manual_seed,
        get_rng_state=lambda: host["state"],
        set_rng_state=lambda state: host.update(state=state),
        get_num_threads=lambda: 1,
        set_num_threads=lambda _: None,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    before = kinds[kind].get_rng_state()
    with preserved():
        seed_everything(7)
        assert kinds[kind].get_rng_state() == "seeded 7"
    assert kinds[kind].get_rng_state() == before
    assert host["state"] == "host"
    if kind != "mps":
        assert kinds[kind].states == ["before 0", "before 1"]


def test_where_there_is_no_accelerator_the_seed_is_the_same_and_no_call_is_queued() -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.get_rng_state().tolist()
    queued = len(torch.cuda._queued_calls)
    with preserved():
        seed_everything(7)
        assert torch.get_rng_state().tolist() == expected
    if not torch.accelerator.is_available():
        assert len(torch.cuda._queued_calls) == queued
