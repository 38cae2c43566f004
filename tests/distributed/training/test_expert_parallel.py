"""Forecasters whose experts are spread over two processes train like one process with both batches.

The processes see different windows; rows travel to the process that has their expert.
"""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import multiprocessing

from mixtura.core import LoadBalance, RouterZ, moe_layers
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import ForecastModule, SegMoE, TimeMoE
from mixtura.training import SGD, Checkpoint, Constant, MoEModule, Trainer, read_checkpoint

RANKS, STEPS = 2, 3
SIZES: dict[str, Any] = {"dim": 8, "num_heads": 2, "num_kv_heads": 1, "hidden_dim": 8}


def seg_moe() -> SegMoE:
    return SegMoE(
        24,
        4,
        1.5,
        2,
        segment_sizes=[2, 3],
        balance=LoadBalance(0.0),
        dropout=0.0,
        drop_path=0.0,
        router_dropout=0.0,
        **SIZES,
    )


def time_moe() -> TimeMoE:
    return TimeMoE(8, 16, 2, 2, num_experts=4, top_k=2, horizons=[1, 6], balance=LoadBalance(0.0))


NETWORKS = {"seg_moe": seg_moe, "time_moe": time_moe}


def network(name: str) -> torch.nn.Module:
    """With a term that is a mean over units, so that two halves add up to the whole."""
    torch.manual_seed(0)
    built = NETWORKS[name]()
    for layer in moe_layers(built).values():
        layer.losses = (*layer.losses, RouterZ(0.01))
    return built


class Shapes(Callback):
    """Remembers what this process holds of each parameter."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.held = {
            name: tuple(getattr(p, "_local_tensor", p).shape)
            for name, p in pl_module.named_parameters()
        }


def train(name: str, table: str, folder: Path, ranks: int, **options: Any) -> Shapes:
    pl.seed_everything(1, verbose=False)
    module = ForecastModule(network(name), SGD(lr=0.05, momentum=0.9), Constant())
    data = LTSFDataModule(
        path=table,
        date_column=None,
        look_back=24,
        horizon=6,
        batch_size=8 // ranks,
        eval_batch_size=16,
    )
    shapes = Shapes()
    trainer = Trainer(
        accelerator="cpu",
        devices=ranks,
        max_steps=STEPS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=2,
        val_check_interval=STEPS,
        callbacks=[Checkpoint(folder), shapes],
        **options,
    )
    trainer.fit(module, datamodule=data)
    return shapes


def one_of_two(rank: int, name: str, table: str, folder: Path, port: int) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(RANKS),
    }
    strategy = ModelParallelStrategy(
        data_parallel_size=RANKS, tensor_parallel_size=1, save_distributed_checkpoint=False
    )
    plugins = [LightningEnvironment()]
    shapes = train(name, table, folder, RANKS, strategy=strategy, plugins=plugins)
    torch.save(shapes.held, folder / f"held-{rank}.pt")


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small series."""
    path = tmp_path_factory.mktemp("data") / "own.csv"
    values = np.random.default_rng(0).normal(size=(200, 2)).cumsum(0)
    np.savetxt(path, values, delimiter=",", header="load,price", comments="")
    return str(path)


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view")
@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_with_spread_experts_are_one(name: str, table: str, tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    two.mkdir()
    multiprocessing.start_processes(
        one_of_two, (name, table, two, free_port()), nprocs=RANKS, start_method="fork"
    )
    whole = train(name, table, one, 1).held
    for rank in range(RANKS):
        held = torch.load(two / f"held-{rank}.pt")
        assert held.keys() == whole.keys()
        spread = [key for key in held if ".experts." in key]
        assert spread
        for key in spread:
            assert held[key][0] * RANKS == whole[key][0]
    expected = read_checkpoint(one / "last.ckpt")
    found = read_checkpoint(two / "last.ckpt")
    assert found["global_step"] == expected["global_step"] == STEPS
    assert found["hyper_parameters"] == expected["hyper_parameters"]
    loaded = MoEModule.load_from_checkpoint(two / "last.ckpt")
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(
            value, expected["state_dict"][key], atol=1e-6, rtol=1e-5, msg=key
        )
    window = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(0))
    alone = MoEModule.load_from_checkpoint(one / "last.ckpt")
    torch.testing.assert_close(
        loaded.network.forecast(window, 6), alone.network.forecast(window, 6), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_with_data_parallelism_are_one(name: str, table: str, tmp_path: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    train(name, table, two, RANKS, strategy="ddp_fork")
    train(name, table, one, 1)
    expected, found = read_checkpoint(one / "last.ckpt"), read_checkpoint(two / "last.ckpt")
    assert found["global_step"] == expected["global_step"] == STEPS
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for key, value in found["state_dict"].items():
        torch.testing.assert_close(
            value, expected["state_dict"][key], atol=1e-6, rtol=1e-5, msg=key
        )
