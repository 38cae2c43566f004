"""Score functions beyond the linear one."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mixtura.core import (
    DSelectScore,
    GroupedScore,
    HardWeights,
    HashScore,
    HyperplaneHashScore,
    InputError,
    KMeansScore,
    LinearScore,
    MixtureFit,
    MixtureModelScore,
    MLPExperts,
    MoELayer,
    NoisyLinearScore,
    Positive,
    RecurrentScore,
    Router,
    RouterCell,
    SlotScore,
    SoftSlots,
    TableScore,
    TopAny,
    TopAnyScore,
    TopK,
    record_routing,
    select_experts,
)


@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_the_router_cell_is_torchs(kind: str) -> None:
    torch.manual_seed(0)
    cell = RouterCell(5, kind=kind)
    v, state = torch.randn(7, 5), torch.randn(7, 5)
    torch.testing.assert_close(cell(v, state), cell.cell(v, state))


class Recurrent(nn.Module):
    """Two expert layers with a dense one between, sharing a router cell."""

    def __init__(self) -> None:
        super().__init__()
        cell = RouterCell(5)
        self.layers = nn.ModuleList(
            MoELayer(Router(RecurrentScore(4, 3, cell), TopK(2)), MLPExperts(3, 4, 8))
            for _ in range(2)
        )
        self.dense = nn.Linear(4, 4)

    def block(self, number: int, x: torch.Tensor, state: torch.Tensor | None):
        layer = self.layers[number]
        routing = layer.route(x, state=state)
        return x + layer.compute(x, routing), routing.aux["state"]

    def forward(self, x: torch.Tensor, checkpointed: bool) -> torch.Tensor:
        state = None
        for number in range(2):
            if checkpointed:
                x, state = checkpoint(self.block, number, x, state, use_reentrant=False)
            else:
                x, state = self.block(number, x, state)
            x = x + self.dense(x)
        return x


def test_the_state_passes_through_checkpoints_and_dense_layers() -> None:
    torch.manual_seed(0)
    model, x = Recurrent(), torch.randn(6, 4)
    gradients = []
    for checkpointed in (False, True):
        model.zero_grad()
        with record_routing(model) as record:
            y = model(x, checkpointed)
            y.square().sum().backward()
        assert [len(calls) for calls in record.calls.values()] == [1, 1]
        gradients.append([p.grad.clone() for p in model.parameters()] + [y.detach()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert model.layers[0].router.score_function.input_weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="router state must be"):
        model.block(0, x, torch.zeros(6, 4))


def test_noise_in_training_only() -> None:
    torch.manual_seed(0)
    score = NoisyLinearScore(4, 3)
    x = torch.randn(5, 4)
    assert not torch.equal(score(x)[0], score(x)[0])
    assert torch.equal(score.eval()(x)[0], torch.zeros(5, 3))


def test_a_frozen_router_makes_no_noise() -> None:
    router = Router(NoisyLinearScore(4, 3), TopK(1), jitter=0.1, dropout=0.1).train()
    router.freeze()
    x = torch.randn(5, 4)
    assert torch.equal(router(x).scores, router(x).scores)
    router.unfreeze()
    assert not torch.equal(router(x).scores, router(x).scores)


def test_jitter_does_not_touch_what_the_experts_see() -> None:
    router = Router(LinearScore(4, 3), TopK(3), jitter=0.5).train()
    x = torch.randn(5, 4)
    before = x.clone()
    router(x)
    assert torch.equal(x, before)


def test_hashes_are_tables() -> None:
    score = HashScore(3, 6, frequencies=[5, 4, 3, 2, 1, 1])
    ids = torch.arange(6)
    weights, _ = score(torch.zeros(6, 1), ids=ids)
    load = (weights * torch.tensor([[5.0], [4], [3], [2], [1], [1]])).sum(0)
    assert sorted(load.tolist()) == [5.0, 5.0, 6.0]
    explicit = HashScore(3, 3, experts_of=[2, 0, 2])
    chosen = explicit(torch.zeros(3, 1), ids=torch.arange(3))[0].argmax(-1)
    assert chosen.tolist() == [2, 0, 2]
    several, _ = HashScore(4, 8, k=2)(torch.zeros(8, 1), ids=torch.arange(8))
    assert (several.gt(0).sum(-1) == 2).all()
    with pytest.raises(InputError, match="one id for each"):
        explicit(torch.zeros(2, 1), ids=torch.arange(3))
    with pytest.raises(InputError, match="does not look at ids"):
        Router(LinearScore(1, 2), TopK(1))(torch.zeros(2, 1), ids=ids[:2])


def test_hyperplanes_spread_and_repeat() -> None:
    score = HyperplaneHashScore(8, 4)
    x = torch.randn(4000, 8)
    weights, _ = score(x)
    assert torch.equal(weights, score(3 * x)[0])
    assert weights.mean(0).min() > 0.1


def test_a_senseless_pair_is_refused() -> None:
    with pytest.raises(InputError, match="no activation belongs"):
        Router(HashScore(2, 2), TopK(1))
    with pytest.raises(InputError, match="selects from slots"):
        Router(LinearScore(4, 2), SoftSlots(), activation="identity")
    with pytest.raises(InputError, match="gives slots"):
        Router(SlotScore(4, 2), TopK(1), activation="identity")
    with pytest.raises(InputError, match="Positive needs scores from"):
        Router(LinearScore(4, 2), Positive())
    with pytest.raises(InputError, match="TopK needs scores from"):
        Router(LinearScore(4, 2), TopK(1, renormalize="softmax"), activation="sigmoid")
    with pytest.raises(InputError, match="TopAny"):
        Router(HashScore(2, 2), TopAny(), activation="identity")


def test_wrong_widths_are_named() -> None:
    layer = MoELayer(Router(LinearScore(4, 2), TopK(1)), MLPExperts(2, 4, 4))
    with pytest.raises(InputError, match=r"\(units, 4\), got \(3, 5\)"):
        layer(torch.zeros(3, 5))


def test_dselect_of_one_expert_is_that_expert() -> None:
    gate, _ = DSelectScore(1, 2, dim=3)(torch.randn(4, 3))
    assert torch.equal(gate, torch.ones(4, 1))


def test_dselect_starts_even_and_ends_binary() -> None:
    score = DSelectScore(6, 2)
    gate, aux = score(torch.zeros(3, 1))
    assert aux["selectors"].shape == (1, 2, 6)
    torch.testing.assert_close(gate, torch.full((3, 6), 1 / 8), atol=1.2e-2, rtol=0)
    with torch.no_grad():
        score.code.copy_(torch.tensor([9.0, -9, 9, -9, 9, -9]))  # experts 5 and 2
    router = Router(score, Positive(), activation="identity")
    assert router(torch.zeros(1, 1)).chosen[0].nonzero().flatten().tolist() == [2, 5]


def test_top_any_takes_the_mean_of_whoever_is_ready() -> None:
    score = TopAnyScore(2, 3)
    score.weight.data.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]))
    router = Router(score, TopAny(), activation="identity")
    routing = router(torch.tensor([[2.0, 0.0], [-3.0, 0.1]]))
    torch.testing.assert_close(
        routing.dense_weight, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    )
    (routing.dense_weight * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert score.threshold.grad.abs().sum() > 0
    score.threshold.data.fill_(5.0)
    assert router(torch.randn(4, 2)).chosen.sum(-1).tolist() == [1, 1, 1, 1]


def test_kmeans_finds_clusters_offline_and_follows_online() -> None:
    torch.manual_seed(0)
    centers = 10 * torch.eye(3)
    x = (centers[:, None] + 0.1 * torch.randn(3, 50, 3)).flatten(0, 1)
    for balanced in (False, True):
        score = KMeansScore(3, 3)
        score.fit(x, balanced=balanced)
        assert sorted(score.counts.tolist()) == [50, 50, 50]
    moving = KMeansScore(3, 3, momentum=0.5).train()
    moving.centroids.copy_(centers)
    moving(x + 1.0)
    torch.testing.assert_close(moving.centroids, centers + 0.5, atol=0.05, rtol=0)
    before = moving.centroids.clone()
    moving.eval()(x)
    assert torch.equal(moving.centroids, before)
    with pytest.raises(InputError, match="at least as many units"):
        score.fit(x[:2])


def clusters(units: int) -> tuple[torch.Tensor, torch.Tensor]:
    centers = 6 * torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    label = torch.arange(units) % 8
    return centers[label] + 0.3 * torch.randn(units, 16), label


def test_a_mixture_model_gives_each_cluster_its_expert() -> None:
    torch.manual_seed(0)
    score = MixtureModelScore(16, 8, latent_dim=8, components=4)
    layer = MoELayer(Router(score, TopK(1)), MLPExperts(8, 16, 8), losses=[MixtureFit()])
    optimizer = torch.optim.Adam(score.parameters(), 1e-2)
    for _ in range(150):
        x, _ = clusters(256)
        optimizer.zero_grad()
        with record_routing(layer.train()) as record:
            layer(x)
        sum(record.losses().values()).backward()
        optimizer.step()
    x, label = clusters(800)
    routing = layer.eval().route(x)
    pairs = {(int(a), int(b)) for a, b in zip(label, routing.index[:, 0], strict=True)}
    assert len(pairs) == 8
    assert len({expert for _, expert in pairs}) == 8
    load = routing.counts.float()
    assert load.std() / load.mean() < 0.2


def test_the_task_sends_a_mixture_model_no_gradient() -> None:
    torch.manual_seed(0)
    score = MixtureModelScore(4, 3, latent_dim=2, components=2)
    layer = MoELayer(Router(score, TopK(2)), MLPExperts(3, 4, 8)).train()
    x = torch.randn(32, 4, requires_grad=True)
    layer(x).square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in score.parameters())
    fit = MixtureFit()([layer.route(x)])
    (gradient,) = torch.autograd.grad(fit, x, allow_unused=True)
    assert gradient is None


def test_the_task_reaches_a_mixture_model_that_lets_it() -> None:
    torch.manual_seed(0)
    score = MixtureModelScore(4, 3, latent_dim=2, components=2, route_grad="straight")
    layer = MoELayer(Router(score, TopK(2)), MLPExperts(3, 4, 8)).train()
    layer(torch.randn(32, 4)).square().sum().backward()
    assert score.mean.grad.abs().sum() > 0
    assert score.encoder.weight.grad is None  # the latent is detached


def test_a_table_of_logits_for_tasks_and_environments() -> None:
    score = TableScore(3, 4, std=1.0)
    router = Router(score, TopK(2))
    ids = torch.tensor([[0, 2], [1, 0]])
    routing = router(torch.randn(4, 7), ids=ids)
    assert torch.equal(routing.logits, score.table[ids.flatten()])
    assert torch.equal(routing.index[0], routing.index[3])
    routing.weight[0].backward()
    assert score.table.grad[0].abs().sum() > 0
    assert not score.table.grad[1:].any()
    layer = MoELayer(router, MLPExperts(4, 7, 8))
    assert select_experts(layer, [2, 0]).router.score_function.table.shape == (3, 2)


def test_clusters_of_groups_follow_the_data_online_until_they_are_frozen() -> None:
    torch.manual_seed(0)
    clusters = KMeansScore(2, 2, momentum=0.2)
    clusters.centroids.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    router = Router(GroupedScore(LinearScore(4, 6), clusters), TopK(2)).train()
    x, side = torch.randn(40, 4), torch.arange(40) % 2 * 2 - 1
    embedding = torch.stack([-3.0 * side, torch.zeros(40)], -1)
    for _ in range(40):
        routing = router(x, embedding=embedding)
    torch.testing.assert_close(
        clusters.centroids, torch.tensor([[3.0, 0.0], [-3.0, 0.0]]), atol=1e-2, rtol=0
    )
    assert torch.equal(routing.aux["group"], (side > 0).long())
    assert torch.equal(routing.index.max(-1).values // 3, routing.aux["group"])
    router.freeze()
    before = clusters.centroids.clone()
    router(x, embedding=embedding + 1)
    assert torch.equal(clusters.centroids, before)


def test_the_units_of_a_sample_go_to_its_cluster() -> None:
    torch.manual_seed(0)
    router = Router(GroupedScore(LinearScore(4, 6), KMeansScore(2, 3)), TopK(2))
    x, embedding = torch.randn(12, 4), torch.randn(4, 2)
    routing = router(x, embedding=embedding)
    of_samples = router.score_function.clusters.assign(embedding)
    assert torch.equal(routing.aux["group"], of_samples.repeat_interleave(3))
    told = router(x, group=of_samples)
    assert torch.equal(told.dense_weight, routing.dense_weight)
    for wrong in (torch.randn(5, 2), torch.randn(4, 3), torch.randn(24, 2)):
        with pytest.raises(InputError, match="of each sample"):
            router(x, embedding=wrong)
    with pytest.raises(InputError, match="between 0 and 2"):
        router(x, group=of_samples + 3)


def test_hard_weights_carry_the_routers_gradient() -> None:
    torch.manual_seed(0)
    router = Router(LinearScore(4, 3), HardWeights(TopK(1, renormalize="never")))
    soft = Router(router.score_function, TopK(1, renormalize="never"))
    x, factor = torch.randn(6, 4), torch.randn(6)
    routing = router(x)
    assert torch.equal(routing.weight, torch.ones(6))
    gradients = [
        torch.autograd.grad((one(x).weight * factor).sum(), router.score_function.weight)[0]
        for one in (router, soft)
    ]
    torch.testing.assert_close(*gradients)
