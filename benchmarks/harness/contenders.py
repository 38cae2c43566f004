"""Who runs: the core's dispatches, the peers, and what a layer can be compared with at best.

All compute the same SwiGLU experts on the same routing, which is given: no router takes part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import GLUExperts, Routing
from mixtura.core.dispatch import dispatch_by_name

DISPATCHES = (
    "auto",
    "naive",
    "sorted_loop",
    "stacked_loop",
    "padded_bmm",
    "grouped_mm",
    "dense_all",
)
TRANSFORMERS = ("eager", "grouped_mm")
LARGEST_TENSOR = 400e6  # bytes; what would make a bigger one is left out
MANY_EXPERTS = 16  # from here on, indexing one expert's weight at a time takes minutes


@dataclass(frozen=True)
class Shape:
    """A layer's size; `segment` tokens decide together."""

    tokens: int
    dim: int
    hidden: int
    experts: int
    k: int
    segment: int = 1
    name: str = ""

    def __str__(self) -> str:
        sizes = f"({self.tokens},{self.dim},{self.hidden},{self.experts},{self.k})"
        together = f" by {self.segment}" if self.segment > 1 else ""
        return f"{sizes} {self.name}{together}".rstrip()


@dataclass(frozen=True)
class Contender:
    """A function of (x, weight), and the parameters that backward fills."""

    run: Callable[[Tensor, Tensor], Tensor | None]
    parameters: list[nn.Parameter]

    def forget(self) -> None:
        """Free the gradients of the parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, x: Tensor, weight: Tensor, grad: Tensor | None) -> Callable[[], None]:
        """A forward pass, and a backward pass where there is a gradient to start from."""

        def forward() -> None:
            with torch.no_grad():
                self.run(x, weight)

        def both() -> None:
            self.forget()
            y = self.run(x.detach().requires_grad_(), weight.detach().requires_grad_())
            if y is not None:
                y.backward(grad)

        return forward if grad is None else both


class Layer:
    """One shape in one precision: input, routing, and everyone who can run it.

    Args:
        shape: sizes.
        dtype: of input and weights.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.shape, self.dtype = shape, dtype
        units = shape.tokens // shape.segment
        self.x = torch.randn(units * shape.segment, shape.dim, dtype=dtype)
        logits = torch.randn(units, shape.dim) @ torch.randn(shape.dim, shape.experts)
        weight, self.index = (logits * shape.dim**-0.5).softmax(-1).topk(shape.k)
        self.weight = weight / weight.sum(-1, keepdim=True)
        self.experts = GLUExperts(shape.experts, shape.dim, shape.hidden).to(dtype)

    def contenders(self, backward: bool) -> dict[str, Contender]:
        """Everyone, by name."""
        shape = self.shape
        found = {
            "dense": self.dense(),
            "bare": self.bare(backward),
            **({"bare, fresh gradients": self.bare(True, fresh=True)} if backward else {}),
            "plain_loop": self.plain_loop(),
        }
        everywhere = shape.tokens * shape.experts * 2 * shape.hidden * self.x.itemsize
        for name in DISPATCHES:
            if name == "dense_all" and everywhere > LARGEST_TENSOR:
                continue
            if name == "naive" and backward and shape.experts >= MANY_EXPERTS:
                continue
            found[name] = self.dispatch(name)
        for name in TRANSFORMERS:
            if name == "eager" and backward and shape.experts >= MANY_EXPERTS:
                continue
            peer = self.transformers(name)
            if peer is not None:
                found[f"transformers {name}"] = peer
        slots = 1.25 * shape.k * shape.tokens**2 * self.x.itemsize
        peer = self.st_moe() if slots <= LARGEST_TENSOR and shape.segment == 1 else None
        if peer is not None:
            found["st-moe-pytorch"] = peer
        return found

    def each_token(self, of_units: Tensor) -> Tensor:
        """The same for every token of a unit."""
        if self.shape.segment == 1:
            return of_units
        return of_units.repeat_interleave(self.shape.segment, 0)

    def dispatch(self, name: str) -> Contender:
        """A dispatch of the core."""
        shape, dispatch = self.shape, dispatch_by_name(name)
        rest = (shape.segment, shape.dim)

        def run(x: Tensor, weight: Tensor) -> Tensor:
            routing = Routing.from_choices(self.index, weight, num_experts=shape.experts)
            if shape.segment == 1:
                return dispatch(self.experts, x, routing)
            return dispatch(self.experts, x.view(-1, *rest), routing).view_as(x)

        return Contender(run, list(self.experts.parameters()))

    def dense(self) -> Contender:
        """One feed-forward network of as many active FLOPs."""
        shape = self.shape
        gate_up = nn.Linear(shape.dim, 2 * shape.k * shape.hidden, bias=False).to(self.dtype)
        down = nn.Linear(shape.k * shape.hidden, shape.dim, bias=False).to(self.dtype)

        def run(x: Tensor, weight: Tensor) -> Tensor:
            gate, up = gate_up(x).chunk(2, -1)
            return down(F.silu(gate) * up)

        return Contender(run, [*gate_up.parameters(), *down.parameters()])

    def bare(self, backward: bool, *, fresh: bool = False) -> Contender:
        """The matrix products of the same split and nothing else, into memory that is there.

        `fresh` puts the gradients of the weights into memory that is new in every step.
        """
        shape, dtype = self.shape, self.dtype
        gate_up, down = (p.detach() for p in (self.experts.gate_up, self.experts.down))
        counts = torch.bincount(self.index.flatten(), minlength=shape.experts) * shape.segment
        pieces = []
        for expert, count in enumerate(counts.tolist()):
            wide, narrow = 2 * shape.hidden, shape.hidden
            made = {
                "rows": torch.randn(count, shape.dim, dtype=dtype),
                "both": torch.randn(count, wide, dtype=dtype),
                "hidden": torch.randn(count, narrow, dtype=dtype),
                "out": torch.empty(count, shape.dim, dtype=dtype),
                "grad_gate_up": torch.empty_like(gate_up[expert]),
                "grad_down": torch.empty_like(down[expert]),
            }
            pieces.append((made, gate_up[expert], down[expert]))

        stacked = (self.experts.gate_up, self.experts.down) if fresh else ()

        @torch.no_grad()
        def run(x: Tensor, weight: Tensor) -> None:
            new = [torch.empty_like(whole) for whole in stacked]
            for expert, (made, first, second) in enumerate(pieces):
                grads = [whole[expert] for whole in new]
                grad_gate_up, grad_down = grads or (made["grad_gate_up"], made["grad_down"])
                torch.mm(made["rows"], first.T, out=made["both"])
                torch.mm(made["hidden"], second.T, out=made["out"])
                if backward:
                    torch.mm(made["rows"], second, out=made["hidden"])
                    torch.mm(made["rows"].T, made["hidden"], out=grad_down)
                    torch.mm(made["both"].T, made["rows"], out=grad_gate_up)
                    torch.mm(made["both"], first, out=made["out"])

        return Contender(run, [])

    def plain_loop(self) -> Contender:
        """The sorted loop as anyone would write it: the reference for memory."""
        shape, experts = self.shape, self.experts

        def run(x: Tensor, weight: Tensor) -> Tensor:
            index = self.each_token(self.index).flatten()
            order = index.argsort(stable=True)
            token = order // shape.k
            counts = torch.bincount(index, minlength=shape.experts).tolist()
            outputs = []
            weights = zip(experts.gate_up.unbind(0), experts.down.unbind(0), strict=True)
            for rows, (gate_up, down) in zip(x[token].split(counts), weights, strict=True):
                gate, up = F.linear(rows, gate_up).chunk(2, -1)
                outputs.append(F.linear(F.silu(gate) * up, down))
            gates = self.each_token(weight).flatten()[order, None]
            weighted = torch.cat(outputs) * gates.to(x.dtype)
            return torch.zeros_like(x).index_add(0, token, weighted)

        return Contender(run, list(experts.parameters()))

    def transformers(self, implementation: str) -> Contender | None:
        """The experts of Mixtral in transformers, if it is installed."""
        try:
            from transformers import MixtralConfig
            from transformers.models.mixtral.modeling_mixtral import MixtralExperts
        except ImportError:
            return None
        shape = self.shape
        config = MixtralConfig(
            num_local_experts=shape.experts,
            hidden_size=shape.dim,
            intermediate_size=shape.hidden,
            num_experts_per_tok=shape.k,
        )
        config._experts_implementation = implementation
        peer = MixtralExperts(config).to(self.dtype)
        weights = {"gate_up_proj": self.experts.gate_up, "down_proj": self.experts.down}
        peer.load_state_dict(weights)
        index = self.each_token(self.index)

        def run(x: Tensor, weight: Tensor) -> Tensor:
            return peer(x, index, self.each_token(weight).to(x.dtype))

        return Contender(run, list(peer.parameters()))

    def st_moe(self) -> Contender | None:
        """The whole layer of st-moe-pytorch, if it is installed; its router always takes part."""
        try:
            from st_moe_pytorch import MoE
        except ImportError:
            return None
        shape = self.shape
        if shape.k < 2 or self.dtype != torch.float32:
            return None  # it has neither
        peer = MoE(
            dim=shape.dim,
            num_experts=shape.experts,
            gating_top_n=shape.k,
            expert_hidden_mult=1.5 * shape.hidden / shape.dim,  # pyright: ignore[reportArgumentType]
            capacity_factor_train=1.25 * shape.k,
            capacity_factor_eval=1.25 * shape.k,
        ).to(self.dtype)

        def run(x: Tensor, weight: Tensor) -> Tensor:
            return peer(x[None])[0][0]

        return Contender(run, list(peer.parameters()))
