"""Losses with numbers that can be checked by hand."""

import math

import pytest
import torch

from mixtura.core import (
    DirichletPrior,
    DSelectScore,
    ExpertDiversity,
    ExpertOrthogonality,
    ExpertSimplicity,
    GroupedScore,
    InputError,
    KMeansScore,
    LinearScore,
    LoadBalance,
    MarginalEntropy,
    MixtureFit,
    MixtureModelScore,
    MLPExperts,
    MoELayer,
    NoisyLinearScore,
    Positive,
    Router,
    Routing,
    RoutingVariance,
    SelectorEntropy,
    TopAny,
    TopAnyScore,
    TopK,
    active_scores,
    attach_loss,
    beta_cdf,
    dirichlet_prior,
    expert_orthogonality,
    group_balance,
    grouped_balance,
    importance,
    load_balance,
    locality,
    marginal_entropy,
    record_routing,
    router_entropy,
    router_z,
    routing_variance,
    smooth_load,
)


def routing(scores: list[list[float]], k: int = 1, samples: int = 1, mask=None) -> Routing:
    scores_ = torch.tensor(scores)
    index = scores_.topk(k, -1).indices
    found = Routing.from_choices(
        index,
        scores_.gather(-1, index),
        num_experts=scores_.shape[-1],
        mask=mask,
        logits=scores_.log(),
        scores=scores_,
    )
    found.num_samples = samples
    return found


SKEWED = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]]


def test_one_function_reproduces_every_convention() -> None:
    calls = [routing(SKEWED)]
    # f = (3/4, 1/4), P = (0.7, 0.3)
    one = 2 * (0.75 * 0.7 + 0.25 * 0.3)
    assert load_balance(calls).item() == pytest.approx(one)
    assert load_balance(calls, normalization="k").item() == pytest.approx(one)
    assert load_balance(calls, normalization="mean", first_only=True).item() == pytest.approx(
        one / 4
    )
    two = [routing(SKEWED, k=2)]
    assert load_balance(two, normalization="k").item() == pytest.approx(2.0)
    assert load_balance(two, normalization="units_k").item() == pytest.approx(1.0)
    assert load_balance(two, first_only=True).item() == pytest.approx(one)
    assert load_balance(two, recount=1).item() == pytest.approx(one)


def test_dropped_first_choices_count_or_not() -> None:
    kept = routing(SKEWED).keep(torch.tensor([True, True, False, True]))
    assert load_balance([kept], first_only=True).item() == pytest.approx(
        load_balance([routing(SKEWED)]).item()
    )
    found = load_balance([kept], normalization="k", first_only=True, count_dropped=False)
    assert found.item() == pytest.approx(2 * (0.5 * 0.7 + 0.25 * 0.3))


def test_balance_per_sample_is_a_mean_of_samples() -> None:
    calls = [routing(SKEWED, samples=2)]
    first = 2 * (1.0 * 0.85 + 0.0)
    second = 2 * (0.5 * 0.55 + 0.5 * 0.45)
    found = load_balance(calls, per="sample").item()
    assert found == pytest.approx((first + second) / 2)


def test_masked_units_count_nowhere() -> None:
    mask = torch.tensor([True, True, False, False])
    masked = [routing(SKEWED, samples=2, mask=mask)]
    alone = [routing(SKEWED[:2])]
    for loss in (load_balance, router_z, importance, routing_variance):
        assert loss(masked).item() == pytest.approx(loss(alone).item(), abs=1e-6)
    assert load_balance(masked, per="sample").item() == pytest.approx(load_balance(alone).item())
    nobody = [routing(SKEWED, mask=torch.zeros(4, dtype=torch.bool))]
    for loss in (load_balance, router_z, importance, routing_variance):
        assert torch.isfinite(loss(nobody))


def test_sigmoid_scores_as_shares() -> None:
    calls = [routing([[0.8, 0.8], [0.2, 0.2]])]
    assert load_balance(calls, scores="share").item() == pytest.approx(1.0)
    softmax = load_balance(calls, scores="softmax").item()
    assert softmax == pytest.approx(1.0)


def test_losses_without_scores_or_calls_are_refused() -> None:
    bare = Routing.from_choices(torch.zeros(2, 1).long(), torch.ones(2, 1), num_experts=2)
    for loss in (load_balance, router_z, routing_variance):
        with pytest.raises(InputError):
            loss([bare])
        with pytest.raises(InputError):
            loss([])


def test_router_z_is_the_squared_logarithm_of_the_sum() -> None:
    logits = torch.zeros(3, 4)
    call = Routing.from_choices(
        torch.zeros(3, 1).long(), torch.ones(3, 1), num_experts=4, logits=logits
    )
    assert router_z([call]).item() == pytest.approx(math.log(4) ** 2)


def test_importance_is_the_squared_variation_of_the_weights() -> None:
    # sums of weights (2.4, 0.6): mean 1.5, variance 0.81
    assert importance([routing(SKEWED)]).item() == pytest.approx(0.81 / 1.5**2)


def test_the_smooth_load_is_even_for_equal_logits() -> None:
    torch.manual_seed(0)
    router = Router(
        NoisyLinearScore(4, 6), TopK(2, renormalize="softmax"), activation="identity"
    ).train()
    assert smooth_load([router(torch.randn(4000, 4))], 2).item() < 1e-2
    router.score_function.weight.data[0] = 3.0
    calls = [router(torch.rand(4000, 4))]
    loss = smooth_load(calls, 2)
    assert loss.item() > 0.1
    loss.backward()
    assert router.score_function.weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="noise_std"):
        smooth_load([router.eval()(torch.rand(4, 4))], 2)


def test_the_temperature_of_the_router_does_not_change_who_would_be_chosen() -> None:
    score = NoisyLinearScore(4, 6)
    torch.nn.init.normal_(score.weight)
    x = torch.randn(50, 4)
    loads = []
    for temperature in (1.0, 3.0):
        torch.manual_seed(0)
        router = Router(score, TopK(2, renormalize="softmax"), temperature=temperature)
        loads.append(smooth_load([router(x)], 2))
    torch.testing.assert_close(*loads)


def test_active_scores() -> None:
    scores = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    call = Router(LinearScore(2, 2), Positive(), activation="relu").decide
    from mixtura.core import Scored

    found = active_scores([call(Scored(scores, scores))], k=1)
    # sums (4, 2), counts (2, 1): 2 / (1 * 4) * (8 + 2)
    assert found.item() == pytest.approx(5.0)


def orthogonality_of(outputs: torch.Tensor, normalized: bool) -> float:
    """Of the outputs (units, choices, width)."""
    units, choices, _ = outputs.shape
    index = torch.arange(choices).expand(units, choices)
    call = Routing.from_choices(index, torch.ones(units, choices), num_experts=choices)
    call.outputs = outputs.flatten(0, 1).index_select(0, call.order)
    return expert_orthogonality([call], normalized=normalized).item()


def test_orthogonal_and_equal_outputs() -> None:
    orthogonal = torch.eye(3).expand(4, 3, 3)
    same = torch.tensor([1.0, 2.0, 2.0]).expand(4, 3, 3)
    assert orthogonality_of(orthogonal, True) == pytest.approx(0.0, abs=1e-6)
    assert orthogonality_of(same, True) == pytest.approx(1.0, abs=1e-5)
    assert orthogonality_of(same, False) == pytest.approx(6 * 9, rel=1e-5)
    assert orthogonality_of(same[:, :1], True) == 0.0


def test_a_layer_keeps_outputs_for_the_loss_that_needs_them() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 4)
    for weight, kept in ((1.0, True), (0.0, False)):
        losses = [ExpertOrthogonality(weight), RoutingVariance(weight)]
        layer = MoELayer(Router(LinearScore(4, 3), TopK(2)), MLPExperts(3, 4, 8), losses=losses)
        with record_routing(layer.train()) as record:
            layer(x)
        (call,) = record.calls[""]
        assert (call.outputs is not None) == kept
        terms = record.losses()
        assert set(terms) == {"expert_orthogonality/", "routing_variance/"}
        if kept:
            assert 0 <= terms["expert_orthogonality/"] <= 1
            terms["expert_orthogonality/"].backward()
            assert layer.experts.up.grad.abs().sum() > 0


def test_routing_variance() -> None:
    assert routing_variance([routing([[0.5, 0.5]] * 3)]).item() == 0.0
    assert routing_variance([routing(SKEWED)]).item() == pytest.approx(-0.035)


@pytest.mark.parametrize(
    ("a", "b"), [(1.0, 3.0), (0.75, 2.25), (5.0, 2.0), (0.1, 0.7), (30.0, 9.0)]
)
def test_the_beta_distribution(a: float, b: float) -> None:
    special = pytest.importorskip("scipy.special")
    p = torch.cat([torch.logspace(-6, -0.01, 300), 1 - torch.logspace(-6, -1, 50)]).double()
    found = beta_cdf(p, a, b)
    expected = torch.from_numpy(special.betainc(a, b, p.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    inside = torch.rand(20, dtype=torch.float64) * 0.9 + 0.05
    assert torch.autograd.gradcheck(lambda q: beta_cdf(q, a, b), inside.requires_grad_())


@pytest.mark.parametrize("alpha", [[1.0] * 4, [0.75] * 4, [2.0, 1.0, 0.5, 0.5]])
def test_samples_of_the_prior_cost_next_to_nothing(alpha: list[float]) -> None:
    torch.manual_seed(0)
    prior = torch.tensor(alpha)
    samples = torch.distributions.Dirichlet(prior).sample((4096,))
    assert dirichlet_prior(samples, prior).item() < 1e-3
    assert dirichlet_prior(samples.roll(1, 1) * 0 + 0.25, prior).item() > 0.1


def test_the_gradient_of_the_prior_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([0.75, 1.0, 2.0])
    assert torch.autograd.gradcheck(lambda z: dirichlet_prior(z.softmax(-1), alpha), logits)


def test_free_logits_take_the_shape_of_the_prior() -> None:
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    logits = (0.1 * torch.randn(512, 3)).requires_grad_()
    alpha = torch.ones(3)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        dirichlet_prior(logits.softmax(-1), alpha).backward()
        optimizer.step()
    for e in range(3):
        p = logits.detach().softmax(-1)[:, e].numpy()
        assert stats.kstest(p, stats.beta(1.0, 2.0).cdf).statistic < 0.05


def test_experts_that_are_never_chosen_together_are_compared_by_a_probe() -> None:
    torch.manual_seed(0)
    loss = ExpertOrthogonality(1.0, probe=2, probe_share=0.5)
    layer = MoELayer(Router(LinearScore(4, 4), TopK(1)), MLPExperts(4, 4, 6), losses=[loss])
    x = torch.randn(10, 4)
    mask = torch.arange(10) > 0
    with record_routing(layer.train()) as record:
        y = layer(x, mask=mask)
    (call,) = record.calls[""]
    probing = call.probing
    assert probing is not None
    assert probing.num_units == 5
    assert set(probing.chosen.sum(-1).tolist()) <= {0, 3}  # masked units have none
    term = record.losses()["expert_orthogonality/"]
    assert 0 < term.item() < 1
    (gradient,) = torch.autograd.grad(term, layer.experts.up)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(y, layer.eval()(x, mask=mask))
    with torch.no_grad():
        layer.experts.up.copy_(layer.experts.up[:1].expand(4, -1, -1))
        layer.experts.down.copy_(layer.experts.down[:1].expand(4, -1, -1))
    with record_routing(layer.train()) as record:
        layer(x)
    assert record.losses()["expert_orthogonality/"].item() == pytest.approx(1.0, abs=1e-4)


def test_marginal_and_conditional_entropy_make_the_mutual_information() -> None:
    decided = routing([[1.0, 0.0], [0.0, 1.0]])
    assert marginal_entropy([decided]).item() == pytest.approx(math.log(2))
    one_sided = routing([[1.0, 0.0], [1.0, 0.0]])
    assert marginal_entropy([one_sided]).item() == pytest.approx(0.0, abs=1e-6)
    assert MarginalEntropy()([decided, one_sided]).item() == pytest.approx(
        0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    )
    p = torch.rand(50, 3).softmax(-1)
    information = (p * (p / p.mean(0)).log()).sum(-1).mean()
    found = marginal_entropy([routing(p.tolist())]) - router_entropy([routing(p.tolist())])
    assert found.item() == pytest.approx(information.item(), abs=1e-5)


def test_groups_of_experts_may_be_any() -> None:
    call = routing([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], k=2)
    for count in ("assignments", "units"):
        even, told = (group_balance([call], g, count=count) for g in (2, [0, 0, 1, 1]))
        assert told.item() == pytest.approx(even.item())
    # f'_j: means of R / (k U) count_i over {0, 3} and {1, 2}; P'_j: sums of mean scores
    assert group_balance([call], [0, 1, 1, 0]).item() == pytest.approx(1.0)
    assert group_balance([call], [0, 1, 1, 1]).item() == pytest.approx(0.25 * 1 + 0.75 * 1)
    with pytest.raises(InputError, match="group of each of 4"):
        group_balance([call], [0, 1])


def test_a_prior_for_each_label() -> None:
    torch.manual_seed(0)
    label = torch.arange(4000) % 2
    first = torch.distributions.Dirichlet(torch.tensor([3.0, 1.0])).sample((4000,))
    call = routing([[0.5, 0.5]])
    call.scores = torch.where(label[:, None] == 0, first, first.flip(1))
    call.aux["label"] = label
    loss = DirichletPrior(by_label=[[3.0, 1.0], [1.0, 3.0]])
    assert loss([call]).item() < 1e-3
    assert DirichletPrior(by_label=[[1.0, 3.0], [3.0, 1.0]])([call]).item() > 0.1
    assert DirichletPrior(1.0, max_units=100)([call]).item() > 0


def test_balance_between_and_within_groups() -> None:
    call = routing([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])
    # groups (0, 1) and (2, 3): assignments 2 and 1, mean scores 0.6 and 0.4
    expected = 2 * (2 / 3 * 0.6 + 1 / 3 * 0.4)
    assert group_balance([call], 2).item() == pytest.approx(expected)
    assert group_balance([call], 2, count="units").item() == pytest.approx(expected)
    with pytest.raises(InputError, match="groups of equal size"):
        group_balance([call], 3)
    clusters = KMeansScore(4, 2)
    router = Router(GroupedScore(LinearScore(4, 4), clusters), TopK(1))
    grouped = router(torch.zeros(8, 4), group=torch.arange(8) % 2)
    assert (grouped.chosen[:, :2].any(-1) == (torch.arange(8) % 2 == 0)).all()
    # all units of a group choose the first of its two experts at equal scores
    assert grouped_balance([grouped], 2).item() == pytest.approx(1.0)


def test_mixture_fit_reads_what_the_router_kept() -> None:
    with pytest.raises(InputError, match="MixtureModelScore"):
        MixtureFit()([routing(SKEWED)])
    torch.manual_seed(0)
    router = Router(MixtureModelScore(4, 2, latent_dim=2, components=2), TopK(1)).train()
    call = router(torch.randn(16, 4))
    loss = MixtureFit(reconstruction=2.0)([call])
    expected = call.aux["nll"].mean() + 2 * call.aux["reconstruction"].mean()
    torch.testing.assert_close(loss, expected)


def test_selectors_become_binary() -> None:
    torch.manual_seed(0)
    router = Router(DSelectScore(4, 2), Positive(), activation="identity").train()
    loss = SelectorEntropy(1.0, outside=0.1)
    call = router(torch.zeros(1, 1))
    assert loss([call]).item() == pytest.approx(2 * math.log(4) + 0.2, rel=1e-2)
    optimizer = torch.optim.Adam(router.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss([router(torch.zeros(1, 1))]).backward()
        optimizer.step()
    call = router(torch.zeros(1, 1))
    assert loss([call]).item() == pytest.approx(0.2, abs=1e-3)
    assert int(call.chosen.sum()) <= 2


def test_top_any_losses() -> None:
    score = TopAnyScore(4, 3)
    score.weight.data.copy_(2 * torch.eye(3, 4))
    call = Router(score, TopAny(), activation="identity")(torch.randn(5, 4))
    assert ExpertDiversity()([call]).item() == pytest.approx(0.0, abs=1e-6)
    assert ExpertSimplicity()([call]).item() == pytest.approx(2.0)


def test_locality_weighs_how_far_experts_moved() -> None:
    experts = MLPExperts(2, 3, 4)
    before = {name: value.clone() for name, value in experts.state_dict().items()}
    share = torch.tensor([0.75, 0.25])
    assert locality(experts, before, share).item() == 0.0
    with torch.no_grad():
        experts.up[1] += 1.0
    assert locality(experts, before, share).item() == pytest.approx(0.25 * 12)
    with pytest.raises(InputError, match="no up of shape"):
        locality(experts, {}, share)


def test_an_attached_loss_rides_on_the_output() -> None:
    x = torch.ones(3, requires_grad=True)
    w = torch.ones((), requires_grad=True)
    y = attach_loss(2 * x, 3 * w, factor=0.5)
    torch.testing.assert_close(y, 2 * x)
    y.sum().backward()
    assert w.grad.item() == pytest.approx(1.5)
    torch.testing.assert_close(x.grad, torch.full((3,), 2.0))


def test_losses_are_configurable() -> None:
    from mixtura.core import from_config, to_config

    for loss in (LoadBalance(per="sample"), DirichletPrior([1.0, 2.0]), ExpertOrthogonality()):
        assert to_config(from_config(to_config(loss))) == to_config(loss)
