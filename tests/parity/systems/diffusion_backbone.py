"""A diffusion transformer around a mixture of experts, no more than the fixtures need.

Shape letters: B samples, T tokens, D width, E routed experts.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import MoELayer, record_routing

from ..fixture import Fixture
from ..report import Report
from ..tolerance import Tolerance

GRADIENT_NORM = Tolerance(1e-6, 1e-4)


class Backbone(nn.Module):
    """Conditioning, attention and dense blocks by the reference's key names.

    Args:
        options: the reference's constructor arguments.
        weights: every weight that is not of an expert layer.
        layers: the expert layers by block.
    """

    def __init__(self, options: dict, weights: dict[str, Tensor], layers: dict[int, MoELayer]):
        super().__init__()
        self.options = options
        self.layers = nn.ModuleDict({str(block): layer for block, layer in layers.items()})
        self.names = {name.replace(".", "/"): name for name in weights}
        self.plain = nn.ParameterDict(
            {flat: nn.Parameter(weights[name]) for flat, name in self.names.items()}
        )
        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}

    def weight(self, name: str) -> Tensor:
        return self.plain[name.replace(".", "/")]

    def has(self, name: str) -> bool:
        return name.replace(".", "/") in self.plain

    def linear(self, name: str, x: Tensor) -> Tensor:
        bias = self.weight(f"{name}.bias") if self.has(f"{name}.bias") else None
        return F.linear(x, self.weight(f"{name}.weight"), bias)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The prediction, all output channels; the layers' inputs and outputs are kept."""
        width, patch = self.options["hidden_size"], self.options["patch_size"]
        h = F.conv2d(
            x,
            self.weight("x_embedder.proj.weight"),
            self.weight("x_embedder.proj.bias"),
            stride=patch,
        )
        h = h.flatten(2).transpose(1, 2) + self.weight("pos_embed")
        frequency = torch.exp(-math.log(10000) * torch.arange(128) / 128)
        angle = t[:, None].float() * frequency
        time = torch.cat([angle.cos(), angle.sin()], -1)
        time = self.linear("t_embedder.mlp.2", F.silu(self.linear("t_embedder.mlp.0", time)))
        c = time + self.weight("y_embedder.embedding_table.weight")[labels]
        for block in range(self.options["depth"]):
            name = f"blocks.{block}"
            parts = self.linear(f"{name}.adaLN_modulation.1", F.silu(c))[:, None].chunk(6, -1)
            normal = F.layer_norm(h, (width,), eps=1e-6)
            h = h + parts[2] * self.attention(name, normal * (1 + parts[1]) + parts[0])
            normal = F.layer_norm(h, (width,), eps=1e-6) * (1 + parts[4]) + parts[3]
            h = h + parts[5] * self.feed_forward(block, normal, labels)
        shift, scale = self.linear("final_layer.adaLN_modulation.1", F.silu(c))[:, None].chunk(
            2, -1
        )
        h = F.layer_norm(h, (width,), eps=1e-6) * (1 + scale) + shift
        h = self.linear("final_layer.linear", h)
        side = math.isqrt(h.shape[1])
        h = h.view(len(h), side, side, patch, patch, -1).permute(0, 5, 1, 3, 2, 4)
        return h.reshape(len(h), -1, side * patch, side * patch)

    def attention(self, name: str, x: Tensor) -> Tensor:
        heads = self.options["num_heads"]
        qkv = self.linear(f"{name}.attn.qkv", x).unflatten(-1, (3, heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.options.get("qk_norm"):
            q, k = (
                self.head_norm(f"{name}.attn.q_norm", q),
                self.head_norm(f"{name}.attn.k_norm", k),
            )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.linear(f"{name}.attn.proj", mixed)

    def head_norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-5)

    def feed_forward(self, block: int, x: Tensor, labels: Tensor) -> Tensor:
        if str(block) not in self.layers:
            hidden = F.gelu(self.linear(f"blocks.{block}.mlp.fc1", x), approximate="tanh")
            return self.linear(f"blocks.{block}.mlp.fc2", hidden)
        layer = self.layers[str(block)]
        forced = None
        if layer.router.reserved:
            null = (labels == self.options["num_classes"]).repeat_interleave(x.shape[1])
            forced = torch.where(null, layer.router.num_experts - 1, -1)
        self.inputs[block] = x
        self.outputs[block] = layer(x, forced=forced)
        return self.outputs[block]


def moe_blocks(options: dict) -> list[int]:
    """Blocks whose feed-forward layer is a mixture: the odd ones, or all."""
    interleave = options.get("MoE_config", {}).get("interleave", False)
    return [block for block in range(options["depth"]) if block % 2 or not interleave]


def build(fixture: Fixture, slot: str, make) -> Backbone:
    """The backbone with a layer `make(weights of the layer)` in every mixture block."""
    options = fixture.options["constructor"].plain()
    layers = {
        block: make(fixture.weights_of(f"blocks.{block}.{slot}")) for block in moe_blocks(options)
    }
    prefixes = tuple(f"blocks.{block}.{slot}." for block in layers)
    plain = {k: v for k, v in fixture.weights.items() if not k.startswith(prefixes)}
    return Backbone(options, plain, layers)


def check(fixture: Fixture, report: Report, model: Backbone, own_names, observe, loss_counts=()):
    """One training step and one evaluation, everything that the fixture holds compared.

    Args:
        fixture: inputs and expected values.
        report: where the comparisons go.
        model: what `build` gave.
        own_names: from a layer to its parameters' gradients by the reference's key names.
        observe: from (prefix of the expected names, routing, layer) to comparisons.
        loss_counts: names of auxiliary terms that the reference counts into `train.loss`.
    """
    for name in ("system", "upstream_class", "batch", "seed", "dtype", "torch", "label_dropout"):
        fixture.options.get(name)
    for name in ("objective", "min_routing_margin", "n_params"):
        fixture.options.get(name)
    fixture.options.only("null_label", model.options["num_classes"])
    x_t, t, z, noise = (fixture.input(f"in.{name}") for name in ("x_t", "t", "z", "noise"))
    fixture.ignore(["in.u", "in.sigma"])
    train_labels, eval_labels = fixture.input("in.labels_train"), fixture.input("in.labels_eval")
    with record_routing(model) as record:
        out = model(x_t, t, train_labels)
        terms = record.losses()
    mse = F.mse_loss(out[:, : z.shape[1]], noise - z)
    report.compare("train.model_out", out)
    report.compare("train.mse_loss", mse[None], Tolerance(0, 1e-5))
    counted = sum(value for name, value in terms.items() if name.split("/")[0] in loss_counts)
    report.compare("train.loss", (mse + counted)[None], Tolerance(0, 1e-5))
    compare_blocks(report, model, record, "train", observe)
    for block in model.inputs:
        own = [v for name, v in terms.items() if name.endswith(f"layers.{block}")]
        if own and fixture.has(f"train.block{block}.aux_loss"):
            report.compare(f"train.block{block}.aux_loss", sum(own)[None], Tolerance(0, 1e-5))
    (mse + sum(terms.values())).backward()
    compare_gradients(fixture, report, model, own_names)
    model.eval()
    with record_routing(model) as record:
        report.compare("eval.model_out", model(x_t, t, eval_labels))
    compare_blocks(report, model, record, "eval", observe)
    if fixture.has("eval.model_out_uncond"):
        null = torch.full_like(eval_labels, model.options["num_classes"])
        report.compare("eval.model_out_uncond", model(x_t, t, null))
    return terms


def compare_blocks(report: Report, model: Backbone, record, mode: str, observe) -> None:
    for block, x in model.inputs.items():
        prefix = f"{mode}.block{block}"
        report.compare(f"{prefix}.moe_in", x)
        report.compare(f"{prefix}.moe_out", model.outputs[block])
        (routing,) = record.calls[f"layers.{block}"]
        observe(report, prefix, routing, model.layers[str(block)])


def compare_gradients(fixture: Fixture, report: Report, model: Backbone, own_names) -> None:
    gradients = {name: model.plain[flat].grad for flat, name in model.names.items()}
    for block, layer in model.layers.items():
        gradients |= {f"blocks.{block}.{k}": v for k, v in own_names(layer).items()}
    for name in report.names("grad."):
        report.compare(name, gradients[name.removeprefix("grad.")])
    norms = fixture.options["grad_norms"].plain()
    for name, norm in norms.items():
        if norm is None:
            continue
        error = abs(float(gradients[name].norm()) - norm)
        if error > 1e-4 * (norm + 0.01):
            report.fail(f"norm of {name}", f"expected {norm}, off by {error:.2e}")
    if missing := set(gradients) - set(norms):
        report.fail("gradient norms", f"the fixture has none for {sorted(missing)}")
