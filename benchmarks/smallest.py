"""What bounds the smallest shape: a step written out by hand, with no layer around it.

    ./just bench smallest [--markdown FILE] [--rounds 15]

512 tokens, width 32, 4 experts of 64 hidden units, one for each token; float32, forward and
backward, process CPU time of one thread, the median of interleaved rounds. `by hand` is one
autograd node for exactly this case (one choice, SwiGLU, every assignment valid, nobody looks on),
with as few operations as torch offers: sort, gather, three grouped products each way, scatter. It
keeps whatever saves an operation, half as many bytes again as a plain loop holds, where the layer
stays close to the plain loop. Its distance from `bare` is what sorting, moving and calling cost;
that of `auto` from it is what a layer for every case costs besides. `plain grouped` and
`plain loop` are sort and grouped products, and sort and a loop over the experts, left to autograd:
ratios to a dense layer move with the processor, those of `auto` to these two less so.
"""

import argparse
import functools
import os
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch
from harness.contenders import Contender, Layer, Shape
from harness.machine import machine
from harness.measure import interleaved
from torch import Tensor
from torch.nn import functional as F

SHAPE = Shape(512, 32, 64, 4, 1)


@functools.cache
def numbers(count: int) -> Tensor:
    """0, 1, 2, ..."""
    return torch.arange(count)


class ByHand(torch.autograd.Function):
    """A top-1 mixture of SwiGLU experts and its derivative."""

    @staticmethod
    def forward(
        ctx: Any, index: Tensor, x: Tensor, weight: Tensor, gate_up: Tensor, down: Tensor
    ) -> Tensor:
        """The mixture; keeps all that saves an operation."""
        expert, order = torch.sort(index.view(-1), stable=True)
        ends = torch.searchsorted(expert, numbers(len(gate_up)), right=True, out_int32=True)
        rows = x.index_select(0, order)
        gate, up = F.grouped_mm(rows, gate_up.mT, offs=ends).chunk(2, -1)
        activated = F.silu(gate)
        hidden = activated * up
        outputs = F.grouped_mm(hidden, down.mT, offs=ends)
        place = torch.empty_like(order).scatter_(0, order, numbers(len(order)))
        of_units = outputs.index_select(0, place)
        ctx.save_for_backward(
            rows, gate_up, down, gate, up, activated, hidden, of_units, weight, place, order, ends
        )
        return of_units * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        """Gradients of the input, the weights of the choices and the experts."""
        saved = ctx.saved_tensors
        rows, gate_up, down, gate, up, activated, hidden, of_units, weight, *where = saved
        place, order, ends = where
        (grad,) = grads
        grad_weight = (grad * of_units).sum(1, keepdim=True)
        grad_outputs = (grad * weight).index_select(0, order)
        grad_hidden = F.grouped_mm(grad_outputs, down, offs=ends)
        grad_down = F.grouped_mm(grad_outputs.mT, hidden, offs=ends)
        both = grad_hidden.new_empty(len(rows), 2 * grad_hidden.shape[1])
        of_gate, of_up = both.chunk(2, -1)
        torch.mul(grad_hidden, activated, out=of_up)
        torch.ops.aten.silu_backward.grad_input(grad_hidden.mul_(up), gate, grad_input=of_gate)
        grad_gate_up = F.grouped_mm(both.mT, rows, offs=ends)
        grad_x = F.grouped_mm(both, gate_up, offs=ends).index_select(0, place)
        return None, grad_x, grad_weight, grad_gate_up, grad_down


def by_hand(layer: Layer) -> Contender:
    """The node on the layer's weights."""
    parameters = list(layer.experts.parameters())
    return Contender(lambda x, w: ByHand.apply(layer.index, x, w, *parameters), parameters)


def plain_grouped(layer: Layer) -> Contender:
    """Sort, grouped products, scatter; autograd does the rest."""
    gate_up, down = parameters = list(layer.experts.parameters())

    def run(x: Tensor, weight: Tensor) -> Tensor:
        flat = layer.index.flatten()
        order = flat.argsort(stable=True)
        ends = flat.bincount(minlength=len(gate_up)).cumsum(0).to(torch.int32)
        gate, up = F.grouped_mm(x[order], gate_up.mT, offs=ends).chunk(2, -1)
        outputs = F.grouped_mm(F.silu(gate) * up, down.mT, offs=ends)
        weighted = outputs * weight.flatten()[order][:, None]
        return torch.zeros_like(x).index_add(0, order, weighted)

    return Contender(run, parameters)


def agree(one: Contender, other: Contender, layer: Layer, grad: Tensor) -> None:
    """Both compute the same."""
    gradients = []
    for contender in (one, other):
        contender.step(layer.x, layer.weight, grad)()
        gradients.append([parameter.grad for parameter in contender.parameters])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--markdown", type=Path, help="write the table, with what it ran on")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    layer = Layer(SHAPE, torch.float32)
    grad = torch.randn_like(layer.x)
    contenders = {
        "dense": layer.dense(),
        "bare": layer.bare(backward=True),
        "by hand": by_hand(layer),
        "auto": layer.dispatch("auto"),
        "plain grouped": plain_grouped(layer),
        "plain loop": layer.plain_loop(),
        "transformers grouped_mm": layer.transformers("grouped_mm"),
    }
    steps = {
        name: contender.step(layer.x, layer.weight, grad)
        for name, contender in contenders.items()
        if contender is not None
    }
    for contender in (by_hand(layer), plain_grouped(layer)):
        agree(contender, layer.dispatch("auto"), layer, grad)
    seconds = interleaved(steps, arguments.rounds)
    told = [f"- {key}: {value}" for key, value in machine().items()]
    rows = ["| contender | ms | / dense | / bare |", "|---|---|---|---|"]
    for name, value in seconds.items():
        dense, bare = value / seconds["dense"], value / seconds["bare"]
        rows.append(f"| {name} | {value * 1e3:.3f} | {dense:.2f} | {bare:.2f} |")
    print("\n".join([*told, "", *rows]))
    if arguments.markdown:
        about = f"```\n{(__doc__ or '').strip()}\n```"
        text = ["# The smallest shape", "\n".join(told), about, "\n".join(rows)]
        arguments.markdown.write_text("\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
