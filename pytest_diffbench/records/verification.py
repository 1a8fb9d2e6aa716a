"""What invariants say of a pipeline: what must hold of it without any baseline."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from pytest_diffbench.records.base import Fact, NotNegative, Record, Seconds

Answer: TypeAlias = Literal["broken", "unable", "not_applicable", "holds"]
ANSWERS: tuple[Answer, ...] = ("broken", "unable", "not_applicable", "holds")
"""From what needs a reader most to what needs one least."""

Obstacle: TypeAlias = Literal[
    "no_argument",
    "no_component",
    "no_method",
    "no_mask",
    "no_guidance",
    "no_joint_call",
    "no_schedule",
    "needs_prompt",
    "one_process",
    "documented",
    "refused",
    "insensitive",
    "unrepeatable",
    "not_read",
]
"""Why an invariant wasn't decided: what the pipeline lacks, that it documents another behaviour, that it refused the
call, that the output would be the same if it were broken, or that what is asked for couldn't be read."""


class OutputDistance(Record, frozen=True, kw_only=True):
    """How far two outputs that should be equal are apart.

    Attributes:
        distance_rel: root mean square of the difference over the standard deviation of the output, in the sample
            where that is greatest; None where sizes or finiteness differ.
        limit_rel: what rounding may come to in this call.
        sample: number of that sample in the batch.
        sensitivity_rel: how far the output moves where the invariant is broken on purpose, such as by another prompt;
            None where that wasn't asked for.
    """

    distance_rel: NotNegative | None
    limit_rel: NotNegative
    sample: Annotated[int, Meta(ge=0)] = 0
    sensitivity_rel: NotNegative | None = None


class Check(Record, frozen=True, kw_only=True):
    """The answer of an invariant.

    Attributes:
        code: of the invariant, `family.what`.
        answer: `unable` where it applies and wasn't decided.
        distance: of the two outputs, where those were compared.
        where: steps, components or arguments that it is about.
        observed: what was seen in place of `expected`, where those are single values.
        expected: see above.
        obstacle: why it wasn't decided, or doesn't apply.
        message: what the pipeline said when it refused the call.
        waived: why a broken invariant is accepted.
    """

    code: str
    answer: Answer
    distance: OutputDistance | None = None
    where: tuple[str, ...] = ()
    observed: Fact = None
    expected: Fact = None
    obstacle: Obstacle | None = None
    message: str = ""
    waived: str | None = None


class Verification(Record, frozen=True, kw_only=True):
    """All that was found out about a pipeline.

    Attributes:
        pipeline: its class.
        source: name or folder that it was loaded from; None for one that was passed in.
        test: id of the test that asked for it; None for the command's.
        arguments: of the call that all others vary, as far as they are plain values.
        seed: of its noise.
        calls: of the pipeline that were made.
        duration_s: of all of them.
        digest: of what the call returned.
        rounding_rel: how far the output moves when everything that the denoiser is handed is changed by a few
            roundings; None where there is no denoiser.
        checks: in the order in which they were looked for.
        software: versions of the libraries.
    """

    pipeline: str
    source: str | None = None
    test: str | None = None
    arguments: dict[str, Fact]
    seed: int
    calls: int
    duration_s: Seconds
    digest: str | None
    rounding_rel: NotNegative | None
    checks: tuple[Check, ...]
    software: dict[str, Fact]

    def having(self, answer: Answer, *, waived: bool = False) -> tuple[Check, ...]:
        """The checks with an answer; waived ones are a kind of their own."""
        return tuple(
            check for check in self.checks if check.answer == answer and (check.waived is not None) == waived
        )
