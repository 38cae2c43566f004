"""The table at the end of a run: what came out, and where the files are."""

import time
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.table import Table

__all__ = ["RunSummary"]

FILES = {
    "config.yaml": "the whole configuration",
    "metrics.csv": "every logged figure",
    "checkpoints/best.ckpt": "the best checkpoint",
    "checkpoints/last.ckpt": "the last checkpoint",
    "checkpoints/interrupted.ckpt": "where the run was stopped",
}


class RunSummary(Callback):
    """Print the final figures and the run's files.

    Args:
        folder: The run's folder.
        program: Name of the program, for the line that says what to type next.
    """

    def __init__(self, folder: str | Path, program: str = "mixtura") -> None:
        self.folder = Path(folder)
        self.program = program
        self._begin = time.monotonic()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Print the table, on the first rank and after a run that went well."""
        if not trainer.is_global_zero or trainer.interrupted:
            return
        stage = str(getattr(stage, "value", stage))
        console = Console(stderr=False)
        table = Table(
            title=f"{stage}: {time.monotonic() - self._begin:.0f} s", title_justify="left"
        )
        table.add_column("figure")
        table.add_column("value", justify="right")
        for name, value in sorted(trainer.callback_metrics.items()):
            if not name.startswith(("aux/", "routing/")) and not name.endswith(("_step", "_epoch")):
                table.add_row(name, f"{float(value):.5g}")
        if table.row_count:
            console.print(table)
        written = [(n, what) for n, what in FILES.items() if (self.folder / n).is_file()]
        if written:
            console.print(f"Files in [bold]{self.folder}[/bold]:", highlight=False)
            for name, what in written:
                console.print(f"  {name:<28} {what}", highlight=False)
        best = self.folder / "checkpoints" / "best.ckpt"
        if stage == "fit" and best.is_file():
            then = f"Next: {self.program} test --ckpt_path {best}"
            console.print(then, highlight=False, soft_wrap=True)
