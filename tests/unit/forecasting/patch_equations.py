"""Seg-MoE and MoHETS written out from their equations, on the names of the released checkpoints.

Slow and plain: loops over heads, segments and experts, and nothing of the package but its tensors.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]
Options = Mapping[str, Any]


def below(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {k[len(prefix) + 1 :]: v for k, v in state.items() if k.startswith(f"{prefix}.")}


def linear(state: State, x: Tensor) -> Tensor:
    """`W x + b`; a convolution of width 1 is one too."""
    y = x @ state["weight"].flatten(1).T
    return y + state["bias"] if "bias" in state else y


def norm(state: State, x: Tensor) -> Tensor:
    """A dynamic tanh, a layer norm or an RMS norm: the tensors tell which."""
    if "alpha" in state:
        return torch.tanh(state["alpha"] * x) * state["weight"] + state["bias"]
    if "bias" in state:
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / spread * state["weight"] + state["bias"]
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state["weight"]


def turned(x: Tensor, theta: float) -> Tensor:
    """(tokens, head_dim): neighbouring dimensions are rotated by the token's place."""
    if not theta:
        return x
    half = x.shape[1] // 2
    angles = torch.outer(
        torch.arange(float(len(x))), theta ** -(torch.arange(float(half)) * 2 / x.shape[1])
    )
    pairs = torch.view_as_complex(x.reshape(len(x), half, 2).contiguous()) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.view_as_real(pairs).flatten(1)


def attention(state: State, x: Tensor, context: Tensor, o: Options, causal: bool) -> Tensor:
    """(tokens, dim): every head alone."""
    heads, groups = o["num_heads"], o["num_kv_heads"] or o["num_heads"]
    width, share = x.shape[1] // heads, heads // groups
    projected = linear(below(state, "q_proj"), x).view(len(x), groups, -1)
    queries = projected[..., : share * width].reshape(len(x), heads, width)
    gates = projected[..., share * width :].reshape(len(x), -1)
    keys = linear(below(state, "k_proj"), context).view(len(context), groups, width)
    values = linear(below(state, "v_proj"), context).view(len(context), groups, width)
    mixed = []
    for head in range(heads):
        q = turned(queries[:, head], o["rope_theta"])
        k = turned(keys[:, head // share], o["rope_theta"])
        if o["qk_norm"]:
            q, k = (each / (each.square().mean(-1, keepdim=True) + EPS).sqrt() for each in (q, k))
        scores = q @ k.T / math.sqrt(width)
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        y = scores.softmax(-1) @ values[:, head // share]
        mixed.append(y * gates[:, head, None].sigmoid() if o["head_gate"] else y)
    return linear(below(state, "o_proj"), torch.cat(mixed, 1))


EPS = torch.finfo(torch.float32).eps


def fourier(state: State, x: Tensor, last: bool = False) -> Tensor:
    """`cos(W_p x), sin(W_p x), gelu(W x)`."""
    wave, rest = linear(below(state, "Wp"), x), linear(below(state, "Wp_bar"), x)
    return torch.cat((wave.cos(), wave.sin(), rest if last else F.gelu(rest)), -1)


def feed_forward(state: State, x: Tensor) -> Tensor:
    """(tokens, dim): a Fourier, convolutional or plain network, with or without a gate."""
    if "up_fan.Wp.weight" in state:
        hidden = fourier(below(state, "up_fan"), x)
        if "gate_proj.Wp.weight" in state:
            hidden = hidden * fourier(below(state, "gate_proj"), x).sigmoid()
        return fourier(below(state, "down_fan"), hidden)
    kind = "conv" if "down_conv.weight" in state else "proj"
    up = f"up_{kind}"
    if "dw_conv.weight" in state:
        up, kernel = "pw_conv", state["dw_conv.weight"].squeeze(1)
        padded = torch.cat((torch.zeros_like(x[:1]), x, torch.zeros_like(x[:1])))
        x = sum(padded[i : i + len(x)] * kernel[:, i] for i in range(3)) + state.get(
            "dw_conv.bias", torch.zeros(())
        )
    hidden = linear(below(state, up), x)
    gate = below(state, f"gate_{kind}")
    hidden = F.silu(hidden) * linear(gate, x) if gate else F.gelu(hidden)
    return linear(below(state, f"down_{kind}"), hidden)


def mixture(state: State, x: Tensor, o: Options, size: int, always: bool) -> Tensor:
    """(tokens, dim): segments of `size` tokens choose, their tokens are worked on one by one."""
    if o["num_experts"] == 0:
        return feed_forward(below(state, "shared_expert"), x)
    tokens, dim = x.shape
    segments = F.pad(x, (0, 0, 0, -tokens % size)).reshape(-1, size * dim)
    projected = "in_proj.weight" in state
    if projected:
        segments = linear(below(state, "in_proj"), segments)
    temperature = o.get("router_temperature", 1.0)
    probabilities = (linear(below(state, "gating"), segments) / temperature).softmax(-1)
    outputs = []
    for segment, p in zip(segments, probabilities, strict=True):
        weights, chosen = p.topk(o["top_k"])
        if always or o["top_k"] > 1:
            weights = weights / weights.sum().clamp_min(1e-6)
        rows = segment[None] if projected else segment.view(size, dim)
        inner = "" if projected or size == 1 else ".1"
        y = torch.zeros_like(rows)
        for weight, expert in zip(weights, chosen.tolist(), strict=True):
            y = y + weight * feed_forward(below(state, f"experts.{expert}{inner}"), rows)
        outputs.append(y.flatten())
    y = torch.stack(outputs)
    if "shared_gating.weight" in state:
        gate = linear(below(state, "shared_gating"), segments).sigmoid()
        y = y + gate * feed_forward(below(state, "shared_expert"), segments)
    if projected:
        y = linear(below(state, "out_proj"), y)
    return y.reshape(-1, dim)[:tokens]


def patches(state: State, x: Tensor, width: int) -> Tensor:
    """(time) -> (patches, dim): projected, and normalised over everything or token by token."""
    tokens = x.view(-1, width) @ state["embed.weight"].squeeze(1).T
    if "norm.bias" not in state:
        return norm(below(state, "norm"), tokens)
    spread = (tokens.var(correction=0) + 1e-5).sqrt()
    return (tokens - tokens.mean()) / spread * state["norm.weight"] + state["norm.bias"]


def head(state: State, x: Tensor, o: Options) -> Tensor:
    """(patches, dim) -> (time)."""
    own = below(state, f"{'d' if o['causal'] else 'e'}_head.out_proj")
    if "Wp.weight" in own:
        x = fourier(own, x, last=True)
    else:
        x = linear(own, x) if "weight" in own else feed_forward(own, x)
    if "unpatch.proj.weight" in state:
        return linear(below(state, "unpatch.proj"), x.flatten())
    layers = below(state, "unpatch.unpatch")
    points = torch.einsum("pd,dek->ekp", x, layers["0.weight"]).transpose(1, 2).flatten(1)
    points = F.gelu(points)
    kernel = layers["2.weight"]
    points = F.conv1d(points[None], kernel, padding=kernel.shape[-1] // 2, groups=len(kernel))[0]
    points = (points - points.mean()) / (points.var(correction=0) + 1e-5).sqrt()
    points = points.T * layers["3.weight"] + layers["3.bias"]
    hidden = F.gelu(linear(below(layers, "4"), points))
    return linear(below(layers, "6"), hidden).squeeze(-1)


def fused(state: State, x: Tensor, marks: Tensor) -> Tensor:
    """(variates, time): the series and the covariates of each point of time, mixed."""
    if len(marks) == 4:
        marks = torch.cat((torch.full_like(marks[:1], -0.5), marks))
    both = torch.cat(
        (linear(below(state, "proj_data"), x.T), linear(below(state, "proj_time"), marks.T)), 1
    )
    return linear(below(state, "fuse"), both).T


def forward(state: State, x: Tensor, o: Options, marks: Tensor | None = None) -> Tensor:
    """(variates, time) -> (variates, time): the shifted window."""
    mean, scale = torch.zeros(len(x), 1), torch.ones(len(x), 1)
    if o["instance_norm"]:
        mean, scale = x.mean(1, keepdim=True), (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    series = (x - mean) / scale
    seen = None if marks is None else fused(below(state, "c_embedding.covariates"), series, marks)
    out = []
    for variate in range(len(x)):
        tokens = patches(below(state, "t_embedding"), series[variate], o["patch_width"])
        context = None
        if seen is not None:
            context = patches(below(state, "c_embedding.patchfy"), seen[variate], o["patch_width"])
        if o.get("added_positions"):
            tokens = tokens + sines(*tokens.shape)
            context = None if context is None else context + sines(*tokens.shape)
        for depth, size in enumerate(o["sizes"]):
            block = below(state, f"backbone.transformer.{depth}")
            h = norm(below(block, "norm1"), tokens)
            tokens = tokens + attention(below(block, "s_att"), h, h, o, o["causal"])
            if context is not None:
                h = norm(below(block, "norm2"), tokens)
                tokens = tokens + attention(below(block, "c_att"), h, context, o, False)
            layer = below(block, "moeff") or below(block, "ffn")
            h = norm(below(block, "norm3"), tokens)
            tokens = tokens + mixture(layer, h, o, size, o["always"])
        tokens = norm(below(state, "backbone.final_norm"), tokens)
        out.append(head(below(state, "head"), tokens, o))
    return torch.stack(out) * scale + mean


def sines(tokens: int, dim: int) -> Tensor:
    """Fixed position vectors."""
    angles = torch.outer(
        torch.arange(float(tokens)), 10000 ** -(torch.arange(0, dim, 2).float() / dim)
    )
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
