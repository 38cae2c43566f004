"""Low-rank and deep experts, joint gates and cosines over random sizes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mixtura.core import (
    CosineScore,
    DeepMLPExperts,
    JointWithShared,
    LinearScore,
    LoRAExperts,
    MoELayer,
    Router,
    TopK,
    combine,
)


@given(
    units=st.integers(0, 7),
    routed=st.integers(1, 5),
    shared=st.integers(1, 3),
    rank=st.integers(1, 3),
    data=st.data(),
)
def test_joint_weights_sum_to_one_and_the_bottleneck_is_exact(units, routed, shared, rank, data):
    k = data.draw(st.integers(1, routed))
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=units, max_size=units))).bool()
    experts = LoRAExperts(routed + shared, 4, rank, out_dim=3).double()
    torch.nn.init.normal_(experts.B)
    router = Router(LinearScore(4, routed + shared, std=1.0), JointWithShared(k, shared))
    x = torch.randn(units, 4, dtype=torch.float64)
    routing = router(x, mask=mask)
    torch.testing.assert_close(routing.dense_weight.sum(1), mask.to(routing.weight.dtype))
    assert routing.chosen[mask][:, routed:].all()
    mixed = MoELayer(router, experts).compute(x, routing)
    moved = MoELayer(router, experts, dispatch="sorted_loop").compute(x, routing)
    torch.testing.assert_close(mixed, moved)
    torch.testing.assert_close(mixed, combine(experts.all(x), routing))
    assert torch.isfinite(mixed).all()


@given(
    units=st.integers(0, 6),
    experts=st.integers(1, 4),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e15]),
    seed=st.integers(0, 999),
)
def test_cosines_are_finite_and_bounded(units, experts, scale, seed):
    torch.manual_seed(seed)
    x = (scale * torch.randn(units, 5)).requires_grad_()
    router = Router(CosineScore(5, experts), TopK(1, renormalize="never"), activation="identity")
    routing = router(x)
    assert (routing.logits.abs() <= 1 + 1e-5).all()
    routing.weight.sum().backward()
    assert torch.isfinite(router.score_function.prototypes.grad).all()


@given(
    units=st.integers(2, 6),
    experts=st.integers(1, 4),
    depth=st.integers(1, 3),
    norm=st.sampled_from(["batch", "layer", "none"]),
)
def test_deep_experts_one_by_one_and_all_at_once(units, experts, depth, norm):
    widths = list(range(3, 3 + depth))
    bank = DeepMLPExperts(experts, 4, widths, norm=norm, output_activation="silu").double()
    x = torch.randn(units, 4, dtype=torch.float64)
    outputs = bank.all(x)
    assert outputs.shape == (units, experts, widths[-1])
    for expert in range(experts):
        torch.testing.assert_close(bank.one(expert, x), outputs[:, expert])


def test_gradients_in_double_precision():
    torch.manual_seed(0)
    lora = LoRAExperts(4, 3, 2).double()
    torch.nn.init.normal_(lora.B)
    deep = DeepMLPExperts(4, 3, [4, 3], norm="batch", output_activation="silu").double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    for bank in (lora, deep):
        parameters = list(bank.parameters())

        def run(x, *values, bank=bank):
            weights = dict(zip(dict(bank.named_parameters()), values, strict=True))
            return torch.func.functional_call(
                Everyone(bank), {f"bank.{k}": v for k, v in weights.items()}, (x,)
            )

        assert torch.autograd.gradcheck(run, (x, *parameters))
    router = Router(CosineScore(3, 4), JointWithShared(2, 1)).double()
    score = router.score_function

    def route(x, prototypes):
        return torch.func.functional_call(
            Weights(router), {"router.score_function.prototypes": prototypes}, (x,)
        )

    assert torch.autograd.gradcheck(route, (x, score.prototypes))


class Everyone(torch.nn.Module):
    """All experts of a bank."""

    def __init__(self, bank):
        super().__init__()
        self.bank = bank

    def forward(self, x):
        return self.bank.all(x)


class Weights(torch.nn.Module):
    """The weights of a router."""

    def __init__(self, router):
        super().__init__()
        self.router = router

    def forward(self, x):
        return self.router(x).dense_weight
