"""What every network has to do."""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core import from_config, to_config
from mixtura.core.configuration import ConfigError
from mixtura.training.sharing.mixin import load_pretrained, save_pretrained
from mixtura.training.sharing.programs import export_program
from mixtura.training.testing.cases import BATCH, NetworkCase, recorded

__all__ = ["compiled_network_checks", "network_checks"]

PARAMETERS = 100_000


def trainable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def backward(case: NetworkCase, network: nn.Module, seed: int = 1) -> Tensor:
    """Loss of all outputs against fixed targets, auxiliary terms included, with its gradients."""
    inputs = case.example(seed=seed)
    with recorded(network) as terms:
        outputs = case.outputs(network, inputs)
        generator = torch.Generator().manual_seed(seed + 100)
        errors = [each - 1 - torch.randn(each.shape, generator=generator) for each in outputs]
    parts = [*(each.square().mean() for each in errors), *terms().values()]
    loss = torch.stack(parts).sum()
    loss.backward()
    return loss.detach()


def reordered(case: NetworkCase, value: Any, order: Tensor) -> Any:
    """A tensor's samples in another order."""
    return value.index_select(case.samples_at, order) if isinstance(value, Tensor) else value


def cast(value: Any, dtype: torch.dtype) -> Any:
    """A floating-point tensor in another precision."""
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def check_small(case: NetworkCase) -> None:
    """It is small enough for all of this, and in float32."""
    network = case.seeded()
    assert sum(p.numel() for p in network.parameters()) <= PARAMETERS
    assert {p.dtype for p in network.parameters()} <= {torch.float32}


def check_shapes(case: NetworkCase) -> None:
    """One sample, a few, an odd number: the promised shape, finite, in the inputs' precision."""
    for training in (True, False):
        network = case.seeded().train(training)
        for samples in (1, BATCH, 7):
            output = case.output(network, case.example(samples))
            assert tuple(output.shape) == case.shape(samples)
            assert output.dtype == torch.float32
            assert torch.isfinite(output).all()


def check_precision(case: NetworkCase) -> None:
    """In float64 it computes the same, more exactly; under bfloat16 autocast about the same."""
    network = case.seeded().eval()
    inputs = case.example()
    with torch.no_grad():
        expected = case.output(network, inputs)
        double = case.output(
            deepcopy(network).double(), [cast(each, torch.float64) for each in inputs]
        )
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), expected, atol=1e-4, rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            low = case.output(network, inputs)
    assert torch.isfinite(low).all()
    assert float((low.float() - expected).abs().mean()) <= 0.1 * float(expected.abs().mean()) + 0.01


def check_determinism(case: NetworkCase) -> None:
    """The same seed builds the same network, and the same state gives the same output, bitwise."""
    inputs = case.example()
    for training in (True, False):
        outputs = [case.output(case.seeded().train(training), inputs) for _ in range(2)]
        assert torch.equal(*outputs)
    network = case.seeded().eval()
    assert torch.equal(case.output(network, inputs), case.output(network, inputs))


def check_inputs_unchanged(case: NetworkCase) -> None:
    """A forward pass leaves its inputs as they were."""
    inputs = case.example()
    before = [each.clone() if isinstance(each, Tensor) else each for each in inputs]
    case.output(case.seeded().train(), inputs)
    for old, new in zip(before, inputs, strict=True):
        assert not isinstance(old, Tensor) or torch.equal(old, new)


def check_gradients(case: NetworkCase) -> None:
    """The loss's gradient reaches every parameter but those said to be idle, and is finite."""
    network = case.seeded().train()
    for seed in (1, 2, 3):
        backward(case, network, seed)
    reached = {
        name: p.grad is not None and bool(p.grad.abs().sum() > 0)
        for name, p in trainable(network).items()
    }
    idle = {name for name, learns in reached.items() if not learns}
    assert idle == set(case.idle), sorted(idle ^ set(case.idle))
    for name, parameter in trainable(network).items():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def check_frozen(case: NetworkCase) -> None:
    """With every parameter frozen a forward pass in evaluation needs no gradient."""
    network = case.seeded().eval().requires_grad_(False)
    assert not case.output(network, case.example()).requires_grad


def check_state_dict(case: NetworkCase) -> None:
    """Weights loaded into another network give the same output, bitwise."""
    network, other = case.seeded().eval(), case.seeded(seed=9).eval()
    other.load_state_dict(network.state_dict())
    inputs = case.example()
    assert torch.equal(case.output(other, inputs), case.output(network, inputs))
    assert torch.equal(case.output(deepcopy(network), inputs), case.output(network, inputs))


def check_safetensors(case: NetworkCase) -> None:
    """Shared as a folder of safetensors and loaded from it, it is the same, bitwise."""
    network = case.seeded().eval()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(network, folder)
        assert not list(Path(folder).glob("*.bin"))
        again = load_pretrained(folder, type(network))
    inputs = case.example()
    assert torch.equal(case.output(again, inputs), case.output(network, inputs))
    assert to_config(again) == to_config(network)


def check_configuration(case: NetworkCase) -> None:
    """The configuration builds an equal network, is plain, and refuses what it does not know."""
    network = case.seeded().eval()
    tree = to_config(network)
    again = from_config(tree)
    assert to_config(again) == tree
    again.load_state_dict(network.state_dict())
    inputs = case.example()
    assert torch.equal(case.output(again.eval(), inputs), case.output(network, inputs))
    wrong = {**tree, "init_args": {**tree["init_args"], "no_such_argument": 1}}
    message = ""
    try:
        from_config(wrong)
    except ConfigError as error:
        message = str(error)
    assert "no_such_argument" in message


def check_order(case: NetworkCase) -> None:
    """Samples in another order give the outputs in that order."""
    network = case.seeded().eval()
    inputs = case.example(7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    expected = reordered(case, case.output(network, inputs), order)
    found = case.output(network, [reordered(case, each, order) for each in inputs])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def check_alone(case: NetworkCase) -> None:
    """A sample gets the same output whatever else is in the batch."""
    network = case.seeded().eval()
    inputs = case.example()
    whole = case.output(network, inputs)
    for sample in range(BATCH):
        only = torch.tensor([sample])
        alone = case.output(network, [reordered(case, each, only) for each in inputs])
        expected = reordered(case, whole, only)
        torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)


def check_mask(case: NetworkCase) -> None:
    """What is hidden from the network does not change what it says."""
    if case.hidden is None:
        return
    network = case.seeded().eval()
    inputs = case.example()
    changed = case.hidden(*inputs)
    moved = [isinstance(a, Tensor) and not a.equal(b) for a, b in zip(inputs, changed, strict=True)]
    assert any(moved)
    expected, found = case.output(network, inputs), case.output(network, changed)
    torch.testing.assert_close(found[case.visible], expected[case.visible], atol=1e-5, rtol=1e-4)


def check_evaluation_writes_nothing(case: NetworkCase) -> None:
    """Outside training no parameter and no buffer changes."""
    network = case.seeded().eval()
    before = deepcopy(network.state_dict())
    case.output(network, case.example())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def check_one_step(case: NetworkCase) -> None:
    """One small step along the gradient lowers the loss."""
    network = case.seeded().eval()
    before = backward(case, network)
    learning = [(p, p.grad) for p in trainable(network).values() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([gradient.norm() for _, gradient in learning]))
    with torch.no_grad():
        for parameter, gradient in learning:
            parameter -= 1e-3 * gradient / norm
    after = backward(case, network)
    assert after < before


def check_learns(case: NetworkCase) -> None:
    """Thirty steps on one batch lower the loss by a fifth."""
    network = case.seeded().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=case.rate)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(float(backward(case, network)))
        optimizer.step()
    assert min(losses[-3:]) < 0.8 * losses[0], (losses[0], losses[-1])


class Called(nn.Module):
    """A network that is called as its case says."""

    def __init__(self, case: NetworkCase) -> None:
        super().__init__()
        self.network, self.call = case.seeded(), case.call

    def forward(self, *inputs: Any) -> Any:
        return self.call(self.network, *inputs)


def check_compile(case: NetworkCase) -> None:
    """Compiled, it computes the same, forward and backward."""
    network = case.seeded().train()
    compiled: Any = torch.compile(deepcopy(network), backend="aot_eager")
    expected, found = backward(case, network), backward(case, compiled)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    gradients = {name.removeprefix("_orig_mod."): p for name, p in trainable(compiled).items()}
    for name, parameter in trainable(network).items():
        if parameter.grad is not None:
            torch.testing.assert_close(
                gradients[name].grad, parameter.grad, atol=1e-5, rtol=1e-3, msg=name
            )


def check_export(case: NetworkCase) -> None:
    """Exported as a program, it computes the same."""
    if not case.exports:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pt2"
        assert export_program(Called(case), case.example(), path) <= 1e-4
        assert path.stat().st_size > 0


network_checks: list[Callable[[NetworkCase], None]] = [
    check_small,
    check_shapes,
    check_precision,
    check_determinism,
    check_inputs_unchanged,
    check_gradients,
    check_frozen,
    check_state_dict,
    check_safetensors,
    check_configuration,
    check_order,
    check_alone,
    check_mask,
    check_evaluation_writes_nothing,
    check_one_step,
    check_learns,
]

compiled_network_checks: list[Callable[[NetworkCase], None]] = [check_compile, check_export]
