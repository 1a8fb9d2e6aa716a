"""What two tables of operators say about why a call got slower: pure arithmetic."""

from __future__ import annotations

import judge_factories as make
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_lines import explained

from pytest_diffbench.judge import Limits
from pytest_diffbench.judge.gate_input import GateInput
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time.kernels import with_operators
from pytest_diffbench.records import STAGES, Operator, Profile, Stage
from pytest_diffbench.records.details import TimeDetails


def row(name: str, calls: int, self_s: float, stage: Stage = "denoise") -> Operator:
    return Operator(name=name, stage=stage, calls=calls, self_s=self_s)


def profile(*rows: Operator, left_out_s: float = 0.0) -> Profile:
    return Profile(kind="cpu", total_s=sum(row.self_s for row in rows) + left_out_s, operators=rows)


BASE = (
    row("aten::addmm", 4200, 2.0),
    row("aten::scaled_dot_product_attention", 480, 1.0),
    row("aten::mul", 9000, 0.4),
    row("aten::copy_", 900, 0.1),
    row("aten::convolution", 16, 0.5, "vae_decode"),
    row("aten::mm", 20, 0.2, "text_encode"),
)


def changed(name: str, calls: int | None = None, self_s: float | None = None, pace: float = 1.0) -> Profile:
    """The base at another pace, with one row changed."""
    rows = []
    for operator in BASE:
        named = operator.name == name
        rows.append(
            msgspec.structs.replace(
                operator,
                calls=calls if named and calls is not None else operator.calls,
                self_s=pace * (self_s if named and self_s is not None else operator.self_s),
            )
        )
    return profile(*rows)


def test_nothing_changed_is_nothing_to_tell() -> None:
    assert explained(profile(*BASE), profile(*BASE)) == ()


def test_a_more_often_called_operator_is_reported_with_the_counts() -> None:
    assert explained(profile(*BASE), changed("aten::addmm", 5040, 2.4)) == (
        "denoise: aten::addmm 4,200 -> 5,040 calls (+20 %), 100 % of the added time",
    )


@pytest.mark.parametrize("pace", [0.25, 0.95, 1.05, 3.0])
def test_the_pace_of_the_machine_makes_no_operator_slow(pace: float) -> None:
    assert not [line for line in explained(profile(*BASE), changed("", pace=pace)) if "calls" in line or "->" in line]
    (line, *_) = explained(profile(*BASE), changed("aten::copy_", 1800, 0.2, pace))
    assert line == "denoise: aten::copy_ 900 -> 1,800 calls (+100 %), 100 % of the added time"


def test_a_common_pace_is_reported() -> None:
    (line,) = explained(profile(*BASE), changed("", pace=1.5))
    assert line == "operators called as often as before: +50 % in the median"


def test_an_operator_slower_by_itself_is_reported_with_the_times() -> None:
    (line,) = explained(profile(*BASE), changed("aten::convolution", self_s=0.9))
    assert line == "vae_decode: aten::convolution 500 ms -> 900 ms (+80 %) in 16 calls, 100 % of the added time"


def test_the_noise_of_a_single_round_is_not_reported() -> None:
    assert explained(profile(*BASE), changed("aten::addmm", self_s=2.4)) == ()  # 20 % slower
    assert explained(profile(*BASE), changed("aten::copy_", self_s=0.15)) == ()  # 1 % of the whole


def test_a_merely_slower_operator_is_reported_where_the_rounds_are_slower_too() -> None:
    now = changed("aten::convolution", self_s=0.9)
    assert explained(profile(*BASE), now, slower_in=STAGES[2:3]) == ()
    assert len(explained(profile(*BASE), now, slower_in=STAGES[3:4])) == 1
    more = changed("aten::convolution", 32, 0.9)
    assert len(explained(profile(*BASE), more, slower_in=())) == 1  # counts don't err
    for decode_s, lines in ((0.5, 0), (0.9, 1)):
        reference = make.reference(profile=profile(*BASE))
        observation = make.observation(run=make.run(12.0, decode_s=decode_s), profile=now)
        gate_input = GateInput(
            observation=observation, artifacts=make.artifacts(), reference=reference, limits=Limits()
        )
        slower = verdict("time.slower", details=TimeDetails())
        details = with_operators(slower, gate_input).details
        assert isinstance(details, TimeDetails)
        assert len(details.operators) == lines
        same = verdict("time.same", details=TimeDetails())
        assert with_operators(same, gate_input) is same


def test_new_and_gone_operators_are_sorted_by_time() -> None:
    base = profile(*BASE, row("aten::silu", 300, 0.05))
    now = profile(*BASE, row("aten::gelu", 300, 0.3), row("aten::cat", 1, 0.1))
    assert explained(base, now) == (
        "denoise: aten::gelu new, 300 calls, 300 ms, 75 % of the added time",
        "denoise: aten::cat new, 1 call, 100 ms, 25 % of the added time",
        "denoise: aten::silu gone, 300 calls before, 50.0 ms",
    )


def test_an_operator_in_two_stages_counts_as_two() -> None:
    now = profile(*BASE, row("aten::addmm", 7, 0.2, "text_encode"))
    assert explained(profile(*BASE), now) == (
        "text_encode: aten::addmm new, 7 calls, 200 ms, 100 % of the added time",
    )


def test_a_small_row_possibly_cut_from_a_full_table_is_not_called_new_or_gone() -> None:
    small, large = row("aten::neg", 5, 0.05), row("aten::sort", 5, 0.6)
    full = profile(*BASE, left_out_s=0.2)
    assert explained(full, profile(*BASE, small)) == ()
    assert explained(profile(*BASE, small), full) == ()
    assert "aten::sort new" in explained(full, profile(*BASE, large))[0]
    assert "aten::neg new" in explained(profile(*BASE), profile(*BASE, small))[0]


def test_of_many_changes_the_largest_are_reported() -> None:
    more = [row(f"op{n:02}", 1, 0.1 * (n + 1)) for n in range(9)]
    lines = explained(profile(*BASE), profile(*BASE, *more))
    assert [line.split()[1] for line in lines[:-1]] == [f"op{n:02}" for n in (8, 7, 6, 5, 4, 3)]
    assert lines[-1] == "and 3 more operators"


def test_operators_of_the_processor_and_kernels_of_a_device_are_not_compared() -> None:
    kernels = msgspec.structs.replace(profile(*BASE), kind="device")
    assert explained(profile(*BASE), kernels) == ()


def test_empty_tables_and_rows_without_time() -> None:
    nothing = Profile(kind="cpu", total_s=0, operators=())
    assert explained(nothing, nothing) == ()
    assert len(explained(nothing, profile(*BASE))) == len(BASE)
    assert explained(profile(row("a", 1, 0.0)), profile(row("a", 2, 0.0))) == ("denoise: a 1 -> 2 calls (+100 %)",)


def test_a_question_without_two_profiles_has_no_lines() -> None:
    now = profile(*BASE, row("aten::gelu", 300, 0.3))
    for base, current, lines in ((None, now, 0), (profile(*BASE), None, 0), (profile(*BASE), now, 1)):
        reference = make.reference()
        stored = msgspec.structs.replace(reference.baseline, profile=base)
        gate_input = GateInput(
            observation=make.observation(profile=current),
            artifacts=make.artifacts(),
            reference=type(reference)(stored, reference.distance, reference.path, make.artifacts),
            limits=Limits(),
        )
        slower = verdict("time.slower", details=TimeDetails())
        details = with_operators(slower, gate_input).details
        assert isinstance(details, TimeDetails)
        assert len(details.operators) == lines
        same = verdict("time.same", details=TimeDetails())
        assert with_operators(same, gate_input) is same
    bare = GateInput(
        observation=make.observation(profile=now), artifacts=make.artifacts(), reference=None, limits=Limits()
    )
    assert with_operators(slower, bare) is slower


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from([f"op{n}" for n in range(6)]),
        st.integers(1, 10_000),
        st.floats(0, 10),
        st.sampled_from(STAGES),
    ),
    unique_by=lambda row: (row.stage, row.name),
)


@given(base=ROWS, now=ROWS, reverse=st.booleans())
def test_any_two_tables_can_be_compared_and_their_order_does_not_matter(
    base: list[Operator], now: list[Operator], reverse: bool
) -> None:
    lines = explained(profile(*base), profile(*now))
    assert lines == explained(profile(*reversed(base)), profile(*reversed(now)))
    assert explained(profile(*base), profile(*base)) == ()
    shares = [int(line.rpartition(", ")[2].split()[0]) for line in lines if line.endswith("of the added time")]
    assert sum(shares) <= 100 + len(shares)


def kernels(*rows: tuple[str, str | None, int, float]) -> Profile:
    """Kernels of the denoiser: name, what launched it, calls, seconds."""
    operators = tuple(
        Operator(name=name, stage="denoise", calls=calls, self_s=self_s, launched_by=launched_by)
        for name, launched_by, calls, self_s in rows
    )
    return Profile(kind="device", total_s=sum(row[3] for row in rows), operators=operators)


def test_only_the_changed_operator_of_a_shared_kernel_is_named() -> None:
    base = kernels(("elementwise", "aten::mul", 900, 0.4), ("elementwise", "aten::silu", 100, 0.1))
    now = kernels(("elementwise", "aten::mul", 900, 0.4), ("elementwise", "aten::silu", 200, 0.2))
    assert explained(base, now) == (
        "denoise: elementwise of aten::silu 100 -> 200 calls (+100 %), 100 % of the added time",
    )


def test_a_baseline_without_launching_operators_is_compared_by_kernel_names() -> None:
    base = kernels(("elementwise", None, 1000, 0.5), ("gemm", None, 10, 1.0))
    now = kernels(
        ("elementwise", "aten::mul", 900, 0.4), ("elementwise", "aten::silu", 100, 0.1), ("gemm", "aten::mm", 20, 2.0)
    )
    assert explained(base, now) == ("denoise: gemm 10 -> 20 calls (+100 %), 100 % of the added time",)
