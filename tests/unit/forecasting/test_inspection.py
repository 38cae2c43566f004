"""What `inspect` says of forecasting experts: by the clock, by frequency, by place, by error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mixtura.core import InputError, record_routing
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import (
    DLinear,
    ForecastModule,
    ForecastNetwork,
    MoHETS,
    MoiraiMoE,
    QuantileNetwork,
    SegMoE,
    TimeMoE,
)
from mixtura.forecasting.inspection import ExpertView, expert_views
from mixtura.forecasting.inspection.measures import (
    bands,
    by_clock,
    by_horizon,
    clock,
    energy_by_expert,
)

SMALL: dict[str, int] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 2}


def view(chosen: list[list[int]], span: int, experts: int = 2) -> ExpertView:
    return ExpertView(torch.tensor(chosen), span, experts)


def test_an_expert_of_the_night_is_seen_by_the_clock() -> None:
    hours = np.tile(np.arange(24), (2, 1))
    table = by_clock(view([[0, 1], [0, 1]], 12, experts=3), hours, 24)
    assert np.allclose(table[0], [2.0] * 12 + [0.0] * 12)
    assert np.allclose(table[1], [0.0] * 12 + [2.0] * 12)
    assert np.isnan(table[2]).all()


@pytest.mark.parametrize(
    ("frequency", "cycle", "first"),
    [("h", "hour of day", 9), ("15min", "hour of day", 9), ("D", "weekday", 4), ("ME", "month", 0)],
)
def test_the_cycle_goes_with_the_step(frequency: str, cycle: str, first: int) -> None:
    places, name, names = clock(np.array(["2021-01-01T09:45"], "datetime64[s]"), frequency)
    assert (places[0], name) == (first, cycle)
    assert len(names) == {"hour of day": 24, "weekday": 7, "month": 12}[cycle]


def test_fast_and_slow_experts_are_told_apart() -> None:
    time = torch.arange(64.0)
    fast, slow = torch.sin(2 * torch.pi * time / 3), torch.sin(2 * torch.pi * time / 24)
    table, octaves = energy_by_expert(view([[0, 0], [1, 1]], 32), torch.stack((fast, slow)))
    assert octaves == bands(32) == [(2, 4), (4, 8), (8, 16), (16, 32), (32, 0)]
    assert table[0].argmax() == 0
    assert table[0, 0] == pytest.approx(2, abs=0.1)
    assert table[1, 0] == pytest.approx(0, abs=0.1)
    assert table[1, 3:].min() > 1.5


def test_errors_belong_to_the_newest_unit() -> None:
    errors = torch.tensor([[1.0, -3.0], [-2.0, 5.0], [3.0, 1.0]])
    means, counts = by_horizon(view([[1, 0], [0, 1], [1, 0]], 4, experts=3), errors)
    assert counts.tolist() == [2, 1, 0]
    assert means[:2].tolist() == [[2.0, 2.0], [2.0, 5.0]]
    assert np.isnan(means[2]).all()


def networks() -> list[tuple[ForecastNetwork, list[int]]]:
    torch.manual_seed(0)
    segments = SegMoE(48, 4, 1.5, num_kv_heads=1, segment_sizes=[2, 5], **SMALL)
    return [
        (segments, [8, 20]),
        (QuantileNetwork(segments, 6), [8, 20]),
        (MoHETS(48, 2, 8, 1.5, num_kv_heads=1, num_experts=4, **SMALL), [8, 8]),
        (TimeMoE(num_experts=3, context_length=64, **SMALL), [1, 1]),
        (MoiraiMoE(48, [8], dim=64, hidden_dim=8, num_layers=2, num_experts=4), [8, 8]),
    ]


@pytest.mark.parametrize(("network", "spans"), networks(), ids=lambda x: type(x).__name__)
def test_every_mixture_shows_who_worked_where(network: ForecastNetwork, spans: list[int]) -> None:
    past = torch.randn(3, 2, 48)
    views = list(expert_views(network, past).values())
    assert [one.span for one in views] == spans
    for one in views:
        assert one.chosen.shape == (6, -(-48 // one.span))
        assert one.of_points(48).shape == (6, 48)
        assert one.chosen.min() >= 0
        assert one.chosen.max() < one.num_experts
    again = expert_views(network, past[1:2])
    for one, alone in zip(views, again.values(), strict=True):
        assert torch.equal(one.chosen[2:4], alone.chosen)
    with pytest.raises(InputError, match="DLinear has no MoE layer"):
        expert_views(DLinear(24, 6), past)


def test_a_module_draws_its_experts(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(400, 2)).cumsum(0), columns=["load", "price"])
    table.insert(0, "date", pd.date_range("2021-01-01", periods=400, freq="h"))
    table.to_csv(tmp_path / "own.csv", index=False)
    data = LTSFDataModule(path=str(tmp_path / "own.csv"), look_back=50, horizon=6)
    network = SegMoE(48, 4, 1.5, num_kv_heads=1, **SMALL)
    module = ForecastModule(network)
    files = module.pictures(data, tmp_path / "page")
    assert list(files) == [
        "Expert by hour of day",
        "Expert by frequency content",
        "Segment maps of price",
        "Error over the horizon, by the expert of the newest part of the look-back",
    ]
    assert all(path.stat().st_size > 5000 for path in files.values())
    assert ForecastModule(DLinear(48, 6)).pictures(data, tmp_path) == {}
    batch = next(iter(data.test_dataloader()))
    with record_routing(network) as record:
        module.eval().evaluate(batch)
    layer, calls = next(iter(record.calls.items()))
    variates = module.aspects(batch, layer, calls[0])["variate"]
    assert len(variates) == calls[0].num_units
    assert variates[:13] == ["variate 0"] * 12 + ["variate 1"]
    assert module.captions(batch)[0] == f"window from row {int(batch.index[0])}"
