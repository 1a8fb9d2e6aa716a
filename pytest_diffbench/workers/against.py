"""Measures the same tests in two environments, by turns in fresh processes of both.

A pair is a process of each. They run one after the other, or both at once and round by round.
"""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.workers.exchange import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from pytest_diffbench.records import Environment, Observation, Run
    from pytest_diffbench.records.artifacts import Reference
    from pytest_diffbench.workers.budget import Budget
    from pytest_diffbench.workers.launch import Launcher, ProcessResult

Side: TypeAlias = Literal["base", "head"]
Launch: TypeAlias = Literal["base", "head", "both"]
Pair: TypeAlias = "tuple[Run, Run]"

NAMES: dict[Side, str] = {"base": "the other environment", "head": "this environment"}


@dataclasses.dataclass(frozen=True, slots=True)
class Other:
    """What the other environment has of one case.

    Attributes:
        interpreter: its path.
        reference: the case as it was measured there, in place of a baseline; None where it wasn't.
        missing: why there is no reference, or no pair.
        pairs: runs of the other environment and of this one, in the order they were made.
        by_turns: whether the two runs of each pair were made round by round.
        observed: the case as the first of this environment's processes measured it.
        peer_pairs: pairs of the session's other cases that were made in the same way.
        notes: of processes that died, and of what was left out.
    """

    interpreter: str
    reference: Reference | None
    missing: str | None
    pairs: Sequence[Pair] = ()
    by_turns: bool = False
    observed: Observation | None = None
    peer_pairs: Sequence[Sequence[Pair]] = ()
    notes: Sequence[str] = ()

    def changed_since(self, now: Environment) -> tuple[str, ...]:
        """Facts in which this environment differs from it."""
        return self.reference.changed_since(now) if self.reference is not None else ()


class Against:
    """Both environments' results.

    Args:
        launcher: starts the processes.
        budget: their time.
        interpreter: the other environment's.
        pairs: to be made of all tests.
        most: at most, of those that want more.
        notify: is told in words what is being done.
        chance: decides which side begins.
    """

    def __init__(
        self,
        launcher: Launcher,
        budget: Budget,
        interpreter: str,
        *,
        pairs: int,
        most: int,
        notify: Callable[[str], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.interpreter = interpreter
        self._launcher = launcher
        self._budget = budget
        self._wanted = pairs
        self._most = max(pairs, most)
        self._by_turns = False
        self._may_go_back = False
        self._notify = notify
        self._base_begins = chance() < 0.5
        self._process_pairs: list[dict[Side, ProcessResult]] = []
        self._over: str | None = None
        self._longest_s = 0.0
        self._shortest_s: dict[tuple[Launch, tuple[pytest.Item, ...]], float] = {}

    def measure(
        self,
        items: Sequence[pytest.Item],
        wants_more: Callable[[], Sequence[pytest.Item]],
        *,
        by_turns: bool = False,
        has_room: Callable[[Sequence[ProcessResult]], bool] | None = None,
    ) -> None:
        """Run all pairs.

        Args:
            items: the tests.
            wants_more: those of them that a further pair may decide, asked after the pairs that all tests get.
            by_turns: run both processes of a pair at once, round by round.
            has_room: of a pair whose processes ran one after the other, whether both fit into memory at once. Where
                they do, the other pairs are run round by round, and that one is not among them.

        Raises:
            MeasureError: nothing can be compared, since one side measured nothing at all, or no process of it could
                be started before there was a pair. Whatever is raised, the pairs that there are stay.
        """
        self._by_turns = by_turns
        while items and len(self._process_pairs) < self._most:
            if len(self._process_pairs) >= self._wanted:
                items = wants_more()
                if not items:
                    return
            if not self._make_pair(items):
                return
            if has_room is not None and self._wanted > 1:
                self._by_turns = self._may_go_back = has_room([*self._process_pairs[0].values()])
                self._wanted += self._by_turns
                self._most += self._by_turns
            has_room = None

    def of(self, case_id: str) -> Other:
        """What there is of a case."""
        base_cases = [pair["base"].case(case_id) for pair in self._process_pairs]
        usable = [
            (case, pair["base"])
            for case, pair in zip(base_cases, self._process_pairs, strict=True)
            if not isinstance(case, str)
        ]
        here = [head for pair in self._process_pairs if not isinstance(head := pair["head"].case(case_id), str)]
        reference = None
        if usable:
            measured, process = usable[0]
            reference = reference_of(measured, process.folder, self.interpreter)
        why = next((case for case in base_cases if isinstance(case, str)), self._over or "no process was run there")
        pairs = self._pairs(case_id)
        lacks_head = next(iter(self._deaths(case_id, "head")), self._over)
        ids = dict.fromkeys(
            line.observation.case.id
            for pair in self._process_pairs
            for line in pair["head"].measured
            if line.problem is None
        )
        return Other(
            interpreter=self.interpreter,
            reference=reference,
            missing=why if reference is None else lacks_head if not pairs else None,
            pairs=pairs,
            by_turns=self._went_by_turns(case_id),
            observed=here[0].observation if here else None,
            peer_pairs=[
                self._pairs(identity)
                for identity in ids
                if identity != case_id and self._went_by_turns(identity) is self._went_by_turns(case_id)
            ],
            notes=[
                *(note for side in NAMES for note in self._deaths(case_id, side)),
                *([self._over] if self._over is not None else []),
            ],
        )

    @property
    def cases(self) -> list[str]:
        """Ids of all cases that this environment's processes measured."""
        return list(
            dict.fromkeys(
                measured.observation.case.id for pair in self._process_pairs for measured in pair["head"].measured
            )
        )

    @property
    def shared_modules(self) -> list[str]:
        """Modules of the project that both sides took from the same file, so that no difference can be seen."""
        first = next((pair for pair in self._process_pairs if all(pair[side].done for side in NAMES)), None)
        if first is None:
            return []
        base, head = (first[side].done for side in NAMES)
        assert base is not None  # as was looked for
        assert head is not None
        return sorted(name for name, file in head.modules.items() if base.modules.get(name) == file)

    def _make_pair(self, items: Sequence[pytest.Item]) -> bool:
        number = len(self._process_pairs)
        order: tuple[Side, Side] = ("base", "head") if self._base_begins == (number % 2 == 0) else ("head", "base")
        launches: Sequence[Launch] = ("both",) if self._by_turns else order
        wanted = (self._wanted if number < self._wanted else self._most) - number
        pair: dict[Side, ProcessResult] = {}
        for place, launch in enumerate(launches):
            # Half of a pair is of no use, so that both have to fit.
            takes_s = [self._least_s(launch, items) for launch in launches[place:]]
            processes = len(launches) * wanted - place
            what = "pair" if launch == "both" else "process"
            why = self._budget.too_little(sum(takes_s), processes=processes, process_s=max(takes_s), what=what)
            if why is not None:
                self._over = f"no more than {number} pairs: {why}"
                return False
            self._notify(f"pair {number + 1}" if launch == "both" else f"pair {number + 1}: {NAMES[launch]}")
            try:
                results = self._launched(launch, items, order[0])
            except OSError as error:
                why = f"{'a pair' if launch == 'both' else NAMES[launch]}: no process could be started ({error})"
                if not self._process_pairs:
                    raise MeasureError(f"{why}.") from None
                self._over = f"no more than {number} pairs: {why}"
                return False
            # One that was ended, since the other had come to nothing, isn't to blame.
            empty = sorted(
                (side for side, result in results.items() if not result.measured),
                key=lambda side: not results[side].ended.by_itself,
            )
            if number == 0 and empty:
                raise MeasureError(self._nothing(empty[0], results[empty[0]]))
            if empty and self._may_go_back:
                # Both at once may want what only one can have, such as a port. One after the other they did well.
                self._notify(f"pair {number + 1}: not round by round, {NAMES[empty[0]]} measured no test so")
                self._by_turns = self._may_go_back = False
                return True
            pair |= results
        self._may_go_back = False
        self._process_pairs.append(pair)
        return True

    def _launched(self, launch: Launch, items: Sequence[pytest.Item], first: Side) -> dict[Side, ProcessResult]:
        timeout_s = self._budget.timeout_s(self._longest_s) if self._process_pairs else self._budget.left_s
        before_s = self._budget.used_s
        with self._budget:
            if launch == "both":
                sides = self._launcher.launch_interleaved(
                    items,
                    timeout_s=timeout_s,
                    interpreters=(self.interpreter, None),
                    first=0 if first == "base" else 1,
                )
                results = dict(zip(NAMES, sides, strict=True))
            else:
                interpreter = self.interpreter if launch == "base" else None
                results = {
                    launch: self._launcher.launch(
                        items, timeout_s=timeout_s, interpreter=interpreter, artifacts=launch == "base"
                    )
                }
        # One that broke off doesn't tell how long another takes.
        came_to_end = [result.done is not None for result in results.values()]
        took_s = self._budget.used_s - before_s
        if any(came_to_end):
            self._longest_s = max(self._longest_s, took_s)
        if all(came_to_end):
            key = (launch, tuple(items))
            self._shortest_s[key] = min(took_s, self._shortest_s.get(key, took_s))
        return results

    def _least_s(self, launch: Launch, items: Sequence[pytest.Item]) -> float:
        """The shortest time that a process took for these tests, on the other side where none ran on this one."""
        known = [self._shortest_s.get((name, tuple(items))) for name in (launch, *NAMES)]
        return next((shortest_s for shortest_s in known if shortest_s is not None), 0.0)

    def _nothing(self, side: Side, result: ProcessResult) -> str:
        why = result.outcomes[0].text if result.outcomes else result.ended.in_words()
        name = f"{NAMES[side]} ({self.interpreter})" if side == "base" else NAMES[side]
        remedy = "Run the tests there with --diffbench-save, and fix what fails."
        if result.ended.status is None and not result.outcomes:
            such = f"{self._wanted} such pairs" if self._by_turns else f"{2 * self._wanted} such processes"
            remedy = f"Give --diffbench-max-time the seconds that {such} take."
            if self._by_turns:
                remedy += (
                    " If both need something exclusive, such as a port or a lock, use --diffbench-turns=processes."
                )
        return f"--diffbench-against: {name} measured no test, so there is nothing to compare: {why}. {remedy}"

    def _pairs(self, case_id: str) -> list[Pair]:
        """Those that were made round by round, where any was; all others are no match for them."""
        by_turns = self._went_by_turns(case_id)
        pairs: list[Pair] = []
        for pair in self._process_pairs:
            base, head = pair["base"].case(case_id), pair["head"].case(case_id)
            if not isinstance(base, str) and not isinstance(head, str) and (not by_turns or _met(pair, case_id)):
                pairs.append((base.observation.run, head.observation.run))
        return pairs

    def _went_by_turns(self, case_id: str) -> bool:
        """Whether both sides of a pair went through the case together."""
        return any(_met(pair, case_id) for pair in self._process_pairs)

    def _deaths(self, case_id: str, side: Side) -> list[str]:
        numbers: dict[str, list[str]] = {}
        for number, pair in enumerate(self._process_pairs, 1):
            if pair[side].was_asked(case_id) and isinstance(why := pair[side].case(case_id), str):
                numbers.setdefault(why, []).append(str(number))
        return [
            f"pair{'s' if len(pair_numbers) > 1 else ''} {', '.join(pair_numbers)}, {NAMES[side]}: {why}"
            for why, pair_numbers in numbers.items()
        ]


def _met(pair: dict[Side, ProcessResult], case_id: str) -> bool:
    return all(case_id in result.met for result in pair.values())
