"""Growing: the mixture computes at first what the dense layer computed."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    BAM_SHARED_KV,
    BTX,
    Chain,
    DenseFFN,
    GLUExperts,
    InputError,
    LinearScore,
    MoELayer,
    Router,
    TopK,
    compose,
    from_config,
    merge_to_dense,
    to_config,
    upcycle_ffn,
)


def ffn(gated: bool, bias: bool = True) -> DenseFFN:
    torch.manual_seed(0)
    gate = nn.Linear(6, 24, bias=bias) if gated else None
    return DenseFFN(
        nn.Linear(6, 24, bias=bias),
        nn.Linear(24, 6, bias=bias),
        gate,
        "silu" if gated else "relu",
    )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("replicas", "pieces", "k", "gate"),
    [
        (4, 1, 2, "scaled"),
        (4, 1, 1, "normalized"),
        (2, 2, 2, "scaled"),
        (16, 2, 2, "scaled"),
        (4, 4, 4, "scaled"),
        (4, 2, 4, "scaled"),
        (8, 2, 2, "sum"),
        (1, 4, 4, "sum"),
    ],
)
def test_the_upcycled_layer_is_exact_at_the_start(
    gated: bool, bias: bool, replicas: int, pieces: int, k: int, gate: str
) -> None:
    dense = ffn(gated, bias)
    layer = upcycle_ffn(dense, replicas, pieces=pieces, k=k, gate=gate)
    x = torch.randn(300, 6)
    assert (layer(x) - dense(x)).abs().max() <= 1e-5
    if k == pieces and replicas > 1:
        replica = layer.route(x).index // pieces
        assert (replica == replica[:, :1]).all()


def test_other_gates_are_not_exact() -> None:
    dense, x = ffn(False), torch.randn(50, 6)
    for gate in ("normalized", "softmax"):
        layer = upcycle_ffn(dense, 4, pieces=2, gate=gate)
        assert (layer(x) - dense(x)).abs().max() > 1e-3


@pytest.mark.parametrize("gated", [False, True])
def test_back_to_dense(gated: bool) -> None:
    dense = ffn(gated)
    layer = upcycle_ffn(dense, 4, pieces=2)
    back = merge_to_dense(layer, 3, pieces=2)
    assert torch.equal(back.up.weight, dense.up.weight)
    assert torch.equal(back.down.weight, dense.down.weight)
    torch.testing.assert_close(back.down.bias, dense.down.bias)
    x = torch.randn(5, 6)
    torch.testing.assert_close(back(x), dense(x))
    with pytest.raises(InputError, match="no replica"):
        merge_to_dense(layer, 4, pieces=2)


@pytest.mark.parametrize("gated", [False, True])
def test_dropping_draws_whole_hidden_units_anew(gated: bool) -> None:
    dense = ffn(gated)
    layer = upcycle_ffn(dense, 3, drop=0.5, generator=torch.Generator().manual_seed(1))
    changed = (layer.experts.down != dense.down.weight).all(1)
    assert changed.sum(-1).tolist() == [12, 12, 12]
    assert not torch.equal(changed[0], changed[1])
    first = layer.experts.gate_up if gated else layer.experts.up
    source = torch.cat([dense.gate.weight, dense.up.weight]) if gated else dense.up.weight
    rows = (first != source).all(-1)
    assert torch.equal(rows[:, -24:], changed)
    noisy = upcycle_ffn(dense, 2, noise=0.01).experts
    assert 0 < (noisy.down - dense.down.weight).abs().max() < 0.1 * dense.down.weight.abs().max()


def test_impossible_growth_is_refused() -> None:
    with pytest.raises(InputError, match="equal pieces"):
        upcycle_ffn(ffn(False), 2, pieces=5)
    with pytest.raises(InputError, match="k must be between"):
        upcycle_ffn(ffn(False), 2, k=3)
    with pytest.raises(InputError, match="down has 8"):
        DenseFFN(nn.Linear(4, 6), nn.Linear(8, 4))


def test_an_upcycled_layer_is_saved_like_any_other() -> None:
    layer = upcycle_ffn(ffn(True), 4, pieces=2)
    built = from_config(to_config(layer))
    built.load_state_dict(layer.state_dict())
    x = torch.randn(5, 6)
    assert torch.equal(built(x), layer(x))


def test_composition_averages_and_stacks() -> None:
    states = [
        {
            "mlp.up": torch.full((2,), float(i)),
            "attn.q_proj": torch.full((2,), float(i)),
            "attn.k_proj": torch.full((2,), float(i)),
            "norm": torch.full((2,), float(i)),
            "count": torch.tensor(i),
        }
        for i in range(3)
    ]
    shared, experts = compose(states, BTX)
    assert list(experts) == ["mlp.up"]
    assert experts["mlp.up"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert shared["norm"].tolist() == [1, 1]
    assert shared["count"].item() == 0
    shared, experts = compose(states, BAM_SHARED_KV)
    assert sorted(experts) == ["attn.q_proj", "mlp.up"]
    assert shared["attn.k_proj"].tolist() == [1, 1]
    with pytest.raises(InputError, match="differs from the first one in norm"):
        compose([states[0], {k: v for k, v in states[1].items() if k != "norm"}], BTX)
    with pytest.raises(InputError, match="no parameter matches"):
        compose(states, ["router"])


def test_a_chain_starts_as_the_layer_that_it_grew_from() -> None:
    torch.manual_seed(0)
    layer = MoELayer(Router(LinearScore(6, 4), TopK(2)), GLUExperts(4, 6, 8), dispatch="naive")
    chain = Chain.from_layer(layer, 3)
    assert all(step.dispatch is layer.dispatch for step in chain.steps)
    x = torch.randn(7, 6)
    torch.testing.assert_close(chain(x), layer(x))
    chain(x).sum().backward()
    assert chain.share.grad.abs().sum() > 0
    with pytest.raises(InputError, match="one router or 3 routers"):
        Chain([layer.router] * 2, layer.experts, steps=3)


def test_one_hidden_unit_of_one_number_can_be_drawn_anew() -> None:
    tiny = DenseFFN(nn.Linear(1, 4), nn.Linear(4, 1))
    layer = upcycle_ffn(tiny, 2, drop=0.25, noise=0.1)
    assert all(torch.isfinite(p).all() for p in layer.parameters())
