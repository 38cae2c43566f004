"""Attention and rotary positions against formulas written out."""

import math

import pytest
import torch

from mixtura.core import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.key_value_cache import KeyValueCache
from mixtura.forecasting.networks.rotary import HalfSplitRotary, InterleavedRotary


def test_attention_with_shared_heads_is_the_formula() -> None:
    torch.manual_seed(0)
    attention = GroupedQueryAttention(12, 6, 2, causal=True)
    x = torch.randn(2, 5, 12)
    q = attention.q_proj(x).view(2, 5, 6, 2)
    k = attention.k_proj(x).view(2, 5, 2, 2)
    v = attention.v_proj(x).view(2, 5, 2, 2)
    mixed = torch.zeros(2, 5, 6, 2)
    for head in range(6):
        scores = q[:, :, head] @ k[:, :, head // 3].transpose(1, 2) / math.sqrt(2)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        mixed[:, :, head] = scores.softmax(-1) @ v[:, :, head // 3]
    assert torch.allclose(attention(x), attention.o_proj(mixed.flatten(2)), atol=1e-6)


def test_a_closed_gate_silences_its_head() -> None:
    torch.manual_seed(0)
    attention = GroupedQueryAttention(8, 4, 2, head_gate=True)
    with torch.no_grad():
        # of the second group: 2 heads of 2 queries each, then their 2 gates
        attention.q_proj.weight[6 + 5] = 0
        attention.q_proj.bias[6 + 5] = -1e4
        attention.o_proj.weight.copy_(torch.eye(8))
    y = attention(torch.randn(1, 3, 8))
    assert torch.equal(y[..., 6:], torch.zeros(1, 3, 2))
    assert y[..., :6].abs().min() > 0


@pytest.mark.parametrize("rotary", [InterleavedRotary(8), HalfSplitRotary(8)])
def test_rotated_products_depend_on_the_distance_alone(rotary: InterleavedRotary) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(at: int, other: int) -> float:
        rotated = [rotary(x, torch.tensor([p])) for x, p in ((q, at), (k, other))]
        return float((rotated[0] * rotated[1]).sum())

    assert product(3, 1) == pytest.approx(product(10, 8), abs=1e-5)
    assert torch.equal(rotary(q, torch.tensor([0])), q)


def test_the_two_layouts_are_the_same_rotation_of_permuted_dimensions() -> None:
    x = torch.randn(1, 2, 4, 6)
    order = torch.tensor([0, 2, 4, 1, 3, 5])
    positions = torch.arange(4)
    interleaved = InterleavedRotary(6)(x, positions)[..., order]
    assert torch.allclose(interleaved, HalfSplitRotary(6)(x[..., order], positions), atol=1e-6)


def test_a_cache_changes_nothing_but_the_work() -> None:
    torch.manual_seed(0)
    attention = GroupedQueryAttention(8, 2, rotary=HalfSplitRotary(4), causal=True)
    x = torch.randn(2, 7, 8)
    whole = attention(x)
    cache = KeyValueCache(1, 7)
    pieces = []
    for begin, end in ((0, 4), (4, 5), (5, 7)):
        seen = torch.arange(end)
        mask = seen[None, :] <= torch.arange(begin, end)[:, None]
        pieces.append(
            attention(
                x[:, begin:end],
                mask=mask.expand(2, 1, -1, -1),
                positions=torch.arange(begin, end),
                cache=cache,
            )
        )
        cache.advance(end - begin)
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-6)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="divisible by num_heads"):
        GroupedQueryAttention(10, 4)
    with pytest.raises(InputError, match="even head dimension"):
        InterleavedRotary(3)
