"""Losses that make no sense with a router are refused, not computed."""

import pytest
import torch

from mixtura.core import (
    DirichletPrior,
    ExpertDiversity,
    GroupBalance,
    HyperplaneHashScore,
    Importance,
    InputError,
    LinearScore,
    LoadBalance,
    Loss,
    MarginalEntropy,
    MLPExperts,
    MoELayer,
    Positive,
    Router,
    RouterEntropy,
    RouterZ,
    SlotScore,
    SoftSlots,
    TopK,
    importance,
    load_balance,
    record_routing,
)


def layer(router: Router, loss: Loss) -> MoELayer:
    return MoELayer(router, MLPExperts(4, 8, 4), losses=[loss])


def of_logits() -> Router:
    return Router(LinearScore(8, 4), TopK(2, renormalize="softmax"), activation="identity")


@pytest.mark.parametrize(
    "loss",
    [
        LoadBalance(),
        LoadBalance(scores="share"),
        RouterEntropy(),
        MarginalEntropy(),
        DirichletPrior(),
        GroupBalance(2),
    ],
    ids=lambda loss: loss.name,
)
def test_plain_logits_are_no_shares(loss: Loss) -> None:
    with pytest.raises(InputError, match="reads scores as shares of a unit"):
        layer(of_logits(), loss)
    layer(Router(LinearScore(8, 4), Positive(), activation="relu"), loss)
    hashed = Router(HyperplaneHashScore(8, 4), TopK(1, renormalize="never"), activation="identity")
    layer(hashed, loss)


@pytest.mark.parametrize("loss", [LoadBalance(scores="softmax"), RouterZ(), Importance()])
def test_losses_on_logits_and_weights_take_them(loss: Loss) -> None:
    model = layer(of_logits(), loss)
    with record_routing(model) as record:
        model(torch.randn(5, 8))
    assert all(term.isfinite() for term in record.losses().values())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", [LoadBalance(), LoadBalance(per="sample"), Importance()])
def test_nobody_chooses_where_experts_work_on_slots(loss: Loss, masked: bool) -> None:
    model = layer(Router(SlotScore(8, 4, 3), SoftSlots(3), activation="identity"), loss)
    mask = torch.rand(2, 3) < 0.5 if masked else None
    with record_routing(model) as record:
        model(torch.randn(2, 3, 8), mask=mask)
    with pytest.raises(InputError, match="no choices to count"):
        record.losses()


def test_a_recount_of_more_than_there_are() -> None:
    routing = Router(LinearScore(8, 4), TopK(2))(torch.randn(5, 8))
    assert load_balance([routing], recount=4).isfinite()
    with pytest.raises(InputError, match="recount must be at most the number of experts, 4"):
        load_balance([routing], recount=5)


def test_a_loss_that_looks_for_something_that_was_not_kept() -> None:
    routing = Router(LinearScore(8, 4), TopK(2))(torch.randn(5, 8))
    assert importance([routing]).isfinite()
    with pytest.raises(InputError, match="needs 'expert_vectors' of a routing"):
        ExpertDiversity()([routing])
