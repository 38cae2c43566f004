"""The toy app's command line."""

from mixtura.training.cli import App, run_app

APP = App(
    name="toy",
    summary="A toy app for the tests of the shared command line.",
    package="tests.e2e.training.toyapp",
    module="tests.e2e.training.toyapp.model:ToyModule",
    data="pytorch_lightning:LightningDataModule",
    registry=("tests.e2e.training.toyapp.model",),
    classes={
        "--model": ("ToyClassifier",),
        "--data": ("ToyData",),
        "--model.init_args.network": ("ToyNetwork",),
    },
    distribution="mixtura-training",
)


def main(args: list[str] | None = None) -> int:
    return run_app(APP, args)


if __name__ == "__main__":
    raise SystemExit(main())
