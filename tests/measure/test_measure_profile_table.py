"""Tables of operators from made-up Chrome traces: no torch."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pytest_diffbench.measure.profile_table import (
    ROWS_A_STAGE,
    Row,
    Timeline,
    quieter,
    stable_name,
    table,
    with_spans,
)
from pytest_diffbench.records import Profile

ROLES: Any = {
    "encode_prompt": "text",
    "transformer": "denoiser",
    "scheduler.step": "step",
    "vae.decode": "vae_decode",
}
START_US = 4_719_616_453_374.3


def event(
    name: str, begin_us: float, end_us: float, cat: str = "cpu_op", tid: int = 1, **args: Any
) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": 7,
        "tid": tid,
        "ts": START_US + begin_us,
        "dur": end_us - begin_us,
        "args": {"External id" if key == "external_id" else key: value for key, value in args.items()},
    }


def site(name: str, begin_us: float, end_us: float) -> dict[str, Any]:
    return event(f"diffbench:{name}", begin_us, end_us, "user_annotation")


CALL = [
    site("encode_prompt", 100, 200),
    site("transformer", 300, 400),
    site("scheduler.step", 450, 500),
    site("transformer", 600, 700),
    site("scheduler.step", 750, 800),
    site("vae.decode", 900, 1000),
]


def text(*events: dict[str, Any]) -> bytes:
    marks = [{"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "ts": 0.1, "args": {"name": "python"}}]
    return json.dumps({"schemaVersion": 1, "traceEvents": [*marks, *events], "traceName": "t"}).encode()


def profile_of(*events: dict[str, Any], roles: Any = None) -> Profile | None:
    timeline = Timeline(text(*events), ROLES if roles is None else roles)
    return table("device", timeline.kernels()) or table("cpu", timeline.operators())


def rows_of(*events: dict[str, Any]) -> dict[tuple[str, str], tuple[int, float]]:
    profile = profile_of(*CALL, *events)
    assert profile is not None
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
    return {
        (operator.stage, operator.name): (operator.calls, round(operator.self_s * 1e6, 3))
        for operator in profile.operators
    }


def test_the_time_of_inner_operators_is_subtracted() -> None:
    rows = rows_of(
        event("aten::linear", 310, 350),
        event("aten::addmm", 315, 345),
        event("aten::copy_", 320, 325),
        event("aten::copy_", 330, 335),
    )
    assert rows == {
        ("denoise", "aten::linear"): (1, 10),
        ("denoise", "aten::addmm"): (1, 20),
        ("denoise", "aten::copy_"): (2, 10),
    }


def test_threads_do_not_nest() -> None:
    rows = rows_of(event("outer", 310, 390), event("other", 320, 340, tid=2))
    assert rows == {("denoise", "outer"): (1, 80), ("denoise", "other"): (1, 20)}


def test_an_operator_belongs_to_the_stage_at_the_begin() -> None:
    begun = {50: "unattributed", 100: "text_encode", 250: "unattributed", 300: "denoise", 420: "denoise"}
    begun |= {550: "denoise", 799: "denoise", 800: "unattributed", 850: "unattributed", 900: "vae_decode"}
    begun |= {1000: "unattributed", 2000: "unattributed"}
    rows = rows_of(*(event(f"op{at_us}", at_us, at_us + 0.5) for at_us in begun))
    assert {name: stage for stage, name in rows} == {f"op{at_us}": stage for at_us, stage in begun.items()}


def test_a_kernel_belongs_to_the_launching_stage_and_hides_the_host() -> None:
    rows = rows_of(
        event("aten::addmm", 310, 350),
        event("cudaLaunchKernel", 320, 321, "cuda_runtime", correlation=5),
        event("void gemm<128, float>(int*)", 860, 950, "kernel", tid=9, correlation=5),
        event("Memcpy HtoD (Pageable -> Device)", 120, 130, "gpu_memcpy", tid=9, correlation=99),
    )
    assert rows == {("denoise", "gemm"): (1, 90), ("text_encode", "Memcpy HtoD"): (1, 10)}


def test_a_kernel_names_the_innermost_launching_operator() -> None:
    profile = profile_of(
        *CALL,
        event("aten::linear", 310, 350, external_id=1),
        event("aten::addmm", 315, 345, external_id=2),
        event("cudaLaunchKernel", 320, 321, "cuda_runtime", correlation=5, external_id=2),
        event("void gemm<128, float>(int*)", 860, 950, "kernel", tid=9, correlation=5, external_id=2),
        event("void gemm<128, float>(int*)", 950, 960, "kernel", tid=9, correlation=6, external_id=1),
        event("void fill<int>(int*)", 960, 961, "kernel", tid=9, correlation=7),
    )
    assert profile is not None
    assert [(operator.label, operator.calls) for operator in profile.operators] == [
        ("gemm of aten::addmm", 1),
        ("gemm of aten::linear", 1),
        ("fill", 1),
    ]
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


def test_a_stage_keeps_the_most_expensive_rows_and_the_total_holds_all_rows() -> None:
    many = [event(f"op{n:03}", 301 + n, 301 + n + (n + 1) / 1000) for n in range(ROWS_A_STAGE + 20)]
    profile = profile_of(*CALL, *many, event("decode", 910, 911))
    assert profile is not None
    names = [operator.name for operator in profile.operators if operator.stage == "denoise"]
    assert names == [f"op{n:03}" for n in reversed(range(20, ROWS_A_STAGE + 20))]
    assert [operator.self_s for operator in profile.operators] == sorted(
        (operator.self_s for operator in profile.operators), reverse=True
    )
    assert profile.total_s == pytest.approx(1e-6 + sum(n + 1 for n in range(ROWS_A_STAGE + 20)) / 1e9)


def test_of_two_calls_alike_the_quieter_operators_are_kept() -> None:
    def rows(*named: tuple[str, float]) -> list[Row]:
        return [Row("denoise", name, None, self_us) for name, self_us in named]

    first, other = rows(("a", 10), ("a", 900), ("b", 5)), rows(("a", 700), ("a", 20), ("b", 5))
    assert quieter(first, other) == rows(("a", 10), ("a", 20), ("b", 5))
    unlike = rows(("b", 1), ("a", 1), ("a", 1))
    assert quieter(first, unlike) == first
    assert quieter(first, other[:2]) == first


def test_stages_and_steps_are_drawn_on_a_track_of_their_own() -> None:
    whole = text(*CALL, event("aten::mm", 310, 320))
    drawn = json.loads(with_spans(whole, Timeline(whole, ROLES).spans()))
    assert drawn["traceEvents"][-len(CALL) - 2 :] == json.loads(whole)["traceEvents"]
    assert drawn["traceName"] == "t"
    track = [event for event in drawn["traceEvents"] if event["tid"] == "diffbench"]
    assert track[0] == {"ph": "M", "pid": 7, "tid": "diffbench", "name": "thread_name", "args": {"name": "diffbench"}}
    spans = {span["name"]: (span["ts"] - START_US, span["dur"]) for span in track[1:]}
    expected = {
        "diffbench:text_encode": (100, 100),
        "diffbench:denoise": (300, 500),
        "diffbench:step 0": (300, 200),
        "diffbench:step 1": (500, 300),
        "diffbench:vae_decode": (900, 100),
    }
    assert {name: pytest.approx(span, abs=0.01) for name, span in expected.items()} == spans


def test_a_call_without_components_has_a_single_stage_and_no_track() -> None:
    profile = profile_of(event("aten::mm", 310, 320), roles={})
    assert profile is not None
    assert [(operator.stage, operator.name) for operator in profile.operators] == [("unattributed", "aten::mm")]
    assert Timeline(text(event("aten::mm", 310, 320)), {}).spans() == b""


def test_an_empty_call_has_no_profile() -> None:
    assert profile_of() is None
    assert profile_of(*CALL) is None


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"{}", b'{"traceEvents": [{"ph": 1}]}', b"\xff"])
def test_what_is_no_trace_is_refused(broken: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        Timeline(broken, {})


@pytest.mark.parametrize(
    ("name", "stable"),
    [
        ("aten::addmm", "aten::addmm"),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>, "
            "std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul>)",
            "at::native::vectorized_elementwise_kernel",
        ),
        (
            "void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, 4>(float*, int)",
            "at::native::CatArrayBatchedCopy",
        ),
        ("sm80_xmma_gemm_f32f32_tn_n_tilesize32x32x8", "sm80_xmma_gemm_f32f32_tn_n_tilesize32x32x8"),
        (
            "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, float, false>(cublasGemv<int>)",
            "internal::gemvx::kernel",
        ),
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_s16816gemm_bf16_256x128_tn_align8>(cutlass::Params)",
            "cutlass::Kernel2<cutlass_80_tensorop_s16816gemm_bf16_256x128_tn_align8>",
        ),
        (
            "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<2>>>(int)",
            "cutlass::device_kernel<flash::FlashAttnFwdSm90>",
        ),
        ("triton_poi_fused_add_mul_3", "triton_poi_fused_add_mul"),
        ("Torch-Compiled Region: 0/0", "Torch-Compiled Region"),
        ("## Call CompiledFxGraph f3k2lq5 ##", "CompiledFxGraph"),
        ("Memset (Device)", "Memset"),
        ("fn at 0x7f00dead", "fn at"),
        ("<lambda>", "<lambda>"),
        ("", ""),
    ],
)
def test_names_lose_what_changes_from_build_to_build(name: str, stable: str) -> None:
    assert stable_name(name) == stable
