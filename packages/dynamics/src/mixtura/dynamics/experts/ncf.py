"""Neural context flow: embeddings of state and context, concatenated."""

from jaxtyping import Int
from torch import Tensor

from mixtura.core import configurable
from mixtura.dynamics.experts import jets
from mixtura.dynamics.experts.base import VectorFields
from mixtura.dynamics.experts.jets import Jet
from mixtura.dynamics.experts.perceptron import Activation, Specialised, StackedMLP

__all__ = ["NCF", "embedding_widths"]


@configurable
class NCF(VectorFields):
    """`main([data(x), context(xi)])`.

    The context's branch is computed once per solve: it enters as an offset of the first main layer.

    Reference: Nzoyem, Barton and Deakin, Neural Context Flows for Meta-Learning of Dynamical
    Systems, 2024, arXiv 2405.02154.

    Args:
        num_experts: K.
        dim: state dimensions.
        context_dim: size of an environment's context.
        width: hidden width of the main network.
        depth: hidden layers of the main network.
        depth_data: hidden layers of the state's embedding.
        depth_context: hidden layers of the context's embedding.
        intermediate_dim: width of both embeddings.
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
        depth_data: int = 1,
        depth_context: int = 1,
        intermediate_dim: int = 32,
        activation: Activation = "swish",
        split_context: bool = True,
        shift_context: bool = True,
        same_init: bool = True,
    ) -> None:
        super().__init__(num_experts, dim, context_dim, split_context, shift_context)
        m = self.intermediate_dim = intermediate_dim
        kind = (activation, same_init)
        self.context = StackedMLP(
            num_experts, embedding_widths(self.chunk_dim, m, depth_context), *kind
        )
        self.data = StackedMLP(num_experts, embedding_widths(dim, m, depth_data), *kind)
        self.main = StackedMLP(num_experts, [2 * m, *[width] * depth, dim], *kind)

    def specialise(self, context: Jet, expert: Int[Tensor, "assignments"]) -> Specialised:
        """Embed the context and fold it into the first main layer."""
        order = len(context) - 1
        rows = [None if c is None else c[:, None] for c in context]
        embedded = self.context.gathered(expert, order).jet(rows)
        main = self.main.gathered(expert, order)
        m = self.intermediate_dim
        weight = jets.value(main.weights[0])
        rest: list[None] = [None] * order
        main.biases[0] = jets.affine(embedded, [weight[..., m:], *rest], main.biases[0])
        main.weights[0] = [weight[..., :m], *rest]
        return Specialised(main, order, first=self.data.gathered(expert))


def embedding_widths(start: int, end: int, hidden: int) -> list[int]:
    """Widths from `start` to `end` in geometric progression; the `hidden` inner ones are even."""
    ratio = end / start
    inner = [int(start * ratio ** (i / (hidden + 1))) for i in range(1, hidden + 1)]
    return [start, *[width + width % 2 for width in inner], end]
