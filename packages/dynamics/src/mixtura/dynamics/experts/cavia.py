"""CAVIA's network: the context is concatenated to the state."""

from jaxtyping import Int
from torch import Tensor

from mixtura.core import configurable
from mixtura.dynamics.experts import jets
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.jets import Jet
from mixtura.dynamics.experts.perceptron import Activation, Specialised, StackedMLP, check_depth

__all__ = ["CAVIA"]


@configurable
class CAVIA(VectorFields):
    """`mlp([x, xi])`; CAVIA's training starts the contexts from zero each time.

    Reference: Zintgraf et al., Fast Context Adaptation via Meta-Learning, 2019, arXiv 1810.03642.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        width: hidden width.
        depth: number of layers.
        activation: swish (with a learnable slope), relu, tanh or softplus.
        split_context: one chunk of the context per expert.
        shift_context: whether an expert adds its learnable scalar to every entry of its context.
        same_init: whether all experts start equal.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        context_dim: int,
        *,
        width: int = 64,
        depth: int = 3,
        activation: Activation = "swish",
        split_context: bool = True,
        shift_context: bool = True,
        same_init: bool = True,
    ) -> None:
        super().__init__(num_experts, dim, context_dim, split_context, shift_context)
        check_depth(depth)
        sizes = [dim + self.chunk_dim, *[width] * (depth - 1), dim]
        self.main = StackedMLP(num_experts, sizes, activation, same_init)

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Specialised:
        """Fold the context into the offsets of the first layer."""
        order = len(context) - 1
        main = self.main.gathered(expert, order)
        rest: list[None] = [None] * order
        weight = jets.value(main.weights[0])
        rows = [None if c is None else c[:, None] for c in context]
        main.biases[0] = jets.affine(rows, [weight[..., self.dim :], *rest], main.biases[0])
        main.weights[0] = [weight[..., : self.dim], *rest]
        return Specialised(main, order)
