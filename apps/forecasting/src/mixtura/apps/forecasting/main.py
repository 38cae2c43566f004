"""The command line `mixtura-forecasting`."""

from collections.abc import Sequence

from mixtura.training.cli import App, Verb, run_app

APP = App(
    name="forecasting",
    summary="Train, test, compare and share Mixture-of-Experts forecasters.",
    package="mixtura.apps.forecasting",
    module="mixtura.forecasting.module:ForecastModule",
    data="pytorch_lightning:LightningDataModule",
    registry=(
        "mixtura.forecasting.module",
        "mixtura.forecasting.next_point",
        "mixtura.forecasting.networks",
        "mixtura.datasets",
    ),
    classes={
        "--model": ("ForecastModule",),
        "--data": ("LTSFDataModule",),
        "--model.init_args.network": (
            "DLinear",
            "ITransformer",
            "MoHETS",
            "NLinear",
            "PatchTST",
            "SegMoE",
            "SeasonalNaive",
            "LastValue",
        ),
    },
    verbs=(
        Verb(
            name="demo",
            summary="train Seg-MoE and DLinear on ETTh1, score all test windows, draw the pictures",
            function="mixtura.apps.forecasting.demo:demo",
        ),
        Verb(
            name="speed",
            summary="time a training step beside a dense Transformer of equal active FLOPs",
            function="mixtura.apps.forecasting.speed:speed",
        ),
        Verb(
            name="score",
            summary="MASE and weighted quantile loss of a benchmark's models, through gluonts",
            function="mixtura.apps.forecasting.score:score",
        ),
        Verb(
            name="race",
            summary="time Time-MoE, Seg-MoE and MoHETS beside the reference algorithms",
            function="mixtura.apps.forecasting.race:race",
        ),
    ),
    distribution="mixtura-app-forecasting",
    examples=(
        "mixtura-forecasting demo",
        "mixtura-forecasting fit --config segmoe/etth1-96",
        "mixtura-forecasting fit --config segmoe/etth1-96 --trainer.max_epochs 3",
        "mixtura-forecasting test --ckpt_path runs/segmoe-etth1-96/0/checkpoints/best.ckpt",
    ),
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_app(APP, args)
