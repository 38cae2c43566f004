from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from mixtura.core import from_config, to_config
from mixtura.datasets import InputError, LTSFDataModule, WindowBatch, WindowErrors, protocol_report

pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")


def own(folder: Path, rows: int = 60, column: str = "load", value: float | None = None) -> str:
    series = [float(i % 7) if value is None else value for i in range(rows)]
    lines = [f"{np.datetime64('2020-01-01') + i},{x}" for i, x in enumerate(series)]
    path = folder / "own.csv"
    path.write_text(f"date,{column}\n" + "\n".join(lines) + "\n")
    return str(path)


def test_the_protocol_in_batches() -> None:
    data = LTSFDataModule(name="etth1", look_back=96, horizon=96, batch_size=64)
    data.setup("fit")
    data.setup("fit")
    data.setup("test")
    train, val, test = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    counts = [len(loader.source) for loader in (train, val, test)]
    case = protocol_report("ETTh1", 96, 96)["cases"][0]
    assert counts == case["windows_train_val_test"] == [8449, 2785, 2785]
    assert [len(loader) for loader in (train, val, test)] == [133, 44, 44]
    batches = list(test)
    assert sum(len(batch.past) for batch in batches) == 2785
    assert batches[0].past.shape == (64, 96, 7)
    assert batches[0].past_marks.shape == (64, 96, 4)
    assert float(batches[0].past[0].sum()) == pytest.approx(case["first_test_input_sum"], rel=1e-4)
    last = float(batches[-1].future[-1].sum())
    assert last == pytest.approx(case["last_test_target_sum"], rel=1e-4)
    assert data.variates == 7
    assert data.marks == ("hour", "weekday", "day", "dayofyear")
    assert data.season == 24


def test_options_of_the_protocol() -> None:
    data = LTSFDataModule(look_back=96, horizon=96, compat_time_moe_windows=True, stride=7)
    assert len(data.source("test")) == 2784
    assert len(data.source("train")) == -(-8449 // 7)
    assert len(data.source("val")) == 2785
    plain = LTSFDataModule(scale=False)
    np.testing.assert_allclose(
        plain.source("train")[torch.tensor([5])].past[0], plain.table.values[5:101], rtol=1e-6
    )


def test_the_last_window_is_the_one_to_predict() -> None:
    data = LTSFDataModule(name="synthetic-seasonal", look_back=24, horizon=6)
    (batch,) = data.predict_dataloader()
    expected = data.scaler.transform(data.table.values[-24:])
    np.testing.assert_allclose(batch.past[0], expected, rtol=1e-5, atol=1e-6)
    assert torch.isnan(batch.future).all()
    assert torch.isfinite(batch.future_marks).all()
    assert int(batch.index) == 8000 - 24


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    data = LTSFDataModule(path=own(tmp_path), look_back=5, horizon=2, batch_size=8)
    assert data.borders == ((0, 42), (37, 48), (43, 60))
    assert data.season == 7
    assert data.marks == ("weekday", "day", "dayofyear")
    assert len(data.source("train")) == 36
    assert next(iter(data.train_dataloader())).past.shape == (8, 5, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"horizon": 0}, "horizon must be at least 1 step, got 0"),
        ({"look_back": -3}, "look_back must be at least 1 step, got -3"),
        ({"name": "etth11"}, "did you mean ETTh1"),
        ({"name": "camvid"}, "camvid is no forecasting data set"),
        ({"train_fraction": 0.9}, "must be positive and add up to at most 1"),
    ],
)
def test_what_is_seen_at_construction(options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LTSFDataModule(**options)


def test_what_is_seen_before_step_0(tmp_path: Path) -> None:
    short = LTSFDataModule(path=own(tmp_path, rows=12), look_back=8, horizon=4)
    with pytest.raises(
        InputError, match="the train part of own has 8 rows, too few for one window"
    ):
        short.setup("fit")
    no_test = LTSFDataModule(path=own(tmp_path), look_back=5, horizon=2, test_fraction=0.0)
    with pytest.raises(InputError, match="the test part of own has 5 rows"):
        no_test.test_dataloader()
    flat = own(tmp_path, value=5.0)
    with pytest.raises(InputError, match="'load' of own is 5 in every training row"):
        LTSFDataModule(path=flat, look_back=5, horizon=2).setup("fit")
    kept = LTSFDataModule(path=flat, look_back=5, horizon=2, constant="keep")
    assert next(iter(kept.train_dataloader())).past.abs().max() == 0


def test_the_configuration_comes_back() -> None:
    data = LTSFDataModule(name="ETTh1", look_back=48, horizon=24, seed=3)
    config = to_config(data)
    assert config["class_path"] == "mixtura.datasets.LTSFDataModule"
    assert to_config(from_config(config)) == config


def test_errors_do_not_depend_on_the_batches() -> None:
    forecast, truth = torch.randn(2, 7, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = WindowErrors(2)
    whole.update(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]]))
    assert whole.compute()["mse"] == 2.5
    assert whole.compute()["mae_per_variate"].tolist() == [1, 2]
    for size in (7, 3, 1):
        errors = WindowErrors(2)
        for part in zip(forecast.split(size), truth.split(size), strict=True):
            errors.update(*part)
        expected = (forecast - truth).double().square().mean().item()
        assert errors.compute()["mse"].item() == pytest.approx(expected, rel=1e-6)


class Linear(pl.LightningModule):
    """The smallest forecaster; remembers what it saw."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.stop_at = nn.Linear(24, 6), stop_at
        self.seen: list[tuple[list[int], float]] = []

    def training_step(self, batch: WindowBatch) -> torch.Tensor:
        if self.stop_at == len(self.seen):
            raise KeyboardInterrupt
        forecast = self.layer(batch.past.transpose(1, 2)).transpose(1, 2)
        loss = (forecast - batch.future).square().mean()
        self.seen.append((batch.index.tolist(), loss.item()))
        return loss

    def validation_step(self, batch: WindowBatch) -> None:
        assert torch.isfinite(batch.future).all()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def fit(folder: Path, stop_at: int | None = None, resume: str | None = None) -> list:
    model = Linear(stop_at)
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            pl.callbacks.ModelCheckpoint(
                dirpath=folder, filename="{step}", every_n_train_steps=1, save_top_k=-1
            )
        ],
    )
    data = LTSFDataModule(name="synthetic-seasonal", look_back=24, horizon=6, batch_size=700)
    try:
        trainer.fit(model, data, ckpt_path=resume)
    except (KeyboardInterrupt, SystemExit):
        assert stop_at is not None
    return model.seen


@pytest.mark.parametrize("step", [3, 8, 11])
def test_lightning_continues_in_the_middle_of_an_epoch(tmp_path: Path, step: int) -> None:
    # 5571 training windows, 8 batches in an epoch: steps 3 and 11 are inside, 8 is an end.
    whole = fit(tmp_path / "whole")
    assert len(whole) == 24
    assert sorted(i for indices, _ in whole[:8] for i in indices) == list(range(5571))
    head = fit(tmp_path / "cut", stop_at=step)
    assert head == whole[:step]
    tail = fit(tmp_path / "tail", resume=str(tmp_path / "cut" / f"step={step}.ckpt"))
    assert tail == whole[step:]
