"""Hashing: who works is a matter of a table."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score
from mixtura.core.scores.ids import flat_ids

__all__ = ["HashScore", "HyperplaneHashScore"]


@configurable
class HashScore(Score):
    """Each id has its k experts by a fixed table; all weights are 1/k.

    No parameters, nothing to balance: the baseline that learned routers have to beat. Use it with
    `TopK(k, renormalize="never")` and activation "identity"; the layer is called with `ids`.

    Roller et al., Hash Layers for Large Sparse Models, NeurIPS 2021 (arXiv 2106.04426).

    Args:
        num_experts: E.
        num_ids: ids run from 0 to num_ids - 1.
        k: experts of each id.
        frequencies: how often each id occurs; the table then balances the load (largest id first,
            to the experts with least load). Random when not given.
        experts_of: the expert of each id, such as its cluster, instead of a table made here.
        seed: of the random table.
    """

    gives = "weights"
    context = frozenset({"ids"})
    table: Tensor

    def __init__(
        self,
        num_experts: int,
        num_ids: int,
        *,
        k: int = 1,
        frequencies: Sequence[float] | None = None,
        experts_of: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= k <= num_experts or num_ids < 1:
            raise InputError(
                "a hash needs ids and 1 <= k <= num_experts, got "
                f"{num_ids} ids, k = {k}, {num_experts} experts"
            )
        self.num_experts = num_experts
        self.k = k
        self.reach = k
        if experts_of is not None:
            table = torch.as_tensor(experts_of).view(-1, 1)
            if (
                k != 1
                or len(table) != num_ids
                or not 0 <= int(table.min()) <= int(table.max()) < num_experts
            ):
                raise InputError(
                    f"experts_of must name one of {num_experts} experts for each of {num_ids} ids, "
                    "with k = 1"
                )
        elif frequencies is not None:
            if len(frequencies) != num_ids:
                raise InputError(f"expected {num_ids} frequencies, got {len(frequencies)}")
            for frequency in frequencies:
                check_number("a frequency", frequency, least=0)
            table = _balanced(frequencies, num_experts, k)
        else:
            generator = torch.Generator().manual_seed(seed)
            table = torch.rand(num_ids, num_experts, generator=generator).topk(k, -1).indices
        self.register_buffer("table", table)

    def forward(
        self, x: Float[Tensor, "units dim"], *, ids: Int[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """The weights of each unit."""
        chosen = self.table.index_select(0, flat_ids(ids, len(x), len(self.table)))
        weights = x.new_zeros(len(x), self.num_experts, dtype=torch.float32)
        return weights.scatter(-1, chosen, 1.0 / self.k), {}


def _balanced(frequencies: Sequence[float], num_experts: int, k: int) -> Int[Tensor, "ids k"]:
    load = torch.zeros(num_experts, dtype=torch.float64)
    table = torch.zeros(len(frequencies), k, dtype=torch.int64)
    order = sorted(range(len(frequencies)), key=lambda i: -frequencies[i])
    for i in order:
        experts = load.topk(k, largest=False).indices
        table[i] = experts
        load[experts] += float(frequencies[i])
    return table


@configurable
class HyperplaneHashScore(Score):
    """The hash of a continuous input: on which side of random hyperplanes it lies.

    The 2^bits codes are dealt evenly to the experts. Like `HashScore`, with k = 1, for inputs
    without ids.

    Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002.

    Args:
        dim: width of what the router looks at.
        num_experts: E.
        bits: number of hyperplanes; four more than E needs when not given.
        seed: of the hyperplanes.
    """

    gives = "weights"
    reach = 1
    planes: Tensor
    table: Tensor

    def __init__(
        self, dim: int, num_experts: int, *, bits: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if dim < 1 or num_experts < 1:
            raise InputError(
                f"a hash needs dim >= 1 and num_experts >= 1, got {dim} and {num_experts}"
            )
        bits = (num_experts - 1).bit_length() + 4 if bits is None else bits
        if not 1 <= bits <= 24 or 2**bits < num_experts:
            raise InputError(
                f"bits must be between 1 and 24 and give a code to each of {num_experts} experts, "
                f"got {bits}"
            )
        self.dim = dim
        self.num_experts = num_experts
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("planes", torch.randn(bits, dim, generator=generator))
        dealt = torch.randperm(2**bits, generator=generator) % num_experts
        self.register_buffer("table", dealt)

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """The weights of each unit."""
        sides = (x.detach().float() @ self.planes.float().T > 0).long()
        code = (sides << torch.arange(sides.shape[-1], device=x.device)).sum(-1)
        expert = self.table.index_select(0, code)
        weights = x.new_zeros(len(x), self.num_experts, dtype=torch.float32)
        return weights.scatter(-1, expert[:, None], 1.0), {}
