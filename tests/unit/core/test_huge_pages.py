"""Large gradients in huge pages are gradients like any other."""

import mmap

import pytest
import torch

from mixtura.core import GLUExperts, Routing, huge_pages
from mixtura.core.dispatch import dispatch_by_name


@pytest.mark.parametrize("name", ["stacked_loop", "padded_bmm"])
def test_gradients_are_those_of_the_reference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "LARGE", mmap.PAGESIZE)
    torch.manual_seed(0)
    experts = GLUExperts(5, 24, 40)
    index = torch.randint(3, (50, 2))  # two experts stay idle
    found = []
    for dispatch in ("naive", name):
        x = torch.linspace(-1, 1, 50 * 24).view(50, 24).requires_grad_()
        routing = Routing.from_choices(index, torch.full((50, 2), 0.5), num_experts=5)
        experts.zero_grad()
        dispatch_by_name(dispatch)(experts, x, routing).square().sum().backward()
        found.append([x.grad, experts.gate_up.grad, experts.down.grad])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def test_memory_can_be_written_to_its_ends() -> None:
    like = torch.empty(huge_pages.LARGE // 4 + 3)
    memory = huge_pages.empty_like(like)
    memory.fill_(1.0)
    assert memory.shape == like.shape
    assert memory[0] == memory[-1] == 1.0


def test_a_system_without_huge_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "LARGE", 0)
    monkeypatch.setattr(huge_pages, "_madvise", lambda: None)
    assert huge_pages.empty_like(torch.ones(3, 4)).shape == (3, 4)
