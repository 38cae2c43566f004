"""Observation: exactly the fields asked for, nothing outside the context."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    SharedExpert,
    StraightThrough,
    TopK,
    TopP,
    WeightInputs,
    observe,
)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.LayerNorm(6)
        self.moe = MoELayer(
            Router(LinearScore(6, 4, std=1.0), TopK(2)),
            MLPExperts(4, 6, 8),
            shared=SharedExpert(nn.Linear(6, 6)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.moe(self.norm(x))


X = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))


def test_all_fields() -> None:
    block = Block()
    expected = block(X)
    want = {
        "x",
        "residual_in",
        "logits",
        "scores",
        "indices",
        "weights",
        "expert_out_norm",
        "expert_out_absmax",
        "routed_out",
        "shared_out",
    }
    with observe(block, want) as seen:
        torch.testing.assert_close(block(X), expected)
    (event,) = seen.events
    units = block.norm(X).reshape(-1, 6)
    torch.testing.assert_close(event.x, units)
    torch.testing.assert_close(event.residual_in, X)
    outputs = block.moe.experts.all(units)
    chosen = outputs.gather(1, event.indices[..., None].expand(-1, -1, 6))
    torch.testing.assert_close(event.expert_out_norm, chosen.norm(dim=-1))
    torch.testing.assert_close(event.expert_out_absmax, chosen.abs().amax(-1))
    torch.testing.assert_close(event.routed_out, (chosen * event.weights[..., None]).sum(1))
    torch.testing.assert_close(
        event.residual_in.reshape(-1, 6) + event.routed_out + event.shared_out,
        expected.reshape(-1, 6),
    )
    assert event.layer == "moe"
    assert block.moe._observer is None


def test_only_what_is_asked_for() -> None:
    block = Block()
    with observe(block, {"indices"}) as seen:
        block(X)
        block(X)
    assert len(seen.events) == 2
    assert set(seen.events[0].values) == {"indices"}
    assert seen.events[0].logits is None


def test_all_experts_are_reached_but_the_output_stays() -> None:
    block = Block()
    expected = block(X)
    with observe(block, {"expert_out_norm", "indices"}, all_experts=True) as seen:
        torch.testing.assert_close(block(X), expected)
    (event,) = seen.events
    units = block.norm(X).reshape(-1, 6)
    torch.testing.assert_close(event.expert_out_norm, block.moe.experts.all(units).norm(dim=-1))


@pytest.mark.parametrize("selection", [TopP(0.5), ExpertChoice(1.0, over="pool")])
def test_choices_of_any_number(selection) -> None:
    layer = MoELayer(Router(LinearScore(6, 4, std=1.0), selection), MLPExperts(4, 6, 8)).eval()
    x = X.reshape(-1, 6)
    mask = torch.arange(15) > 2
    with observe(layer, {"expert_out_norm", "weights", "indices"}) as seen:
        y = layer(x, mask=mask)
    (event,) = seen.events
    assert event.expert_out_norm.shape == event.weights.shape == event.indices.shape
    assert (event.expert_out_norm[~event.valid] == 0).all()
    torch.testing.assert_close(y, layer(x, mask=mask))


def test_weights_are_seen_wherever_they_are_multiplied() -> None:
    score = LinearScore(6, 4, std=1.0)
    seen = {}
    for selection in (TopK(2), WeightInputs(TopK(2)), StraightThrough(TopK(2))):
        layer = MoELayer(Router(score, selection), MLPExperts(4, 6, 8)).eval()
        with observe(layer, {"weights"}) as observation:
            layer(X.reshape(-1, 6))
        seen[type(selection).__name__] = observation.events[0].weights
    torch.testing.assert_close(seen["WeightInputs"], seen["TopK"])
    torch.testing.assert_close(seen["StraightThrough"], seen["TopK"])


def test_wrong_wishes() -> None:
    block = Block()
    with pytest.raises(InputError, match="cannot observe colour"), observe(block, {"colour"}):
        pass
    with pytest.raises(InputError, match="nothing to observe"), observe(nn.Linear(2, 2), {"x"}):
        pass
