"""The order of interleaved rounds, and what becomes of them when one of the measurements raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_diffbench.measure.interleave import Interleaved
from pytest_diffbench.measure.rounds import drive_plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_diffbench.measure.runner import Measurement


class Failed(Exception):  # noqa: N818 - it tells, it isn't an error's name
    """What a measurement makes of an error of its target."""


class Fake:
    """A measurement that writes down what is asked of it.

    Args:
        name: of the variant.
        log: of all measurements, in the order in which things happened.
        raise_at: the step at which it raises: `survey`, or `run` or `finish` with the number of the round.
    """

    def __init__(self, name: str, log: list[str], raise_at: str | None = None) -> None:
        self.name = name
        self.log = log
        self.raise_at = raise_at
        self.rounds = 0

    def take(self, drive: Any, progress: Any) -> None:
        self.step("survey")
        progress("survey", 0, 3)
        try:
            drive(self.prepare, self.run, self.finish, 99)
        except RuntimeError as error:
            raise Failed(f"told: {error}") from error
        finally:
            self.log.append(f"{self.name} closed")

    def step(self, what: str) -> None:
        if self.raise_at == what:
            raise RuntimeError(f"{self.name} at {what}")

    def prepare(self) -> None:
        self.step(f"prepare {self.rounds}")

    def run(self) -> None:
        self.step(f"run {self.rounds}")
        self.log.append(self.name)

    def finish(self) -> None:
        self.step(f"finish {self.rounds}")
        self.rounds += 1


def never(_names: Sequence[str], _look: int) -> bool:
    return False


def together(
    names: str,
    looks: Sequence[int] = (6,),
    enough: Callable[[Sequence[str], int], bool] = never,
    seed: int = 0,
    drive: Any = drive_plainly,
    **raise_at: str,
) -> tuple[Interleaved, list[str], dict[str, Fake]]:
    log: list[str] = []
    fakes = {name: Fake(name, log, raise_at.get(name)) for name in names}
    interleaved = Interleaved(cast("dict[str, Measurement]", fakes), names[0], looks, enough, seed)
    steps: list[tuple[str, int, int]] = []
    interleaved.take(drive, lambda *what: steps.append(what))
    assert all(done <= total for _, done, total in steps)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    return interleaved, [entry for entry in log if " " not in entry], fakes


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_blocks_hold_a_round_of_every_variant_and_every_other_block_is_reversed(names: str, seed: int) -> None:
    interleaved, log, _ = together(names, seed=seed)
    blocks = ["".join(log[at : at + len(names)]) for at in range(0, len(log), len(names))]
    assert interleaved.blocks == len(blocks) == 6
    assert all(sorted(block) == sorted(names) for block in blocks)
    assert blocks[1::2] == [block[::-1] for block in blocks[0::2]]


def test_the_first_order_is_drawn_anew_for_every_pair() -> None:
    log = together("ab", looks=(40,))[1]
    pairs = {"".join(log[at : at + 4]) for at in range(0, len(log), 4)}
    assert pairs == {"abba", "baab"}


def test_the_order_depends_on_the_seed_alone() -> None:
    assert together("abc", seed=1)[1] == together("abc", seed=1)[1]
    assert together("abc", seed=1)[1] != together("abc", seed=2)[1]


def test_rounds_go_on_until_enough() -> None:
    asked: list[tuple[tuple[str, ...], int]] = []

    def enough(names: Sequence[str], look: int) -> bool:
        asked.append((tuple(names), look))
        return look == 1

    interleaved, _, fakes = together("ab", looks=(6, 12, 24), enough=enough)
    assert asked == [(("a", "b"), 0), (("a", "b"), 1)]
    assert (interleaved.blocks, interleaved.look) == (12, 1)
    assert {fake.rounds for fake in fakes.values()} == {12}
    assert together("ab", looks=(6, 12, 24))[0].blocks == 24


def test_a_call_beyond_the_rounds_counts_for_no_variant() -> None:
    def profiled(prepare: Any, run: Any, finish: Any, rounds: int) -> None:
        drive_plainly(prepare, run, finish, rounds + 1)

    interleaved, log, fakes = together("abc", drive=profiled)
    assert interleaved.blocks == 6
    assert {fake.rounds for fake in fakes.values()} == {6}
    assert log.count("a") == 7
    assert log.count("b") == log.count("c") == 6


@pytest.mark.parametrize("step", ["prepare 2", "run 2", "finish 2"])
def test_a_raising_variant_leaves_the_other_variants_alone(step: str) -> None:
    interleaved, _, fakes = together("abc", b=step)
    assert list(interleaved.errors) == ["b"]
    assert isinstance(interleaved.errors["b"], Failed), "the measurement itself tells of its error"
    assert {name: fake.rounds for name, fake in fakes.items()} == {"a": 6, "b": 2, "c": 6}


def test_a_failed_survey_leaves_the_other_variants_alone() -> None:
    interleaved, _, fakes = together("abc", b="survey")
    assert str(interleaved.errors["b"]) == "b at survey"
    assert {name: fake.rounds for name, fake in fakes.items()} == {"a": 6, "b": 0, "c": 6}


def test_without_the_reference_nothing_goes_on() -> None:
    interleaved, _, fakes = together("abc", a="run 3")
    assert list(interleaved.errors) == ["a"]
    assert {fake.rounds for fake in fakes.values()} <= {3, 4}
    interleaved, log, _ = together("abc", a="survey")
    assert list(interleaved.errors) == ["a"]
    assert log == []


def test_the_last_variant_left_is_not_measured_on() -> None:
    interleaved, _, fakes = together("ab", looks=(6, 12), b="run 2")
    assert interleaved.blocks == 6
    assert fakes["a"].rounds == 6


def test_an_interrupt_passes_through_and_closes_all() -> None:
    log: list[str] = []
    fakes = {name: Fake(name, log) for name in "ab"}

    def interrupted() -> None:
        raise KeyboardInterrupt

    fakes["b"].run = interrupted  # type: ignore[method-assign]  # Ctrl-C in a round
    interleaved = Interleaved(cast("dict[str, Measurement]", fakes), "a", (6,), never, 0)
    with pytest.raises(KeyboardInterrupt):
        interleaved.take(drive_plainly, lambda *_: None)
    assert [entry for entry in log if "closed" in entry] == ["b closed", "a closed"]


def test_an_error_of_the_judges_is_blamed_on_no_measurement() -> None:
    def broken(_names: Sequence[str], _look: int) -> bool:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        together("ab", looks=(6, 12), enough=broken)
