"""Networks and data of this package as cases of the common checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mixtura.datasets import LTSFDataModule, SequenceBatch, SequenceDataModule, WindowBatch
from mixtura.forecasting import HOMES
from mixtura.forecasting.networks import (
    CovariateNetwork,
    DLinear,
    ITransformer,
    MoHETS,
    MoiraiMoE,
    NLinear,
    PatchTST,
    SegMoE,
    TimeMoE,
)
from mixtura.forecasting.networks.packed_series import pack_windows
from mixtura.training.testing import DataCase, NetworkCase

__all__ = ["DATA", "NETWORKS", "UNCHECKED"]

VARIATES, CONTEXT, HORIZON, MARKS = 3, 24, 6, 5

NAIVE = "it has no parameters and is only asked for forecasts"
AROUND = "it holds a network that is checked, and is called with a table"
UNCHECKED = {
    "LastValue": NAIVE,
    "SeasonalNaive": NAIVE,
    "ConformalResiduals": "it has no parameters, and shifts forecasts that others make",
    "DistributionNetwork": "its parameters come before the batch, which the checks expect first",
    "QuantileNetwork": "its levels come before the batch, which the checks expect first",
    **{name: AROUND for name in HOMES["forecaster"]},
}


def windows(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Windows of random walks."""
    return (torch.randn(samples, VARIATES, CONTEXT, generator=generator).cumsum(-1),)


def windows_and_marks(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Windows and their calendar features."""
    marks = torch.rand(samples, MARKS, CONTEXT, generator=generator) - 0.5
    return (*windows(samples, generator), marks)


def windows_and_future(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Windows, and the covariates of them and of the horizon."""
    marks = torch.rand(samples, MARKS, CONTEXT + HORIZON, generator=generator) - 0.5
    return (*windows(samples, generator), marks)


def series(samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Series of several lengths, padded on the left, and which points are real."""
    x = torch.rand(samples, CONTEXT, generator=generator) + 0.5
    return x, torch.arange(CONTEXT) >= torch.arange(samples)[:, None] % 3 * 2


def padding_changed(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Other values in the padding."""
    return torch.where(mask, x, 7.0), mask


def direct(name: str, build: Callable[..., nn.Module], **options: Any) -> NetworkCase:
    """A network that predicts a horizon in one step."""

    def small() -> nn.Module:
        return build(context_length=CONTEXT, horizon=HORIZON, **options)

    return NetworkCase(name, small, windows, lambda n: (n, VARIATES, HORIZON))


def seg_moe(**options: Any) -> Callable[[], nn.Module]:
    """A small Seg-MoE."""
    sizes: dict[str, Any] = {"dim": 8, "num_heads": 2, "num_kv_heads": 1, "hidden_dim": 8}
    dropout: dict[str, Any] = {"dropout": 0.0, "drop_path": 0.0, "router_dropout": 0.0}
    return lambda: SegMoE(CONTEXT, 4, 1.5, 2, segment_sizes=[2, 3], **sizes, **dropout, **options)


def mohets() -> nn.Module:
    """A small MoHETS."""
    return MoHETS(
        context_length=CONTEXT,
        num_variates=VARIATES,
        patch_width=4,
        num_layers=2,
        dim=8,
        num_heads=2,
        num_kv_heads=1,
        hidden_dim=8,
        num_experts=4,
        dropout=0.0,
        drop_path=0.0,
    )


def covariates() -> nn.Module:
    """A linear forecast, corrected by covariates; the correction is not zero any more."""
    network = CovariateNetwork(DLinear(CONTEXT, HORIZON, kernel_size=5), MARKS, HORIZON, 8)
    nn.init.normal_(network.correction.weight)
    return network


def time_moe() -> nn.Module:
    """A small Time-MoE."""
    return TimeMoE(dim=8, hidden_dim=16, num_layers=2, num_heads=2, num_experts=4, horizons=[1, 4])


def moirai_moe() -> nn.Module:
    """A small Moirai-MoE."""
    components = ["student_t", "normal"]
    return MoiraiMoE(
        CONTEXT, [4], dim=64, hidden_dim=8, num_layers=1, num_experts=4, components=components
    )


def log_density(network: MoiraiMoE, past: Tensor) -> Tensor:
    """The log density of the last values of a window, after the ones before them."""
    before, after = past[..., :-HORIZON], past[..., -HORIZON:]
    packed = pack_windows(before, HORIZON, 4, future=after)
    return network(packed).log_prob(packed.target)


NETWORKS = [
    NetworkCase("seg_moe", seg_moe(), windows, lambda n: (n, VARIATES, CONTEXT)),
    NetworkCase(
        "seg_moe_top2_glu",
        seg_moe(top_k=2, glu=True, unpatch="linear", qk_norm=True, head_gate=True, bias=True),
        windows,
        lambda n: (n, VARIATES, CONTEXT),
    ),
    NetworkCase("mohets", mohets, windows_and_marks, lambda n: (n, VARIATES, CONTEXT)),
    NetworkCase(
        "time_moe",
        time_moe,
        series,
        lambda n: (n, CONTEXT, 1),
        hidden=padding_changed,
        visible=(slice(None), slice(4, None)),
        rate=0.03,
    ),
    NetworkCase(
        "moirai_moe",
        moirai_moe,
        windows,
        lambda n: (n, VARIATES * (CONTEXT + 4) // 4, 4),
        call=log_density,
        exports=False,
    ),
    direct(
        "patchtst", PatchTST, patch_width=8, stride=4, dim=8, num_heads=2, hidden_dim=8, dropout=0.0
    ),
    direct(
        "patchtst_authors",
        PatchTST,
        patch_width=8,
        stride=4,
        dim=8,
        num_heads=2,
        hidden_dim=8,
        dropout=0.0,
        encoder="authors",
    ),
    direct("itransformer", ITransformer, dim=8, num_heads=2, hidden_dim=8, dropout=0.0),
    direct("dlinear", DLinear, kernel_size=5),
    direct("nlinear", NLinear),
    NetworkCase(
        "covariates",
        covariates,
        windows_and_future,
        lambda n: (n, VARIATES, HORIZON),
    ),
]


def own_table(folder: Path, **arguments: Any) -> LTSFDataModule:
    """Windows of a small file."""
    path = folder / "own.csv"
    if not path.exists():
        values = np.random.default_rng(0).normal(size=(300, 2)).cumsum(0)
        frame = pd.DataFrame(values, columns=["load", "price"])
        frame.insert(0, "date", pd.date_range("2021-01-01", periods=300, freq="h"))
        frame.to_csv(path, index=False)
    return LTSFDataModule(
        path=str(path), look_back=8, horizon=4, batch_size=32, eval_batch_size=7, **arguments
    )


def own_items(folder: Path, **arguments: Any) -> LTSFDataModule:
    """Windows of two series below each other in a small file."""
    path = folder / "items.csv"
    if not path.exists():
        parts = []
        for name, rows in (("long", 200), ("short", 120)):
            values = np.random.default_rng(rows).normal(size=rows).cumsum()
            days = pd.date_range("2021-01-01", periods=rows, freq="D")
            parts.append(pd.DataFrame({"date": days, "shop": name, "sales": values, "area": rows}))
        pd.concat(parts).to_csv(path, index=False)
    return LTSFDataModule(
        path=str(path), item_column="shop", target="sales", static_covariates=["area"], look_back=8,
        horizon=4, batch_size=32, eval_batch_size=7, **arguments,
    )  # fmt: skip


def futures(batch: WindowBatch) -> list[Any]:
    """What is to be forecast, by window."""
    return [tuple(one.flatten().tolist()) for one in batch.future]


def own_sequences(folder: Path, **arguments: Any) -> SequenceDataModule:
    """Windows of small arrays."""
    for number, part in enumerate(("train", "val")):
        values = np.random.default_rng(number).normal(size=(5, 60))
        np.save(folder / f"{part}.npy", values)
    return SequenceDataModule(
        path=str(folder / "train.npy"),
        val_path=str(folder / "val.npy"),
        max_length=8,
        batch_size=8,
        **arguments,
    )


def labels(batch: SequenceBatch) -> list[Any]:
    """What is to be said next, by window."""
    return [tuple(one.tolist()) for one in batch.labels]


DATA = [
    DataCase("LTSFDataModule", own_table, futures),
    DataCase("LTSFDataModule of several series", own_items, futures),
    DataCase("SequenceDataModule", own_sequences, labels, splits=("train", "val")),
]
