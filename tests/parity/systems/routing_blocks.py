"""Released mixture blocks: Mixtral, Qwen2-MoE, DeepSeek-V3."""

import torch
from torch import Tensor, nn

from mixtura.core import (
    BalanceBias,
    GLUExperts,
    GroupLimit,
    LinearScore,
    LoadBalance,
    MoELayer,
    Router,
    SharedExpert,
    TopK,
    load_balance,
    record_routing,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from .routing_gradients import OUTPUT, compare_choices, compare_gradients, grad

ACTIVATIONS = {
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "linear": "identity",
    "relu2": "relu_squared",
    "swish": "silu",
}


def activation(name: str) -> str:
    """Our name of an activation of the transformers library."""
    return ACTIVATIONS.get(name, name)


class SharedGLU(nn.Module):
    """A shared expert: a bank of one, which sees all rows."""

    def __init__(self, dim: int, hidden: int, activation: str, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.bank = GLUExperts(1, dim, hidden, activation=activation)
        with torch.no_grad():
            gate_up = torch.cat([weights["gate_proj.weight"], weights["up_proj.weight"]])
            self.bank.gate_up.copy_(gate_up[None])
            self.bank.down.copy_(weights["down_proj.weight"][None])

    def forward(self, x: Tensor) -> Tensor:
        return self.bank.all(x)[:, 0]

    def gradients(self, prefix: str) -> dict[str, Tensor]:
        gate, up = grad(self.bank.gate_up)[0].chunk(2)
        parts = {"gate_proj": gate, "up_proj": up, "down_proj": grad(self.bank.down)[0]}
        return {f"{prefix}.{name}.weight": value for name, value in parts.items()}


def stacked_glu(fixture: Fixture, hidden: int) -> GLUExperts:
    """Experts with the reference's stacked weights."""
    options = fixture.options
    dim = options["hidden_size"]
    gate_up = fixture.weights["experts.gate_up_proj"]
    experts = GLUExperts(len(gate_up), dim, hidden, activation=activation(options["hidden_act"]))
    with torch.no_grad():
        experts.gate_up.copy_(gate_up)
        experts.down.copy_(fixture.weights["experts.down_proj"])
    return experts


def linear(weight: Tensor) -> LinearScore:
    """A linear score with these weights."""
    score = LinearScore(weight.shape[1], len(weight))
    with torch.no_grad():
        score.weight.copy_(weight)
    return score


def step(fixture: Fixture, report: Report, layer: MoELayer):
    """Forward and backward with what all blocks have; returns input, output and routing."""
    for name in ("batch", "length", "seed", "loss"):
        fixture.options.get(name)
    layer.train()
    x = fixture.input("x").requires_grad_()
    with record_routing(layer) as record:
        y = layer(x)
    (routing,) = record.calls[""]
    total = (y * fixture.input("grad_output")).sum() + sum(record.losses().values())
    total.backward()
    report.compare("y", y, OUTPUT)
    report.compare("router_logits", routing.logits, OUTPUT)
    compare_choices(
        report, "topk_index", "topk_weights", routing.chosen, routing.dense_weight.detach()
    )
    return x, y, routing


def block_gradients(layer: MoELayer) -> dict[str, Tensor]:
    return {
        "gate.weight": grad(layer.router.score_function.weight),
        "experts.gate_up_proj": grad(layer.experts.gate_up),
        "experts.down_proj": grad(layer.experts.down),
    }


@system("mixtral")
def mixtral(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    experts = stacked_glu(fixture, options["intermediate_size"])
    assert experts.num_experts == options["num_local_experts"]
    selection = TopK(options["num_experts_per_tok"])
    layer = MoELayer(
        Router(linear(fixture.weights["gate.weight"]), selection),
        experts,
        losses=[LoadBalance(0.01, normalization="k")],
    )
    x, _, first = step(fixture, report, layer)
    scorer = layer.router
    logits = fixture.input("second_layer_logits")
    as_score = Router(linear(torch.eye(logits.shape[-1])), scorer.selection)
    second = as_score(logits)
    kwargs = {"normalization": "k"}
    report.compare("lb_loss_1layer", load_balance([first], **kwargs), OUTPUT)
    report.compare("lb_loss_2layer", load_balance([first, second], **kwargs), OUTPUT)
    mask = fixture.input("attention_mask").bool()
    masked = [layer.eval().route(x, mask=mask), as_score(logits, mask=mask.reshape(-1))]
    report.compare("lb_loss_2layer_masked", load_balance(masked, **kwargs), OUTPUT)
    compare_gradients(report, block_gradients(layer), x)


@system("qwen2_moe")
def qwen2_moe(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    experts = stacked_glu(fixture, options["moe_intermediate_size"])
    assert experts.num_experts == options["num_experts"]
    dim = options["hidden_size"]
    module = SharedGLU(
        dim,
        options["shared_expert_intermediate_size"],
        activation(options["hidden_act"]),
        fixture.weights_of("shared_expert"),
    )
    shared = SharedExpert(module, gate_dim=dim)
    with torch.no_grad():
        shared.gate.weight.copy_(fixture.weights["shared_expert_gate.weight"])
    renormalize = "always" if options["norm_topk_prob"] else "never"
    selection = TopK(options["num_experts_per_tok"], renormalize=renormalize)
    router = Router(linear(fixture.weights["gate.weight"]), selection)
    layer = MoELayer(router, experts, shared=shared)
    x, y, _ = step(fixture, report, layer)
    rows = x.reshape(-1, dim)
    report.compare("shared_output_ungated", module(rows).view_as(y), OUTPUT)
    gate = torch.sigmoid(shared.gate(rows)).view(*y.shape[:-1], 1)
    report.compare("shared_gate", gate, OUTPUT)
    gradients = block_gradients(layer) | module.gradients("shared_expert")
    gradients["shared_expert_gate.weight"] = grad(shared.gate.weight)
    compare_gradients(report, gradients, x)


@system("deepseek_v3")
def deepseek_v3(fixture: Fixture, report: Report) -> None:
    options = fixture.options
    hidden = options["moe_intermediate_size"]
    experts = stacked_glu(fixture, hidden)
    assert experts.num_experts == options["n_routed_experts"]
    dim, copies = options["hidden_size"], options.get("n_shared_experts") or 0
    module = None
    if copies:
        weights = fixture.weights_of("shared_experts")
        module = SharedGLU(dim, hidden * copies, activation(options["hidden_act"]), weights)
    bias = BalanceBias(experts.num_experts)
    bias.bias.copy_(fixture.weights["gate.e_score_correction_bias"])
    adjustments = [bias]
    if (options.get("n_group") or 1) > 1:
        adjustments.append(GroupLimit(options["n_group"], options["topk_group"], score="top2"))
    else:
        options.get("topk_group")
    selection = TopK(
        options["num_experts_per_tok"],
        renormalize="always" if options["norm_topk_prob"] else "never",
        scale=options["routed_scaling_factor"],
    )
    layer = MoELayer(
        Router(
            linear(fixture.weights["gate.weight"]),
            selection,
            activation="sigmoid",
            adjustments=adjustments,
        ),
        experts,
        shared=None if module is None else SharedExpert(module),
    )
    x, y, _ = step(fixture, report, layer)
    gradients = block_gradients(layer)
    if module is not None:
        report.compare("shared_output", module(x.reshape(-1, dim)).view_as(y), OUTPUT)
        gradients |= module.gradients("shared_experts")
    compare_gradients(report, gradients, x)
