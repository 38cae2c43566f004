"""The command line `mixtura-dynamics`."""

from collections.abc import Sequence

from mixtura.training.cli import App, Verb, run_app

VERBS = "mixtura.apps.dynamics.verbs"

APP = App(
    name="dynamics",
    summary="Reconstruct hierarchies of dynamical systems with mixtures of meta-learned experts.",
    package="mixtura.apps.dynamics",
    module="mixtura.training:MoEModule",
    data="pytorch_lightning:LightningDataModule",
    registry=(
        "mixtura.dynamics.module",
        "mixtura.dynamics.data",
        "mixtura.dynamics.dynamix_module",
        "mixtura.dynamics.excerpts",
        "mixtura.dynamics.solvers",
    ),
    classes={
        "--model": ("DynamicsModule", "DynaMixModule"),
        "--data": ("EnvironmentsDataModule", "ContextsDataModule"),
    },
    verbs=(
        Verb(
            name="adapt",
            summary="adapt a trained model to new environments and write what it says",
            function=f"{VERBS}.adapt:adapt",
        ),
        Verb(
            name="generate-data",
            summary="write a published data set, generated exactly",
            function=f"{VERBS}.generate:generate",
        ),
        Verb(
            name="benchmark",
            summary="run a recipe (methods x seeds), write the table; continues where it stopped",
            function=f"{VERBS}.benchmark:benchmark",
            names="recipes",
        ),
        Verb(
            name="demo",
            summary="train MixER and its rivals on odebench4; the table and the portraits",
            function=f"{VERBS}.demo:demo",
        ),
    ),
    distribution="mixtura-app-dynamics",
    examples=(
        "mixtura-dynamics demo",
        "mixtura-dynamics fit --config mixer/odebench4",
        "mixtura-dynamics test --ckpt_path runs/mixer-odebench4/0/checkpoints/last.ckpt",
        "mixtura-dynamics benchmark odebench4",
    ),
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_app(APP, args)
