"""RK4 through perceptrons with a hand-written discrete adjoint.

Small systems are bound by the number of operations and by weight gradients that are written once
per evaluation. Here the forward pass keeps the inputs of all layers, the backward pass goes through
the same steps in reverse, and the gradient of each weight is one batched product over all
evaluations at the end. The result is the gradient of the discretised solution, as automatic
differentiation gives it.

Shape letters: N units, n rows, V evaluations of the field, D dims.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["Chain", "rk4_states"]

STAGES = 4


class Chain:
    """Layers of a field in order: weights (N, out, in), biases (N, 1, out), activation after each.

    Args:
        weights: of the layers.
        biases: of the layers.
        betas: slope of the Swish after a layer, (N, 1, 1), or None.
        activations: swish, relu, tanh, softplus, or None for a layer without.
    """

    def __init__(
        self,
        weights: list[Tensor],
        biases: list[Tensor],
        betas: list[Tensor | None],
        activations: list[str | None],
    ) -> None:
        self.weights, self.biases = weights, biases
        self.betas: list[Any] = betas
        self.activations = activations

    def tensors(self) -> list[Tensor]:
        """Everything that may need a gradient, in a fixed order."""
        return [*self.weights, *self.biases, *(b for b in self.betas if b is not None)]

    @classmethod
    def of(cls, tensors: list[Tensor], activations: list[str | None]) -> "Chain":
        """From what `tensors` gave."""
        count = len(activations)
        rest = iter(tensors[2 * count :])
        betas = [next(rest) if kind == "swish" else None for kind in activations]
        return cls(tensors[:count], tensors[count : 2 * count], betas, activations)


def rk4_states(chain: Chain, x0: Tensor, sizes: Tensor, substeps: int, bound: float) -> Tensor:
    """States (intervals, N, n, D) at the ends of the intervals.

    Args:
        chain: the vector field.
        x0: initial states (N, n, D).
        sizes: step sizes (intervals, N, 1, 1).
        substeps: steps per interval.
        bound: states are held within it at the end of an interval.
    """
    return _RK4.apply(x0, sizes, substeps, bound, chain.activations, *chain.tensors())


class _RK4(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x0: Tensor,
        sizes: Tensor,
        substeps: int,
        bound: float,
        activations: list[str | None],
        *tensors: Tensor,
    ) -> Tensor:
        chain = Chain.of(list(tensors), activations)
        tape = _borrow(chain, x0, len(sizes) * substeps * STAGES)
        states, inside = [], []
        x, evaluation = x0, 0
        for h in sizes.unbind(0):
            half, sixth = h / 2, h / 6
            for _ in range(substeps):
                k1 = tape.evaluate(evaluation, x)
                k2 = tape.evaluate(evaluation + 1, torch.addcmul(x, half, k1))
                k3 = tape.evaluate(evaluation + 2, torch.addcmul(x, half, k2))
                k4 = tape.evaluate(evaluation + 3, torch.addcmul(x, h, k3))
                slope = torch.add(torch.add(k1, k2, alpha=2), k3, alpha=2) + k4
                x = torch.addcmul(x, sixth, slope)
                evaluation += STAGES
            held = x.clamp(-bound, bound)
            inside.append(x == held)
            x = held
            states.append(x)
        ctx.tape, ctx.sizes, ctx.substeps = tape, sizes, substeps
        ctx.inside = inside
        return torch.stack(states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tape, sizes, substeps = ctx.tape, ctx.sizes, ctx.substeps
        tape.prepare()
        g = torch.zeros_like(gradient[0])
        evaluation = len(sizes) * substeps * STAGES
        for interval in range(len(sizes) - 1, -1, -1):
            g = (g + gradient[interval]) * ctx.inside[interval]
            h = sizes[interval]
            half, third, sixth = h / 2, h / 3, h / 6
            for _ in range(substeps):
                evaluation -= STAGES
                outer, inner = sixth * g, third * g
                back = tape.pull(evaluation + 3, outer)
                g = g + back
                back = tape.pull(evaluation + 2, torch.addcmul(inner, h, back))
                g = g + back
                back = tape.pull(evaluation + 1, torch.addcmul(inner, half, back))
                g = g + back
                g = g + tape.pull(evaluation, torch.addcmul(outer, half, back))
        gradients = tape.gradients()
        ctx.tape = None
        _give_back(tape)
        return (g, None, None, None, None, *gradients)


class _Tape:
    """What the evaluations of a chain leave behind.

    Tapes are used again: memory that is new to the process costs more than the arithmetic. What a
    product writes is laid out by evaluation, as batched products want it; what enters the products
    of all evaluations at the end, inputs and received gradients, is laid out by unit.
    """

    key: tuple

    def __init__(self, chain: Chain, x0: Tensor, evaluations: int) -> None:
        units, rows, _ = x0.shape

        def by_evaluation(width: int) -> Tensor:
            return x0.new_empty(evaluations, units, rows, width)

        def by_unit(width: int) -> Tensor:
            return x0.new_empty(units, evaluations, rows, width).transpose(0, 1)

        widths = [w.shape[1] for w in chain.weights]
        self.inputs = [by_unit(w.shape[2]) for w in chain.weights]
        self.received = [by_unit(width) for width in widths]
        pairs = list(zip(widths, chain.activations, strict=True))
        self.outputs: list[Any] = [by_evaluation(w) if kind else None for w, kind in pairs]
        self.slopes: list[Any] = [by_evaluation(w) if kind else None for w, kind in pairs]
        self.after: list[Any] = [by_evaluation(w) if kind else None for w, kind in pairs]
        # one view per evaluation, taken once
        self.each_input, self.each_received, self.each_output, self.each_slope, self.each_after = (
            [[] if buffer is None else buffer.unbind(0) for buffer in buffers]
            for buffers in (self.inputs, self.received, self.outputs, self.slopes, self.after)
        )
        self.load(chain)

    def load(self, chain: Chain) -> None:
        """Take the weights of another solve of the same sizes."""
        self.chain = chain
        self.transposed = [w.transpose(1, 2) for w in chain.weights]

    def evaluate(self, number: int, x: Tensor) -> Tensor:
        """The field at `x`."""
        chain = self.chain
        last = len(chain.activations) - 1
        self.each_input[0][number].copy_(x)
        for layer, kind in enumerate(chain.activations):
            entered = self.each_input[layer][number]
            if kind is None:
                h = torch.baddbmm(chain.biases[layer], entered, self.transposed[layer])
                if layer == last:
                    return h
                self.each_input[layer + 1][number].copy_(h)
                continue
            h = self.each_output[layer][number]
            torch.baddbmm(chain.biases[layer], entered, self.transposed[layer], out=h)
            target = self.each_input[layer + 1][number]
            if kind == "swish":
                s = self.each_slope[layer][number]
                torch.mul(chain.betas[layer], h, out=s).sigmoid_()
                torch.mul(h, s, out=target)
            elif kind == "relu":
                torch.clamp_min(h, 0, out=target)
            elif kind == "tanh":
                torch.tanh(h, out=target)
            else:
                target.copy_(F.softplus(h))
        raise AssertionError("the last layer of a chain has no activation")

    def prepare(self) -> None:
        """Derivatives of all activations at once, into `slopes`."""
        for layer, kind in enumerate(self.chain.activations):
            h, slope = self.outputs[layer], self.slopes[layer]
            if kind == "swish":
                # with a = h s: the slope is s + beta a (1 - s), and h a (1 - s), that of beta,
                # takes the place of h
                a = self.inputs[layer + 1]
                rest = torch.addcmul(a, a, slope, value=-1)
                slope.addcmul_(self.chain.betas[layer], rest)
                h.mul_(rest)
            elif kind == "relu":
                torch.gt(h, 0, out=slope)
            elif kind == "tanh":
                torch.tanh(h, out=slope).square_().neg_().add_(1)
            elif kind == "softplus":
                torch.sigmoid(h, out=slope)

    def pull(self, number: int, g: Tensor) -> Tensor:
        """Gradient of the input from the gradient of the output of an evaluation."""
        weights = self.chain.weights
        for layer in range(len(weights) - 1, -1, -1):
            received = self.each_received[layer][number]
            if self.chain.activations[layer] is None:
                received.copy_(g)
            else:
                torch.mul(g, self.each_slope[layer][number], out=received)
            if layer and self.chain.activations[layer - 1]:
                g = torch.bmm(received, weights[layer], out=self.each_after[layer - 1][number])
            else:
                g = torch.bmm(received, weights[layer])
        return g

    def gradients(self) -> list[Tensor]:
        """Of weights, biases and slopes, each one product over all evaluations."""
        weights, biases, betas = [], [], []
        for layer, kind in enumerate(self.chain.activations):
            received = self.received[layer].transpose(0, 1).flatten(1, 2)
            entered = self.inputs[layer].transpose(0, 1).flatten(1, 2)
            weights.append(torch.bmm(received.transpose(1, 2), entered))
            biases.append(received.sum(1, keepdim=True))
            if kind == "swish":
                product = self.after[layer].mul_(self.outputs[layer])
                betas.append(product.sum((0, 2, 3)).view(-1, 1, 1))
        return [*weights, *biases, *betas]


_FREE: dict[tuple, list[_Tape]] = {}
KEPT = 4


def _borrow(chain: Chain, x0: Tensor, evaluations: int) -> _Tape:
    key = _key(chain, x0, evaluations)
    free = _FREE.get(key)
    if not free:
        tape = _Tape(chain, x0, evaluations)
        tape.key = key
        return tape
    tape = free.pop()
    tape.load(chain)
    return tape


def _give_back(tape: _Tape) -> None:
    while len(_FREE) >= KEPT and tape.key not in _FREE:
        _FREE.pop(next(iter(_FREE)))
    _FREE.setdefault(tape.key, []).append(tape)


def _key(chain: Chain, x0: Tensor, evaluations: int) -> tuple:
    sizes = tuple(w.shape[1] for w in chain.weights)
    return (evaluations, tuple(x0.shape), sizes, tuple(chain.activations), x0.dtype, x0.device)
