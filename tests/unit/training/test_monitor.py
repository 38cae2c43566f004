import warnings
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch

from mixtura.core import LayerStatistics
from mixtura.training import RoutingMonitor


class Logger:
    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, metrics))


def statistics(*counts: int) -> LayerStatistics:
    total = torch.tensor(counts)
    return LayerStatistics(
        total, torch.ones(len(counts)), torch.tensor(2.0), torch.tensor(sum(counts))
    )


def run(monitor: RoutingMonitor, steps: list[LayerStatistics]) -> Logger:
    logger = Logger()
    trainer = Mock(spec=pl.Trainer)
    trainer.global_step, trainer.world_size, trainer.loggers = 0, 1, [logger]
    for one in steps:
        trainer.global_step += 1
        module = Mock(spec=pl.LightningModule)
        module.last_statistics = {"layer": one}
        monitor.on_train_batch_end(trainer, module, None, None, 0)
        monitor.on_train_batch_end(trainer, module, None, None, 1)  # accumulation: the same step
    return logger


def test_figures_of_a_window() -> None:
    logger = run(
        RoutingMonitor(every=2, each_expert=True), [statistics(4, 0, 0, 0), statistics(2, 2, 0, 0)]
    )
    ((step, line),) = logger.lines
    assert step == 2
    figure = {name.split("/")[1]: value for name, value in line.items()}
    assert line["routing/load/layer/0"] == pytest.approx(0.75)
    assert figure["maxvio"] == pytest.approx(2.0)
    assert figure["dead"] == 2
    assert figure["cold"] == 2
    assert figure["active"] == 1
    assert figure["load_max"] == pytest.approx(0.75)
    load = torch.tensor([0.75, 0.25])
    assert figure["load_entropy"] == pytest.approx(float(-(load * load.log()).sum()))
    assert figure["cv"] == pytest.approx(
        float(torch.tensor([0.75, 0.25, 0, 0]).std(correction=0) * 4)
    )


def test_churn_is_the_load_that_moved() -> None:
    logger = run(RoutingMonitor(every=1), [statistics(4, 0), statistics(3, 1)])
    assert "routing/churn/layer" not in logger.lines[0][1]
    assert logger.lines[1][1]["routing/churn/layer"] == pytest.approx(0.25)


def test_collapse_warns_once() -> None:
    with pytest.warns(UserWarning, match=r"layer layer has collapsed: expert 0 takes 100%"):
        run(RoutingMonitor(every=1), [statistics(8, 0, 0)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(RoutingMonitor(every=1), [statistics(8, 0, 0)])
        run(RoutingMonitor(every=1), [statistics(3, 3, 2)] * 4)
