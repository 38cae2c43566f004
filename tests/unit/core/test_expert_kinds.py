"""What each kind of expert computes, against plain modules and formulas."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mixtura.core import (
    All,
    AttentionExperts,
    AttentionMixture,
    ConvExperts,
    EmbeddingExperts,
    ExternalExperts,
    GLUExperts,
    GRUExperts,
    InputError,
    LatentExperts,
    LinearExperts,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    Routing,
    SampleUnits,
    TableScore,
    TopK,
    ViewExperts,
    WithSimpleExperts,
    factorize_experts,
    from_fused,
    from_module_list,
    record_routing,
    to_fused,
    to_module_list,
)
from mixtura.core.dispatch import dispatch_by_name


def test_conv_equals_torch_modules() -> None:
    for dims, convolution in ((1, nn.Conv1d), (2, nn.Conv2d)):
        bank = ConvExperts(3, 4, 6, 3, dims=dims, activation="relu")
        x = torch.randn(2, *[5] * dims, 4)
        first, second = convolution(4, 6, 3, padding=1), convolution(6, 4, 1)
        with torch.no_grad():
            first.weight.copy_(bank.up[1])
            first.bias.copy_(bank.up_bias[1].normal_())
            second.weight.copy_(bank.down[1])
            second.bias.copy_(bank.down_bias[1].normal_())
        expected = second(first(x.movedim(-1, 1)).relu()).movedim(1, -1)
        torch.testing.assert_close(bank.one(1, x), expected)
    with pytest.raises(InputError, match="odd"):
        ConvExperts(3, 4, 6, 2)


def test_gru_equals_torch_and_every_dispatch_runs_it() -> None:
    bank = GRUExperts(3, 4, 6)
    x = torch.randn(7, 5, 4)
    reference = nn.GRU(4, 6, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(bank.input[2])
        reference.weight_hh_l0.copy_(bank.state[2])
        reference.bias_ih_l0.copy_(bank.input_bias[2])
        reference.bias_hh_l0.copy_(bank.state_bias[2])
    torch.testing.assert_close(bank.one(2, x), reference(x)[0])
    routing = Routing.from_choices(torch.arange(7)[:, None] % 3, torch.rand(7, 1), num_experts=3)
    expected = dispatch_by_name("naive")(bank, x, routing)
    for name in ("sorted_loop", "padded_bmm", "grouped_mm", "dense_all"):
        torch.testing.assert_close(dispatch_by_name(name)(bank, x, routing), expected)


def test_gru_passes_over_padding() -> None:
    bank = GRUExperts(2, 4, 6, last=True, skip_zeros=True)
    x, lengths = torch.randn(3, 5, 4), [5, 2, 3]
    padded = x.clone()
    for sequence, length in zip(padded, lengths, strict=True):
        sequence[length:] = 0
    routing = Routing.from_choices(torch.tensor([[1], [0], [1]]), torch.ones(3, 1), num_experts=2)
    single = [
        bank.one(expert, x[number : number + 1, :length])
        for number, (expert, length) in enumerate(zip((1, 0, 1), lengths, strict=True))
    ]
    for name in ("naive", "sorted_loop", "padded_bmm", "grouped_mm", "dense_all"):
        found = dispatch_by_name(name)(bank, padded, routing)
        torch.testing.assert_close(found, torch.cat(single))


def test_latent_experts_converge_to_what_they_factorise() -> None:
    torch.manual_seed(0)
    trained = GLUExperts(3, 8, 10)
    x = torch.randn(40, 8)
    expected = trained.all(x)
    errors = [(factorize_experts(trained, m).all(x) - expected).norm() for m in (2, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    torch.testing.assert_close(factorize_experts(trained, 8).all(x), expected, atol=1e-4, rtol=0)
    narrow = torch.randn(40, 3) @ torch.randn(3, 8)  # rows of a subspace
    blind, seeing = (
        (factorize_experts(trained, 3, inputs=inputs).all(narrow) - trained.all(narrow)).norm()
        for inputs in (None, narrow)
    )
    assert seeing < blind
    whitened = factorize_experts(trained, 5, inputs=narrow).all(narrow) - trained.all(narrow)
    plain = factorize_experts(trained, 5).all(narrow) - trained.all(narrow)
    assert whitened.norm() < plain.norm()


def test_only_latents_move() -> None:
    bank = LatentExperts(4, 32, 10, 3)
    layer = MoELayer(Router(LinearScore(32, 4), TopK(2)), bank).eval()
    seen = []
    own = bank.own.compute
    bank.own.compute = lambda rows, *rest: seen.append(rows.shape[-1]) or own(rows, *rest)
    x = torch.randn(9, 32)
    y = layer(x)
    assert set(seen) == {6}  # gate and up
    torch.testing.assert_close(y, dispatch_by_name("naive")(bank, x, layer.route(x)))


def test_experts_may_share_their_latents_in_groups() -> None:
    torch.manual_seed(0)
    bank = LatentExperts(4, 8, 10, 3, experts_per_group=2)
    assert bank.into.shape == (2, 6, 8)
    router = Router(LinearScore(8, 4, std=1.0), TopK(2))
    x = torch.randn(9, 8, requires_grad=True)
    mask = torch.arange(9) != 4
    layer = MoELayer(router, bank)
    mixed = layer(x, mask=mask)
    torch.testing.assert_close(mixed, dispatch_by_name("naive")(bank, x, layer.route(x, mask=mask)))
    mixed.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in bank.parameters())
    trained = GLUExperts(4, 8, 6)
    exact = factorize_experts(trained, 8, experts_per_group=2)
    torch.testing.assert_close(exact.all(x), trained.all(x), atol=1e-4, rtol=0)
    near, far = (factorize_experts(trained, 4, experts_per_group=n) for n in (1, 4))
    errors = [(b.all(x) - trained.all(x)).norm().item() for b in (near, far)]
    assert errors[0] < errors[1]  # more latents, smaller error
    with pytest.raises(InputError, match="divisor"):
        LatentExperts(4, 8, 10, 3, experts_per_group=3)


def test_embedding_experts_look_up() -> None:
    bank = EmbeddingExperts(3, 5, 2)
    ids = torch.tensor([[0.0, 4.0], [2.0, 2.0]])
    table = bank.table.view(3, 5, 2)
    expected = torch.cat([table[1, [0, 2]], table[1, [4, 2]]], -1)
    torch.testing.assert_close(bank.one(1, ids), expected)
    layer = MoELayer(Router(TableScore(5, 3, std=1.0), TopK(1, renormalize="never")), bank)
    assert layer(ids, ids=torch.tensor([0, 3])).shape == (2, 4)
    with pytest.raises(InputError, match="between 0 and 4"):
        bank.one(0, ids + 1)


def test_simple_experts_cost_no_rows() -> None:
    bank = WithSimpleExperts(MLPExperts(2, 4, 6), ["zero", "copy", "constant"], dim=4)
    with torch.no_grad():
        bank.share.normal_()
    x = torch.randn(20, 4, requires_grad=True)
    index = torch.rand(20, 5).argsort(-1)[:, :2]
    routing = Routing.from_choices(index, torch.rand(20, 2), num_experts=5)
    rows = []
    own = bank.bank.compute
    bank.bank.compute = lambda given, *rest: rows.append(len(given)) or own(given, *rest)
    bank.bank.kernel = None
    y = dispatch_by_name("auto")(bank, x, routing)
    assert sum(rows) == routing.counts[:2].sum()
    expected = dispatch_by_name("naive")(bank, x, routing)
    torch.testing.assert_close(y, expected)
    inputs = [x, *bank.parameters()]
    grads = (torch.autograd.grad(out.square().sum(), inputs) for out in (y, expected))
    torch.testing.assert_close(*grads)


def test_external_experts_are_mixed() -> None:
    layer = MoELayer(
        Router(LinearScore(3, 4), TopK(2)), ExternalExperts(4), units=SampleUnits(pool="none")
    )
    outputs, features = torch.randn(6, 4, 5, 2), torch.randn(6, 3)
    y = layer(outputs, route_on=features)
    weight = layer.route(outputs, route_on=features).dense_weight
    torch.testing.assert_close(y, torch.einsum("ue,ueij->uij", weight, outputs))
    with pytest.raises(InputError, match="outputs of 4 experts"):
        layer(outputs[:, :3], route_on=features)


def test_experts_with_views_of_their_own() -> None:
    gru, static = GRUExperts(1, 4, 3, last=True), LinearExperts(1, 4, 3)
    bank = ViewExperts([gru, static], ["sequence", "mean"])
    layer = MoELayer(Router(LinearScore(4, 2), TopK(1, renormalize="never")), bank)
    layer.units = SampleUnits(pool="mean")
    x = torch.randn(6, 5, 4)
    routing = layer.route(x)
    both = torch.stack([gru.one(0, x), static.one(0, x.mean(1))], 1)
    expected = both[torch.arange(6), routing.expert] * routing.weight[:, None]
    torch.testing.assert_close(layer.compute(x, routing), expected)
    with pytest.raises(InputError, match="one of sequence"):
        ViewExperts([gru], [])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_experts_equal_plain_attention(shared: bool, causal: bool) -> None:
    torch.manual_seed(0)
    experts = AttentionExperts(3, 8, 2, shared_key_value=shared)
    x = torch.randn(2, 5, 8)
    got = experts(x, causal=causal)
    for e in range(3):
        other = 0 if shared else e
        q, k, v = (
            F.linear(x, weight).unflatten(-1, (2, 4)).transpose(1, 2)
            for weight in (experts.query[e], experts.key[other], experts.value[other])
        )
        scores = q @ k.mT / 2
        if causal:
            scores = scores.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
        heads = scores.softmax(-1) @ v
        expected = F.linear(heads.transpose(1, 2).flatten(2), experts.out[e])
        torch.testing.assert_close(got[:, :, e], expected)


def test_attention_mixture_weighs_each_token_and_is_recorded() -> None:
    mixture = AttentionMixture(Router(LinearScore(8, 3), All()), AttentionExperts(3, 8, 2))
    x = torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    with record_routing(mixture) as record:
        y = mixture(x, mask, causal=True)
    (routing,) = record.calls["gates"]
    weight = routing.dense_weight.view(2, 5, 3)
    expected = torch.einsum("bte,bted->btd", weight, mixture.experts(x, mask, causal=True))
    torch.testing.assert_close(y, expected)
    changed = x.clone()
    changed[1, 3:] += 1.0
    torch.testing.assert_close(mixture(changed, mask)[1, :3], mixture(x, mask)[1, :3])


@pytest.mark.parametrize("names", [("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")])
def test_module_list_layout_there_and_back(names: tuple[str, str, str]) -> None:
    source, target = GLUExperts(3, 4, 6), GLUExperts(3, 4, 6)
    state = to_module_list(source, "mlp.experts.", names)
    x = torch.randn(5, 4)
    gate, up, down = (state[f"mlp.experts.2.{name}.weight"] for name in names)
    expected = F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
    torch.testing.assert_close(source.one(2, x), expected)
    from_module_list(target, state, "mlp.experts.")
    assert torch.equal(target.gate_up, source.gate_up)
    assert torch.equal(target.down, source.down)
    del state[f"mlp.experts.1.{names[1]}.weight"]
    with pytest.raises(InputError, match="check the prefix"):
        from_module_list(target, state, "mlp.experts.")


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_fused_layout_there_and_back(interleaved: bool, transposed: bool) -> None:
    source, target = GLUExperts(3, 4, 6), GLUExperts(3, 4, 6)
    state = to_fused(source, interleaved=interleaved, transposed=transposed)
    both = state["experts.gate_up_proj"]
    both = both.mT if transposed else both
    second = both[:, 1] if interleaved else both[:, 6]
    assert torch.equal(second, source.gate_up[:, 6])  # the first row of up
    from_fused(target, state, interleaved=interleaved, transposed=transposed)
    assert torch.equal(target.gate_up, source.gate_up)
    assert torch.equal(target.down, source.down)
    with pytest.raises(InputError, match="check the sizes"):
        from_fused(GLUExperts(3, 4, 5), state, transposed=transposed)
