"""The reference algorithms that we are timed against give what our networks give."""

from typing import Any

import pytest
import torch

from mixtura.forecasting import MoHETS, SegMoE, TimeMoE
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.reference_speed import LoopTimeMoE, race_generation, with_loops
from mixtura.forecasting.speed import training_step

SIZES: dict[str, Any] = {"dim": 16, "hidden_dim": 32, "num_layers": 2, "num_heads": 4}


def time_moe(top_k: int) -> TimeMoE:
    torch.manual_seed(0)
    network = TimeMoE(**SIZES, num_experts=4, top_k=top_k, horizons=[1, 8], init_std=0.2)
    return network.eval()


@pytest.mark.parametrize("top_k", [1, 2])
def test_generation(top_k: int) -> None:
    network = time_moe(top_k)
    x = torch.randn(3, 20)
    expected = LoopTimeMoE(network).eval().generate(x, 20)
    torch.testing.assert_close(network.generate(x, 20), expected, atol=1e-5, rtol=1e-5)


def test_more_series_than_go_through_at_once() -> None:
    network = time_moe(2)
    x = torch.randn(5, 900)
    expected = torch.cat([network.generate(one[None], 9) for one in x])
    torch.testing.assert_close(network.generate(x, 9), expected, atol=1e-5, rtol=1e-5)
    assert network.generate(x[:0], 9).shape == (0, 9)


@pytest.mark.parametrize(
    "network",
    [
        SegMoE(48, 8, 3, segment_sizes=[2, 3], **SIZES),
        SegMoE(48, 8, 3, segment_sizes=1, top_k=2, **SIZES),
        MoHETS(context_length=48, num_variates=2, num_experts=4, **SIZES),
    ],
)
def test_forward_and_training_step(network: ForecastNetwork) -> None:
    network.eval()
    x = torch.randn(3, 2, 48)
    loop = with_loops(network).eval()
    torch.testing.assert_close(loop(x), network(x), atol=1e-5, rtol=1e-5)
    before = [parameter.detach().clone() for parameter in loop.parameters()]
    assert isinstance(loop, ForecastNetwork)
    training_step(loop, x, torch.randn(3, 2, 24))()
    assert not all(map(torch.equal, before, loop.parameters()))


def test_everyone_is_timed() -> None:
    racers = race_generation(time_moe(2), series=2, context=16, horizon=9, rounds=2)
    assert [one.name for one in racers] == ["reference", "float32", "bfloat16"]
    assert racers[0].ratio == 1.0
    assert all(one.cpu > 0 and one.rounds == 2 for one in racers)
