"""Attention whose kernel no formula of torch's knows: counted by its shapes, never as a saving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers.models import attention_dispatch
from real_calls import PROMPT, SMALL, new_mini, observe
from torch import library as torch_operators

from pytest_diffbench.measure.attention_backends import attention_flops
from pytest_diffbench.measure.census import Census
from pytest_diffbench.measure.flops import flop_formulas

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

NATIVE = attention_dispatch.AttentionBackendName.NATIVE


@pytest.fixture
def foreign_attention(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Attention by an operator of another package, as flash-attn's or SageAttention's."""
    operators = torch_operators.Library("foreign_kernels", "FRAGMENT")
    operators.define("attention(Tensor query, Tensor key, Tensor value) -> Tensor")
    operators.impl("attention", _attention, "CompositeExplicitAutograd")
    native = attention_dispatch._AttentionBackendRegistry._backends[NATIVE]

    def backend(query: Any, key: Any, value: Any, attn_mask: Any = None, **rest: Any) -> Any:
        if attn_mask is not None:
            return native(query=query, key=key, value=value, attn_mask=attn_mask, **rest)
        return torch.ops.foreign_kernels.attention(query, key, value)

    monkeypatch.setitem(attention_dispatch._AttentionBackendRegistry._backends, NATIVE, backend)
    yield
    operators._destroy()


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    with torch.utils._python_dispatch._disable_current_modes():
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous()


def test_a_model_has_the_flops_of_torchs_own_kernel(request: pytest.FixtureRequest) -> None:
    pipeline = new_mini("flux")
    before = observe(pipeline, PROMPT, **SMALL).work
    request.getfixturevalue("foreign_attention")
    after = observe(pipeline, PROMPT, **SMALL).work
    assert before is not None
    assert after is not None
    assert after.flops == before.flops
    assert after.total_flops > 0
    assert before.uncounted == {}
    (name,) = after.uncounted
    assert name == "foreign_kernels::attention"


def test_flops_match_two_products() -> None:
    # scores: 10 x 12 of width 8; their product with values of width 4; for 3 heads of 2 pictures
    assert attention_flops((2, 10, 3, 8), (2, 12, 3, 8), (2, 12, 3, 4)) == 2 * 2 * 3 * 10 * 12 * (8 + 4)


def test_the_dispatcher_is_left_unchanged() -> None:
    before = dict(attention_dispatch._AttentionBackendRegistry._backends)
    with Census():
        assert attention_dispatch._AttentionBackendRegistry._backends != before
    assert attention_dispatch._AttentionBackendRegistry._backends == before


@pytest.mark.parametrize("operator", ["_int_mm", "_weight_int8pack_mm"])
def test_products_of_small_integers_count(operator: str) -> None:
    left = torch.randint(-5, 5, (32, 64), dtype=torch.int8)
    census = Census()
    census.at("model")
    if operator == "_int_mm":
        with census:
            torch._int_mm(left, left.T.contiguous()[:, :16].contiguous())
    else:
        weight = torch.randint(-5, 5, (16, 64), dtype=torch.int8)
        with census:
            torch._weight_int8pack_mm(left.float(), weight, torch.ones(16))
    assert census.total() == 2 * 32 * 64 * 16


@pytest.mark.parametrize(
    "operator",
    [
        "_weight_int4pack_mm",
        "_weight_int4pack_mm_for_cpu",
        "_dyn_quant_matmul_4bit",
        "_weight_int8pack_mm",
        "_int_mm",
    ],
)
def test_products_with_packed_weights_count_by_what_goes_in_and_comes_out(operator: str) -> None:
    packed = torch.empty(7)  # of a shape that says nothing
    count = flop_formulas()[getattr(torch.ops.aten, operator)]
    assert count(torch.empty(32, 64), packed, out_val=torch.empty(32, 16)) == 2 * 32 * 64 * 16


@pytest.mark.parametrize(
    "operator",
    [
        "_scaled_dot_product_attention_math_for_mps",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_fused_attention_overrideable",
    ],
)
def test_fused_attention_of_other_devices_counts(operator: str) -> None:
    query, key, value = torch.empty(2, 3, 10, 8), torch.empty(2, 3, 12, 8), torch.empty(2, 3, 12, 4)
    count = flop_formulas()[getattr(torch.ops.aten, operator)]
    assert count(query, key, value, out_val=None) == 2 * 2 * 3 * 10 * 12 * (8 + 4)
