"""The auxiliary terms of a step, computed by hand, against what the trainer does with them.

Balance is a product of two means over a batch, so the terms of two halves are not those of the
whole: accumulation and data parallelism both take the mean of the halves' gradients.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from mixtura.core import LoadBalance, RouterZ, record_routing
from mixtura.training import SGD, Constant, Trainer, resumable
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork

RATE = 0.1
Batch = tuple[Tensor, Tensor]


class Checkpointed(ToyNetwork):
    """Computes its layer again in backward."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=False)


def network(kind: type[ToyNetwork] = ToyNetwork) -> ToyNetwork:
    torch.manual_seed(0)
    built = kind(dropout=0.0)
    built.moe.losses = (LoadBalance(0.5), RouterZ(0.1))
    return built


def by_hand(batches: Sequence[Batch]) -> nn.Module:
    """One step of gradient descent on the mean of task and auxiliary terms of the batches."""
    model = network()
    for x, label in batches:
        with record_routing(model) as record:
            task = nn.functional.cross_entropy(model(x), label)
        terms = record.losses()
        assert len(terms) == 2
        ((task + sum(terms.values())) / len(batches)).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= RATE * parameter.grad
    return model


def by_trainer(
    batch_size: int, kind: type[ToyNetwork] = ToyNetwork, **options: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """One step of the trainer."""
    pl.seed_everything(3, verbose=False)
    module = ToyClassifier(network(kind), SGD(lr=RATE, momentum=0.0), Constant())
    trainer = Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        **options,
    )
    trainer.fit(module, datamodule=ToyData(num_samples=64, batch_size=batch_size))
    return module.network, dict(trainer.callback_metrics)


def first_batches(batch_size: int, count: int) -> list[Batch]:
    """What the trainer sees first."""
    pl.seed_everything(3, verbose=False)
    data = ToyData(num_samples=64)
    data.setup("fit")
    loader = iter(resumable(DataLoader(data.train, batch_size, shuffle=True)))
    return [tuple(next(loader)) for _ in range(count)]


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


def test_one_batch() -> None:
    batch = first_batches(16, 1)
    found, logged = by_trainer(16)
    assert_same(found, by_hand(batch))
    with record_routing(model := network()) as record:
        model(batch[0][0])
    terms = record.losses()
    assert terms
    for name, value in terms.items():
        torch.testing.assert_close(logged[f"aux/{name}"], value.detach())


def test_accumulation() -> None:
    found, _ = by_trainer(8, accumulate_grad_batches=2)
    assert_same(found, by_hand(first_batches(8, 2)))


def test_checkpointed_activations() -> None:
    found, _ = by_trainer(16, Checkpointed)
    assert_same(found, by_hand(first_batches(16, 1)))


def test_two_processes() -> None:
    found, _ = by_trainer(8, devices=2, strategy="ddp_fork")
    ((x, label),) = first_batches(16, 1)
    assert_same(found, by_hand([(x[rank::2], label[rank::2]) for rank in range(2)]))


def test_bfloat16_does_not_touch_the_terms() -> None:
    """Routers compute in float32 under autocast, so their terms are those without it."""
    _, whole = by_trainer(16)
    _, mixed = by_trainer(16, precision="bf16-mixed")
    terms = [name for name in whole if name.startswith("aux/")]
    assert len(terms) == 2
    for name in terms:
        assert mixed[name].dtype == torch.float32
        torch.testing.assert_close(mixed[name], whole[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", [ToyNetwork, Checkpointed])
def test_checkpointing_under_two_processes_and_accumulation(kind: type[ToyNetwork]) -> None:
    found, _ = by_trainer(4, kind, devices=2, strategy="ddp_fork", accumulate_grad_batches=2)
    halves = [(x[rank::2], label[rank::2]) for x, label in first_batches(8, 2) for rank in range(2)]
    assert_same(found, by_hand(halves))
