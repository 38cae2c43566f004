"""DynaMix: shapes, teacher forcing, loss, forecast."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mixtura.core import InputError
from mixtura.dynamics import (
    ContextsDataModule,
    DynaMix,
    DynaMixModule,
    InContextGate,
    RecurrentExperts,
)
from mixtura.dynamics.dynamix import stable_diagonal
from mixtura.dynamics.embeddings import (
    delay_embedding,
    positional_embedding,
    straight_trend,
    zero_embedding,
)
from mixtura.dynamics.excerpts import Excerpt


def small(kind: str = "almost_linear") -> DynaMix:
    torch.manual_seed(0)
    return DynaMix(2, RecurrentExperts(3, 6, 2, 4, kind), InContextGate(3, 6, 2, noise=0.0))


@pytest.mark.parametrize("kind", ["almost_linear", "clipped_shallow"])
def test_the_mixture_is_dense_and_trains(kind: str) -> None:
    model = small(kind)
    context, x = torch.randn(10, 4, 2), torch.randn(8, 4, 2)
    z0 = model.initial_state(x[0])
    routing = model.gate(z0, context, model.gate.features(context))
    torch.testing.assert_close(routing.dense_weight.sum(1), torch.ones(4))
    model.loss(context, x, interleave=2).backward()
    assert model.experts.a.grad.abs().sum() > 0
    assert model.gate.out.bias.grad is None


def test_full_forcing_restarts_from_the_observation() -> None:
    model = small()
    context, x = torch.randn(10, 1, 2), torch.randn(6, 1, 2)
    z0 = model.initial_state(x[0])
    states = model(context, z0, 3, teacher=x, alpha=1.0, interleave=2)
    forced = torch.cat([x[2], states[1][:, 2:]], 1)
    following = model.next_state(forced, context, model.gate.features(context))
    torch.testing.assert_close(states[2], following)


def test_forecast_is_in_the_units_of_the_data() -> None:
    context = 100 + 5 * torch.randn(20, 3, 1)
    forecast = small().forecast(context, 4)
    assert forecast.shape == (4, 3, 1)
    assert float((forecast - 100).abs().max()) < 100
    assert delay_embedding(context, 2).shape == (19, 3, 2)
    with pytest.raises(InputError, match="at most 2 dimensions"):
        small().forecast(torch.randn(9, 1, 3), 2)


def test_embeddings_append_delays_phases_or_zeros() -> None:
    frames = torch.arange(24.0)
    x = torch.stack([(frames * 2 * torch.pi / 8).cos(), frames], 1)[..., None]
    delayed = delay_embedding(x, 3, delay=2)
    assert torch.equal(delayed[:, :, 1], x[2:-2, :, 0])
    assert torch.equal(delayed[:, :, 2], x[:-4, :, 0])
    phases = positional_embedding(x, 3)
    torch.testing.assert_close(phases[:, 0, 2], x[:, 0, 0])
    torch.testing.assert_close(phases[:, 0, 1:].square().sum(-1), torch.ones(24))
    assert torch.equal(zero_embedding(x, 3)[..., 1:], torch.zeros(24, 2, 2))
    for embedding in (delay_embedding, positional_embedding, zero_embedding):
        assert small().forecast(x, 5, embedding=embedding).shape == (5, 2, 1)


def test_a_trend_is_continued_beside_the_forecast() -> None:
    line = 3 + 0.5 * torch.arange(24.0)[:, None, None]
    known, further = straight_trend(line[:20], 4)
    torch.testing.assert_close(known, line[:20])
    torch.testing.assert_close(further, line[20:])
    wave = torch.sin(torch.arange(20.0))[:, None, None]
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    model = small()
    trend, after = straight_trend(wave + line[:20], 4)
    expected = after + model.forecast(wave + line[:20] - trend, 4, draws[0])
    found = model.forecast(wave + line[:20], 4, draws[1], detrend=True)
    torch.testing.assert_close(found, expected)


def test_the_initial_dynamics_are_stable() -> None:
    diagonal = stable_diagonal(12)
    assert float(diagonal.max()) <= 1.0
    assert float(diagonal.min()) > 0.0


def test_excerpts_are_standardised_by_their_context_and_continue_it(tmp_path: Path) -> None:
    t = np.arange(200) * 0.1
    for number in range(2):
        rate = 1.0 + number
        table = np.column_stack((t, 5 + np.cos(rate * t), np.sin(rate * t)))
        np.savetxt(tmp_path / f"{number}.csv", table, delimiter=",", header="t,x,y", comments="")
    data = ContextsDataModule(
        str(tmp_path), context=40, steps=20, horizon=30, batch_size=3, batches_per_epoch=2, noise=0
    )
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    batch = batches[0]
    assert batch.context.shape == (40, 3, 2)
    assert batch.x.shape == (21, 3, 2)
    torch.testing.assert_close(batch.context.mean(0), torch.zeros(3, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.x[0], batch.context[-1])
    assert not torch.equal(batches[1].x, batch.x)
    (validation,) = data.val_dataloader()
    assert validation.x.shape == (31, 4, 2)
    with pytest.raises(InputError, match=r"context \+ horizon is 540 samples"):
        ContextsDataModule(str(tmp_path), context=40, steps=20, horizon=500).parts()


def test_training_lowers_the_loss_of_a_circle(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = DynaMixModule(
        DynaMix(2, RecurrentExperts(3, 6, 2), InContextGate(3, 6, 2)), interleave=5
    )
    angle = 0.2 * torch.arange(60.0)[:, None] + torch.tensor([0.0, 1.0])
    x = torch.stack([angle.cos(), angle.sin()], -1)
    batch = Excerpt(x[:40], x[39:], 0.2)
    optimiser = torch.optim.RAdam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss, _ = module.task_loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    scores = module.evaluate(batch)
    assert {"d_stsp", "d_hellinger", "mase", "valid_prediction_time", "mse"} <= set(scores)
    with pytest.raises(InputError, match="alpha is a share"):
        DynaMixModule(DynaMix(2), alpha=2.0)
