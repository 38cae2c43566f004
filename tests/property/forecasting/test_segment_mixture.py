"""The segment layer equals a slow one that runs every expert on every token."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mixtura.core import MLPExperts, MoELayer
from mixtura.forecasting.networks import segment_mixture

DIM, HIDDEN = 4, 6


def slowly(layer: MoELayer, x: Tensor, size: int, top_k: int) -> Tensor:
    """Zero-padded segments; every expert on every token; weights of the chosen, else zero."""
    batch, tokens, _ = x.shape
    padded = F.pad(x, (0, 0, 0, -tokens % size))
    segments = padded.reshape(batch, -1, size * DIM)
    experts = layer.experts
    assert isinstance(experts, MLPExperts)
    scores = (segments @ layer.router.score_function.weight.T).softmax(-1)
    value, index = scores.topk(top_k, -1)
    if top_k > 1:
        value = value / value.sum(-1, keepdim=True)
    weight = torch.zeros_like(scores).scatter(-1, index, value)
    weight = weight.repeat_interleave(size, 1)
    y = torch.zeros_like(padded)
    for e in range(experts.num_experts):
        hidden = F.gelu(padded @ experts.up[e].T)
        y = y + weight[..., e : e + 1] * (hidden @ experts.down[e].T)
    shared = layer.shared
    if shared is not None:
        whole = shared.module(segments) * torch.sigmoid(shared.gate(segments))
        y = y + whole.reshape(padded.shape)
    return y[:, :tokens]


@given(
    size=st.integers(1, 5),
    tokens=st.integers(1, 11),
    num_experts=st.integers(1, 6),
    chosen=st.integers(1, 6),
    shared=st.booleans(),
    seed=st.integers(0, 9999),
)
def test_outputs_and_gradients_are_those_of_the_dense_oracle(
    size: int, tokens: int, num_experts: int, chosen: int, shared: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    top_k = min(chosen, num_experts)
    layer = segment_mixture(
        DIM,
        HIDDEN,
        size,
        num_experts=num_experts,
        top_k=top_k,
        shared="mlp" if shared else None,
    ).double()
    assert isinstance(layer, MoELayer)
    layer.eval()
    results = []
    for run in (layer, lambda x: slowly(layer, x, size, top_k)):
        layer.zero_grad()
        x = torch.randn(
            2, tokens, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        x.requires_grad_()
        y = run(x)
        y.square().sum().backward()
        assert x.grad is not None
        named = layer.named_parameters()
        results.append(
            [y, x.grad, *(torch.zeros(()) if p.grad is None else p.grad for _, p in named)]
        )
    for ours, oracle in zip(*results, strict=True):
        assert torch.allclose(ours, oracle.to(ours), atol=1e-6)
