"""ASE: low-rank experts, routed by task, with shared experts under the same softmax."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import (
    JointWithShared,
    LinearScore,
    LoRAExperts,
    MoELayer,
    MutualInformation,
    PerTaskScore,
    Router,
    Selection,
    SharedExpert,
    TopK,
    record_routing,
)

from ..fixture import Fixture
from ..registry import system
from ..report import Report
from ..tolerance import Tolerance


class FrozenFFN(nn.Module):
    """A two-layer FFN with a low-rank change on each layer."""

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        self.w = weights

    def forward(self, x: Tensor) -> Tensor:
        w = self.w
        hidden = F.linear(x, w["W1"] + w["lora1_B"] @ w["lora1_A"], w["b1"])
        return F.linear(F.gelu(hidden), w["W2"] + w["lora2_B"] @ w["lora2_A"], w["b2"])


def lora(a: Tensor, b: Tensor) -> LoRAExperts:
    experts, rank, dim = a.shape
    bank = LoRAExperts(experts, dim, rank, out_dim=b.shape[1])
    bank.load_state_dict({"A": a, "B": b})
    return bank


def router(gates: Tensor, selection: Selection) -> Router:
    """One linear score per task from gates (tasks, experts, dim)."""
    scores = []
    for gate in gates:
        scores.append(LinearScore(gate.shape[1], len(gate)))
        scores[-1].load_state_dict({"weight": gate})
    return Router(PerTaskScore(scores), selection)


@system("ase")
def ase(fixture: Fixture, report: Report) -> None:
    """The layer and the two baselines of the paper, and the mutual-information loss."""
    report.tolerance = Tolerance(2e-5, 0.0)
    options, w = fixture.options, fixture.weights
    for name in ("seed", "d", "hidden", "rank", "backbone_lora_rank", "batch", "length"):
        options.get(name)
    options.only("activation", "gelu (erf)")
    options.only("placement", "ffn_bypass")
    k, num_shared, tasks = options["top_k"], options["num_shared"], options["tasks"]
    routed = options["num_experts"] - num_shared
    gates = torch.cat([w["Wg"], w["Ws"]], 1)
    experts = lora(w["A"], w["B"])
    layer = MoELayer(
        router(gates, JointWithShared(k, num_shared)),
        experts,
        shared=SharedExpert(FrozenFFN(w)),
        losses=[MutualInformation(1.0, num_tasks=tasks)],
    )
    vanilla = MoELayer(router(gates, TopK(k + num_shared, renormalize="never")), experts)
    naive = MoELayer(
        router(w["Wg"], TopK(k, renormalize="never")),
        lora(w["A"][:routed], w["B"][:routed]),
        shared=SharedExpert(lora(w["A"][routed:], w["B"][routed:])),
    )
    x = fixture.input("x")
    with record_routing(layer) as record:
        deltas = [layer(x[task], task=task) for task in range(tasks)]
    report.compare("mi_loss", sum(record.losses().values()))
    for task, (delta, routing) in enumerate(zip(deltas, record.calls[""], strict=True)):
        rows = x[task].shape[:-1]
        index, weight = routing.index.view(*rows, -1), routing.weight.view(*rows, -1)
        report.compare(f"routed_logits.{task}", routing.logits[:, :routed].view(*rows, -1))
        report.compare(f"shared_logits.{task}", routing.logits[:, routed:].view(*rows, -1))
        report.exact(f"idx.{task}", index[..., :k])
        report.compare(f"gate_routed.{task}", weight[..., :k])
        report.compare(f"gate_shared.{task}", weight[..., k:])
        report.compare(f"ffn_frozen_plus_lora.{task}", layer.shared(x[task]))
        report.compare(f"lora_mix.{task}", delta - layer.shared(x[task]))
        report.compare(f"delta.{task}", delta)
        report.compare(f"y.{task}", x[task] + delta)
        other = vanilla.route(x[task], task=task)
        report.exact(f"vanilla_idx.{task}", other.index.view(*rows, -1))
        report.compare(f"vanilla_gates.{task}", other.weight.view(*rows, -1))
        report.compare(f"vanilla_mix.{task}", vanilla.compute(x[task], other))
        report.compare(f"naive_mix.{task}", naive(x[task], task=task))
