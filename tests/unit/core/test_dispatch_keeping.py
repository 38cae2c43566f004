"""What forward keeps for backward changes no result."""

import pytest
import torch

from mixtura.core import GLUExperts, MLPExperts, Routing
from mixtura.core.dispatch import dispatch_by_name, node


@pytest.mark.parametrize("few", [0, 2048], ids=["least", "more"])
@pytest.mark.parametrize("positions", [(), (3,)], ids=["rows", "segments"])
@pytest.mark.parametrize("choices", [1, 2])
@pytest.mark.parametrize("name", ["grouped_mm", "padded_bmm", "stacked_loop"])
def test_gradients_equal_the_reference(
    name: str,
    choices: int,
    positions: tuple[int, ...],
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node, "FEW_ROWS", few)
    torch.manual_seed(0)
    for bank in (GLUExperts(5, 8, 12, bias=True), MLPExperts(5, 8, 12, bias=True)):
        for parameter in bank.parameters():
            torch.nn.init.normal_(parameter)
        index, weight = torch.randint(4, (30, choices)), torch.rand(choices, 30).T
        x, target = torch.randn(30, *positions, 8), torch.randn(30, *positions, 8)
        valid = torch.rand(30, choices) > 0.2
        found = []
        for dispatch in ("naive", name):
            leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
            routing = Routing.from_choices(index, leaves[1], valid, num_experts=5)
            y = dispatch_by_name(dispatch)(bank, leaves[0], routing)
            wanted = [*leaves, *bank.parameters()]
            found.append([y, *torch.autograd.grad((y * target).sum(), wanted)])
        torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
