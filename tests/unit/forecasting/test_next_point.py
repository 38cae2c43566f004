"""Pretraining and fine-tuning of Time-MoE."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import Callback

from mixtura.core import InputError, record_routing
from mixtura.datasets import LTSFDataModule, SequenceBatch, SequenceDataModule
from mixtura.forecasting import TimeMoE, TimeMoEModule
from mixtura.forecasting.checkpoints import save_time_moe, time_moe_arguments
from mixtura.forecasting.horizon_losses import horizon_loss
from mixtura.training import AdamW, MoEModule, Trainer
from mixtura.training.callbacks import Checkpoint, ValidateFirst

RELEASED = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_experts": 4,
    "horizon_lengths": [1, 4],
}


def tiny(**options: Any) -> TimeMoE:
    torch.manual_seed(0)
    return TimeMoE(**{**time_moe_arguments(RELEASED), "init_std": 0.2, **options})


def module(network: TimeMoE | None = None, lr: float = 0.01, **options: Any) -> TimeMoEModule:
    network = tiny() if network is None else network
    return TimeMoEModule(network, optimizer=AdamW(lr=lr, weight_decay=0.0), **options)


def sequences(folder: Path, suffix: str) -> Path:
    """Sines of several lengths, in one of the formats."""
    lengths = [2, 40, 41, 42, 90, 7]
    waves = [np.sin(0.4 * np.arange(n) + n).astype(np.float32) for n in lengths]
    path = folder / f"data{suffix}"
    if suffix == ".jsonl":
        lines = (json.dumps({"sequence": [float(x) for x in wave]}) for wave in waves)
        path.write_text("\n".join(lines) + "\n")
    elif suffix == ".npy":
        path = folder / "one"
        path.mkdir()
        for number, wave in enumerate(waves):
            np.save(path / f"{number}.npy", wave[None])
    else:
        path.mkdir()
        flat = np.concatenate(waves)
        np.asarray(flat[:100]).tofile(path / "data-1-of-2.bin")
        np.asarray(flat[100:]).tofile(path / "data-2-of-2.bin")
        ends = np.cumsum(lengths)
        scales = [{"offset": int(e - n), "length": n} for e, n in zip(ends, lengths, strict=True)]
        files = {"data-1-of-2.bin": 100, "data-2-of-2.bin": len(flat) - 100}
        meta = {"num_sequences": 6, "dtype": "float32", "files": files, "scales": scales}
        (path / "meta.json").write_text(json.dumps(meta))
    return path


def packed_batch(lengths: list[int]) -> SequenceBatch:
    """Sequences end to end in one window, as `PackedWindows` makes them."""
    points = torch.randn(sum(lengths) + 1, generator=torch.Generator().manual_seed(2))
    owners = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = torch.ones(len(owners), dtype=torch.int64)
    mask[torch.tensor(lengths).cumsum(0) - 1] = 0
    row = [each[None] for each in (points[:-1], points[1:], mask, owners, torch.zeros(1))]
    return SequenceBatch(*row[:4], index=torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize("suffix", [".jsonl", ".npy", "-300b"])
@pytest.mark.parametrize("packing", [False, True])
def test_it_learns_from_every_format(tmp_path: Path, suffix: str, packing: bool) -> None:
    data = SequenceDataModule(
        path=str(sequences(tmp_path, suffix)), max_length=40, packing=packing, batch_size=8
    )
    batch = next(iter(data.train_dataloader()))
    learner = module()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.01)
    with record_routing(learner.network):
        before, _ = learner.task_loss(batch)
    before.backward()
    optimizer.step()
    learner.eval()
    after, _ = learner.task_loss(batch)
    assert float(after.detach()) < float(before.detach())


def test_packed_sequences_are_what_they_are_alone() -> None:
    batch = packed_batch([9, 3, 12])
    network = tiny().eval()
    packed = network(batch.inputs, segments=batch.segments)
    begin, losses, counts = 0, {1: 0.0, 4: 0.0}, {1: 0, 4: 0}
    for length in (9, 3, 12):
        part = slice(begin, begin + length)
        alone = network(batch.inputs[:, part])
        for h in (1, 4):
            torch.testing.assert_close(packed[h][:, part], alone[h], atol=1e-5, rtol=1e-5)
            labels = batch.labels[:, part][:, : length - 1]
            count = sum(min(h, length - 1 - t) for t in range(length - 1))
            loss = horizon_loss(alone[h][:, : length - 1], labels)
            losses[h], counts[h] = losses[h] + float(loss.detach()) * count, counts[h] + count
        begin += length
    loss, _ = module(network).eval().task_loss(batch)
    by_hand = sum(losses[h] / counts[h] for h in (1, 4)) / 2
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-5)


def test_plain_packing_is_one_long_series() -> None:
    batch = packed_batch([9, 3, 12])
    learner = module(isolate=False).eval()
    whole = batch._replace(segments=torch.zeros_like(batch.segments))
    loss, _ = learner.task_loss(batch)
    alone, _ = learner.task_loss(whole)
    assert float(loss.detach()) == pytest.approx(float(alone.detach()), rel=1e-6)


def test_training_pairs_of_a_table_are_all_heads_at_all_points() -> None:
    network = tiny().eval()
    past, future = torch.randn(2, 3, 20), torch.randn(2, 3, 6)
    prediction, target = network.supervise(past, future)
    assert prediction.shape == target.shape == (2, 3, 25 + 22 * 4)
    series = torch.cat((past, future), -1).flatten(0, 1)
    heads = network(series[:, :-1])
    expected = heads[4][0, 3]
    torch.testing.assert_close(prediction[0, 0, 25 + 12 : 25 + 16], expected)
    torch.testing.assert_close(target[0, 0, 25 + 12 : 25 + 16], series[0, 4:8])
    loss = network.training_loss(past, future, None, torch.nn.functional.mse_loss)
    one = (heads[1][..., 0] - series[:, 1:]).square().mean()
    four = (heads[4][:, :22] - series[:, 1:].unfold(1, 4, 1)).square().mean()
    torch.testing.assert_close(loss, (one + four) / 2)


def trainer(folder: Path, epochs: int, *callbacks: object) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[Checkpoint(folder), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_train_batches=4,
        limit_val_batches=1,
    )


def table() -> LTSFDataModule:
    return LTSFDataModule("ETTh1", look_back=24, horizon=8, batch_size=2, eval_batch_size=8)


@pytest.mark.filterwarnings("ignore")
def test_fine_tuning_never_leaves_less_than_what_was_loaded(tmp_path: Path) -> None:
    """Steps far too large: the best checkpoint is the model as it came."""
    released = tmp_path / "released"
    save_time_moe(tiny(), released)
    (released / "config.json").write_text(json.dumps(RELEASED))
    learner = TimeMoEModule(pretrained=str(released), optimizer=AdamW(lr=3.0))
    trainer(tmp_path, 1, ValidateFirst()).fit(learner, datamodule=table())
    for path in released.iterdir():
        path.unlink()
    best = MoEModule.load_from_checkpoint(tmp_path / "best.ckpt")
    start = tiny().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in best.network.state_dict().items())
    assert not torch.equal(learner.network.norm.weight, best.network.norm.weight)


class SaveAt(Callback):
    """Keep the state after a step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Save once."""
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    """Also in the middle of an epoch."""
    middle = tmp_path / "middle.ckpt"
    whole, again = module(), module(tiny(init_std=0.1))
    trainer(tmp_path / "whole", 2, SaveAt(6, middle)).fit(whole, datamodule=table())
    trainer(tmp_path / "again", 2).fit(again, datamodule=table(), ckpt_path=str(middle))
    ours, theirs = whole.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a network, or the folder"):
        TimeMoEModule()
    save_time_moe(tiny(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(RELEASED))
    with pytest.raises(InputError, match=r"blocks\.0.* has the shape"):
        TimeMoEModule(tiny(num_experts=3), pretrained=str(tmp_path))
    with pytest.raises(InputError, match="2 points"):
        tiny().training_loss(torch.zeros(1, 1, 1), torch.zeros(1, 1, 0), None, torch.dist)
