"""Options of the published training: each against a few lines of its formula."""

import pytest
import torch

from mixtura.dynamics import (
    PAM,
    AdaBelief,
    Adaptation,
    ClosedFormGate,
    ContextKMeans,
    ContextScore,
    DynaMix,
    InContextGate,
    MixER,
    OfficialGEPS,
    RecurrentExperts,
    ShPLRNN,
)
from mixtura.dynamics.checkpoints import load_mixer_weights
from mixtura.dynamics.embeddings import positional_embedding
from mixtura.dynamics.metrics import mase
from mixtura.dynamics.training.contributors import choose_contributors

from .systems import contexts_for, rotations, small_mixer, small_system


def test_targets_are_the_clusters_of_the_last_iteration() -> None:
    contexts = torch.tensor([[0.0], [0.1], [0.54], [1.0], [1.04]])
    gate, score = ClosedFormGate(ContextKMeans(tolerance=1.0), noise=0.0), ContextScore(1, 2)
    gate.remember(torch.tensor([[0.0], [1.0]]))
    losses = torch.tensor([[0.0, 1.0]] * 2 + [[1.0, 0.0]] * 3)
    fit = gate.fit(score, contexts, losses)
    # 0.54 is nearer to 1.0 before the centroids move; they end at 0.05 and 0.86
    assert fit.targets.argmax(1).tolist() == [0, 0, 1, 1, 1]
    gate.remember(torch.tensor([[0.1], [1.0]]))
    fit = gate.fit(score, contexts, losses)
    # 0.54 is nearer to 0.1 then, but nearer to the second of the centroids that result
    assert fit.targets.argmax(1).tolist() == [0, 0, 0, 1, 1]
    assert float(gate.centroids[0]) == pytest.approx(0.64 / 3)


def test_an_expert_without_shift_reads_its_context_alone() -> None:
    mixer = small_mixer()
    contexts, x = contexts_for(mixer, 4), torch.randn(4, 2, 2)
    plain = mixer.field(contexts)(x)
    with torch.no_grad():
        mixer.experts.context_shift.fill_(0.3)
    mixer.experts.shift_context = False
    torch.testing.assert_close(mixer.field(contexts)(x), plain)
    mixer.experts.shift_context = True
    moved = mixer.field(contexts, routing=mixer.route(contexts))(x)
    assert not torch.allclose(moved, plain)


def test_slopes_of_released_geps_have_a_factor_of_their_own() -> None:
    torch.manual_seed(0)
    experts = OfficialGEPS(1, 2, 3, width=4, depth=2, factor=1.0, slope_factor=0.1)
    with torch.no_grad():
        for left in experts.left_beta:
            left.normal_()
    context, x = torch.randn(1, 3), torch.randn(1, 2)
    weights, biases = [], []
    parts = (experts.root.weights, experts.left, experts.right, experts.root.biases)
    for w, a, b, bias, change in zip(*parts, experts.left_bias, strict=True):
        weights.append(w[0] + a[0] @ torch.diag(context[0]) @ b[0])
        biases.append(bias[0] + change[0] @ context[0])
    slope = 0.5 + 0.1 * (experts.left_beta[0][0] @ context[0])
    hidden = x[0] @ weights[0].T + biases[0]
    hidden = hidden * torch.sigmoid(hidden * torch.nn.functional.softplus(slope)) / 1.1
    found = MixER(experts).field(context)(x[:, None])[0, 0]
    torch.testing.assert_close(found, hidden @ weights[1].T + biases[1])


def test_shared_moments_are_those_of_one_parameter_after_the_other() -> None:
    torch.manual_seed(0)
    stack = torch.nn.Parameter(torch.randn(3, 2))
    single = stack.detach().clone()
    together = AdaBelief([stack], shared=True)
    together.param_groups[0]["lr"] = [0.1, 0.2, 0.3]
    one = torch.nn.Parameter(torch.zeros(2))
    alone = AdaBelief([one])
    for _ in range(3):
        gradient = torch.randn(3, 2)
        stack.grad = gradient
        together.step()
        for k in range(3):
            one.data.copy_(single[k])
            one.grad, alone.param_groups[0]["lr"] = gradient[k].clone(), 0.1 * (k + 1)
            alone.step()
            single[k] = one.data
    torch.testing.assert_close(stack.detach(), single)


def test_the_schedule_counts_steps_on_the_weights() -> None:
    recipe = PAM(outer_steps=3, context_steps=5, model_steps=2, lr=1.0, decay=0.1)
    rates = [recipe.learning_rate(step) for step in range(6)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    shared = recipe.rates(0, {"shared": True}, 3)
    assert shared == pytest.approx([1, 1, 0.1])  # every expert takes a step of the schedule


@pytest.mark.parametrize("compat", [False, True])
def test_experts_with_shared_moments_train_and_leave_the_gate_alone(compat: bool) -> None:
    system, data = small_system(4), rotations([1.0, 1.2, -1.0, -1.2])
    recipe = PAM(
        outer_steps=2,
        context_steps=2,
        model_steps=2,
        gate_every=99,
        context_lr=0.0,
        shared_moments=True,
        reference_compat=compat,
    )
    recipe.update_gate = lambda *_: None
    before = system.mixer.score.weight.detach().clone()
    weights = [p.detach().clone() for p in system.mixer.experts.parameters()]
    recipe.run(system, data, torch.Generator().manual_seed(0))
    torch.testing.assert_close(system.mixer.score.weight.detach(), before, rtol=0, atol=0)
    assert float(system.contexts.detach().abs().max()) == 0
    now = system.mixer.experts.parameters()
    assert any(not torch.equal(p, q) for p, q in zip(weights, now, strict=True))


def test_environments_without_a_loss_are_anchors_first() -> None:
    contexts = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
    losses = torch.tensor([1.0, 2.0, torch.inf, torch.inf])
    assert choose_contributors(contexts, 2, "NF-B", last_losses=losses).tolist() == [2, 3]
    assert choose_contributors(contexts, 2, "NF-B").tolist() == [0, 1]
    random = torch.Generator().manual_seed(0)
    for strategy in ("NF-W", "NF-iW"):
        chosen = choose_contributors(
            contexts, 1, strategy, last_losses=losses, generator=random
        ).item()
        assert chosen in (2, 3)


def test_adaptation_can_end_where_it_ends_and_hold_contexts_small() -> None:
    system, data = small_system(2), rotations([1.0, -1.0])
    start = Adaptation("gate", steps=1, lr=10.0, keep="last", optimiser="adabelief")(system, data)
    assert float(start.contexts.abs().max()) > 5  # a single step far too long is kept
    best = Adaptation("gate", steps=1, lr=10.0, optimiser="adabelief")(system, data)
    assert bool((best.support_losses <= start.support_losses).all())
    free = Adaptation("gate", steps=60, keep="last")(system, data)
    held = Adaptation("gate", steps=60, keep="last", context_penalty=10.0)(system, data)
    assert float(held.contexts.abs().mean()) < 0.5 * float(free.contexts.abs().mean())


def test_mase_of_other_lags_and_of_a_constant_series() -> None:
    true = torch.tensor([[0.0], [1.0], [4.0], [9.0]])
    assert float(mase(true + 3.0, true, 2, lag=2)) == pytest.approx(3 / 6)
    assert bool(mase(torch.ones(5, 1), torch.zeros(5, 1)).isfinite())


def test_a_context_is_standardised_before_it_is_embedded() -> None:
    torch.manual_seed(0)
    model = DynaMix(3, RecurrentExperts(2, 4), InContextGate(2, 4, 3, noise=0.0))
    context = 7 + 5 * torch.sin(torch.arange(40) * 0.5)[:, None, None]
    mean, std = context.mean(0), context.std(0)
    embedded = positional_embedding((context - mean) / std, 3)
    states = model(embedded, model.initial_state(embedded[-1]), 6)
    found = model.forecast(context, 6, embedding=positional_embedding)
    torch.testing.assert_close(found, states[..., :1] * std + mean)


def test_weights_of_published_recurrences_are_read() -> None:
    mixer = MixER(ShPLRNN(2, 2, 4, hidden_dim=3))
    total = mixer.experts.get_parameter("hyper").shape[1]
    weights = {"vectorfield.neuralnet.gate": torch.randn(5, 2)}
    for k in range(2):
        name = f"vectorfield.neuralnet.experts.{k}."
        weights[name + "hyperlayer.weight"] = torch.randn(total, 4)
        weights[name + "ctx_shift"] = torch.randn(1)
    load_mixer_weights(mixer, weights)
    second = weights["vectorfield.neuralnet.experts.1.hyperlayer.weight"]
    torch.testing.assert_close(mixer.experts.get_parameter("hyper")[1].detach(), second)
