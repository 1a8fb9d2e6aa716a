"""Blank tensors: they have the layout of real ones, keep what is real real, and say so where values are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.placeholders.content import content_of, rows_of, same
from pytest_diffbench.placeholders.tensors import Layout, Ledger, NotPlannableError, Placeholder, PlaceholderMode

if TYPE_CHECKING:
    from collections.abc import Callable


def placeholder(*size: int, dtype: torch.dtype = torch.float32) -> Placeholder:
    return PlaceholderMode().placeholder(Layout.contiguous(size, dtype))


OPERATIONS: list[Callable[[Any], Any]] = [
    lambda x: x @ x.transpose(1, 2),
    lambda x: x.to(torch.bfloat16) * 2,
    lambda x: torch.nn.functional.layer_norm(x, (8,)),
    lambda x: x.permute(2, 0, 1).reshape(8, -1),
    lambda x: x[:, 1:3, ::2],
    lambda x: x.chunk(2, dim=1)[1].contiguous(),
    lambda x: torch.nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]),
    lambda x: torch.nn.functional.conv2d(x[:, None], torch.ones(3, 1, 3, 3)),
    lambda x: x[torch.tensor([True, False])],
    lambda x: x[:, torch.tensor([3, 0])],
    lambda x: x.softmax(-1).sum(1),
    lambda x: torch.cat([x, torch.zeros(2, 6, 8)], dim=-1),
    lambda x: x.masked_fill(torch.eye(6, 8, dtype=torch.bool), 0),
    lambda x: torch.view_as_complex(x.reshape(2, 6, 4, 2)),
    lambda x: x.expand(3, 2, 6, 8).mean(dim=(0, 3), keepdim=True),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=[str(i) for i in range(len(OPERATIONS))])
def test_the_layout_matches_a_real_result(operation: Callable[[Any], Any]) -> None:
    real = operation(torch.ones(2, 6, 8))
    with torch.no_grad(), PlaceholderMode():
        result = operation(placeholder(2, 6, 8))
    assert isinstance(result, Placeholder)
    assert (result.shape, result.stride(), result.dtype) == (real.shape, real.stride(), real.dtype)


def test_what_no_blank_goes_into_is_computed() -> None:
    with PlaceholderMode():
        mask = torch.ones(1, 5, dtype=torch.bool)
        mask[:, 3:] = False
        assert mask.sum(dim=1).tolist() == [3]
        assert isinstance(torch.zeros(2000, 2000), Placeholder)
        assert not isinstance(torch.zeros(20, 20), Placeholder)


def test_in_inference_mode_the_same_operations_are_recorded_as_without_gradients() -> None:
    operations: list[list[str]] = []
    for mode in (torch.no_grad, torch.inference_mode):
        ran: list[str] = []
        with mode(), PlaceholderMode(Ledger(), lambda func, *_, ran=ran: ran.append(str(func))):
            torch.nn.functional.linear(placeholder(2, 6, 8), placeholder(4, 8), placeholder(4))
        operations.append(ran)
    assert operations[0] == operations[1]
    assert "aten.addmm.default" in operations[0]


class Curious(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> float:
        return float(x.sum())


@pytest.mark.parametrize(
    ("reads", "operation"),
    [
        (lambda x: x.tolist(), "Tensor.tolist"),
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).any()), "_local_scalar_dense"),
        (torch.nonzero, "nonzero"),
        (lambda x: x[x > 0], "index"),
        (Curious(), "_local_scalar_dense.*in Curious at pipelines/test_pipelines_blank.py:"),
    ],
)
def test_a_read_of_a_blank_names_the_operation_and_the_place(reads: Callable[[Any], Any], operation: str) -> None:
    with torch.no_grad(), PlaceholderMode(), pytest.raises(NotPlannableError, match=operation):
        reads(placeholder(4, 4))


def test_a_real_tensor_with_a_blank_written_into_is_blank_from_then_on() -> None:
    with torch.no_grad(), PlaceholderMode():
        padded = torch.zeros(2, 4)
        assert not isinstance(padded * 2, Placeholder)
        padded[:, :3] = placeholder(2, 3)
        assert isinstance(padded * 2, Placeholder)
        with pytest.raises(NotPlannableError):
            padded.sum().item()


def test_bytes_are_counted_while_a_blank_or_a_view_is_alive() -> None:
    ledger = Ledger()
    with torch.no_grad(), PlaceholderMode(ledger):
        whole = torch.zeros(1024, 1024, 2)
        assert ledger.live_bytes == 8 << 20
        part = whole[:512]
        doubled = part * 2
        assert ledger.live_bytes == 12 << 20
        del whole, doubled
        assert ledger.live_bytes == 8 << 20
        del part
    assert (ledger.live_bytes, ledger.peak_bytes) == (0, 12 << 20)


def test_a_cast_of_a_module_replaces_the_blanks() -> None:
    layer = torch.nn.Linear(4, 4)
    layer.weight = torch.nn.Parameter(placeholder(4, 4), requires_grad=False)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        layer.to(torch.bfloat16)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    assert isinstance(layer.weight, Placeholder)
    assert (layer.weight.dtype, layer.weight.strided_layout.dtype) == (torch.bfloat16, torch.bfloat16)


# -- names for values


def test_equal_operations_on_equal_values_have_equal_names() -> None:
    with torch.no_grad(), PlaceholderMode():
        a, b = placeholder(2, 3), placeholder(2, 3)
        assert same(a * 2, a * 2)
        assert not same(a * 2, b * 2)
        assert not same(a * 2, a * 3)
        assert not same(a * 2, a + 2)
        assert not same(a, a * 1)  # only what is known to be equal is
        assert torch.equal(a.sum(dim=1), a.sum(dim=1))
        assert not torch.equal(a, b)
        assert not same(torch.rand_like(a), torch.rand_like(a))


def test_entries_of_a_batch_keep_names_on_the_way_in_and_out() -> None:
    with torch.no_grad(), PlaceholderMode():
        cond, uncond, latents = placeholder(1, 7, 4), placeholder(1, 7, 4), placeholder(1, 4, 8, 8)
        both = torch.cat([uncond, cond])
        assert same(both.chunk(2)[0], uncond)
        assert same(both.chunk(2)[1], cond)
        assert not same(both.chunk(2)[0], cond)
        twice = torch.cat([latents] * 2) / 3.0
        assert rows_of(twice)[0].key == rows_of(twice)[1].key
        assert same(twice[:1], twice[1:])
        assert same(latents.repeat(2, 1, 1, 1)[1:], latents)
        assert same(latents.expand(2, 4, 8, 8)[1:], latents)
        assert same(both.transpose(1, 2)[:1], uncond.transpose(1, 2))
        assert same(both.reshape(2, 28)[1:], cond.reshape(1, 28))
        assert not same(both.transpose(0, 1)[:1], uncond.transpose(0, 1)[:1])
        assert same(latents.permute(0, 1, 3, 2), latents.permute(0, 1, 3, 2))
        assert not same(latents.permute(0, 1, 3, 2), latents.permute(0, 1, 2, 3))


def test_writing_in_place_changes_the_names_of_all_views() -> None:
    with torch.no_grad(), PlaceholderMode():
        whole = placeholder(2, 4)
        before, view = content_of(whole).key, whole[:, 1:]
        view_before = content_of(view).key
        whole.mul_(2)
        assert content_of(whole).key != before
        assert content_of(view).key != view_before


def test_real_values_go_into_names() -> None:
    with torch.no_grad(), PlaceholderMode():
        table = placeholder(10, 4)
        indices, other = torch.tensor([[1, 2]]), torch.tensor([[1, 3]])
        assert same(
            torch.nn.functional.embedding(indices, table), torch.nn.functional.embedding(indices.clone(), table)
        )
        assert not same(torch.nn.functional.embedding(indices, table), torch.nn.functional.embedding(other, table))
