"""MMoE: one gate per task over experts that are computed once."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import (
    All,
    DeepMLPExperts,
    MLPScore,
    MoELayer,
    PerTaskScore,
    Router,
    combine,
    record_routing,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance

TOLERANCE = Tolerance(1e-5, 1e-5)


def network(weights: dict[str, Tensor], hidden: str, final: str) -> MLPScore:
    """Linear layers with ReLU behind each, and a last one without bias."""
    layers = []
    while f"{hidden}.linears.{len(layers)}.weight" in weights:
        layers.append(linear(weights, f"{hidden}.linears.{len(layers)}"))
    last = linear(weights, final)
    dim = (layers or [last])[0].in_features
    score = MLPScore(dim, last.out_features, [layer.out_features for layer in layers])
    for own, given in zip([*score.hidden, score.output], [*layers, last], strict=True):
        own.load_state_dict(given.state_dict())
    return score


def linear(weights: dict[str, Tensor], name: str) -> nn.Linear:
    weight = weights[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=f"{name}.bias" in weights)
    layer.load_state_dict({p: weights[f"{name}.{p}"] for p, _ in layer.named_parameters()})
    return layer


def named(part: MLPScore, hidden: str, final: str) -> dict[str, nn.Parameter]:
    """The parameters of `network` by the reference's names."""
    names = {f"{hidden}.linears.{i}": layer for i, layer in enumerate(part.hidden)}
    layers = {**names, final: part.output}
    return {f"{k}.{p}": v for k, layer in layers.items() for p, v in layer.named_parameters()}


class MMoE(nn.Module):
    """Embeddings, one multi-gate layer, a tower per task."""

    def __init__(self, options: dict, weights: dict[str, Tensor]):
        super().__init__()
        self.sparse = [feature["name"] for feature in options["sparse"]]
        self.tasks = len(options["task_names"])
        self.types = options["task_types"]
        self.tables = nn.ParameterDict(
            {name: weights[f"embedding_dict.{name}.weight"] for name in self.sparse}
        )
        gates = [
            network(weights, f"gate_dnn.{t}", f"gate_dnn_final_layer.{t}")
            for t in range(self.tasks)
        ]
        experts, widths = options["num_experts"], options["expert_dnn_hidden_units"]
        dim = sum(feature["dim"] for feature in options["sparse"]) + len(options["dense"])
        self.layer = MoELayer(
            Router(PerTaskScore(gates), All()),
            DeepMLPExperts(experts, dim, widths),
        )
        for part in ("weight", "bias"):
            for depth, value in enumerate(getattr(self.layer.experts, part)):
                own = [weights[f"expert_dnn.{e}.linears.{depth}.{part}"] for e in range(experts)]
                value.data.copy_(torch.stack(own))
        self.towers = nn.ModuleList(
            network(weights, f"tower_dnn.{t}", f"tower_dnn_final_layer.{t}")
            for t in range(self.tasks)
        )
        self.offsets = nn.ParameterList([weights[f"out.{t}.bias"] for t in range(self.tasks)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (rows, tasks) and those of the experts (rows, experts, out)."""
        count = len(self.sparse)
        ids = x[:, :count].long()
        embedded = [self.tables[name][ids[:, i]] for i, name in enumerate(self.sparse)]
        row = torch.cat([*embedded, x[:, count:]], -1)
        outputs = self.layer.experts.all(row)
        results = []
        for task in range(self.tasks):
            mixed = combine(outputs, self.layer.route(row, task=task))
            result = (self.towers[task](mixed)[0] + self.offsets[task])[:, 0]
            results.append(result.sigmoid() if self.types[task] == "binary" else result)
        return torch.stack(results, 1), outputs

    def gradients(self) -> dict[str, Tensor]:
        """By the reference's names."""
        gates = self.layer.router.score_function.scores
        found = {f"embedding_dict.{name}.weight": table for name, table in self.tables.items()}
        for task in range(self.tasks):
            found |= named(gates[task], f"gate_dnn.{task}", f"gate_dnn_final_layer.{task}")
            found |= named(self.towers[task], f"tower_dnn.{task}", f"tower_dnn_final_layer.{task}")
            found[f"out.{task}.bias"] = self.offsets[task]
        gradients = {name: value.grad for name, value in found.items()}
        for part in ("weight", "bias"):
            for depth, value in enumerate(getattr(self.layer.experts, part)):
                for e, own in enumerate(value.grad):
                    gradients[f"expert_dnn.{e}.linears.{depth}.{part}"] = own
        return gradients


@system("mmoe")
def mmoe(fixture: Fixture, report: Report) -> None:
    """Predictions, gates, experts and the gradients of one step."""
    report.tolerance = TOLERANCE
    options = fixture.options.plain()
    model = MMoE(options, fixture.weights)
    x, y = fixture.input("X"), fixture.input("y")
    with record_routing(model) as record:
        prediction, outputs = model(x)
    report.compare("pred", prediction)
    for task, routing in enumerate(record.calls["layer"]):
        report.compare(f"gate_logits.gate_dnn_final_layer.{task}", routing.logits)
    for expert, output in enumerate(outputs.unbind(1)):
        report.compare(f"expert_out.{expert}", output)
    losses = []
    for task, kind in enumerate(options["task_types"]):
        error = F.binary_cross_entropy if kind == "binary" else F.mse_loss
        losses.append(error(prediction[:, task], y[:, task], reduction="sum"))
    loss = torch.stack(losses).sum()
    report.compare("train_loss_sum", loss)
    loss.backward()
    for name, gradient in model.gradients().items():
        report.compare(f"grad_norm.{name}", gradient.norm(), Tolerance(1e-5, 1e-4))
