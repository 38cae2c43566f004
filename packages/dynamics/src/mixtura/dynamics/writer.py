"""What `predict` leaves behind: a table of the trajectories, and their portraits."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from jaxtyping import Float, Int
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mixtura.dynamics.pictures.portraits import draw_portraits
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["TrajectoryWriter", "trajectory_table"]


def trajectory_table(
    t: Float[Tensor, "environments times"],
    true: Float[Tensor, "environments trajectories times dims"],
    states: Float[Tensor, "environments trajectories times dims"],
    expert: Int[Tensor, "environments"],
) -> pd.DataFrame:
    """One row per sample: environment, its expert, trajectory, t, true states, the model's.

    Padding (NaN in `true`) is left out.
    """
    environments, trajectories, times, dims = true.shape
    environment, trajectory, sample = np.indices((environments, trajectories, times))
    columns = {
        "environment": environment.ravel(),
        "expert": expert.numpy()[environment.ravel()],
        "trajectory": trajectory.ravel(),
        "t": t.numpy()[environment.ravel(), sample.ravel()],
    }
    for kind, values in (("true", true), ("model", states)):
        for dim in range(dims):
            columns[f"{kind}_{dim}"] = values[..., dim].flatten().numpy()
    return pd.DataFrame(columns)[true[..., 0].flatten().isfinite().numpy()]


class TrajectoryWriter(Callback):
    """Writes `trajectories.csv` and `portraits.png` into the run's folder, in the data's units."""

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Trajectories,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """The one batch that `predict` looks at."""
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        told = {name: value.detach().cpu() for name, value in outputs.items()}
        table = trajectory_table(told["t"], told["x"], told["states"], told["expert"])
        table.to_csv(folder / "trajectories.csv", index=False, float_format="%.7g")
        draw_portraits(folder / "portraits.png", told["x"], told["states"], told["expert"])
        failed = int((told["status"] != 0).sum())
        there = int(told["x"][:, :, 0, 0].isfinite().sum())
        print(
            f"{there} trajectories of {len(told['t'])} environments"
            + (f", {failed} of which did not reach their last time:" if failed else ":")
        )
        for name in ("trajectories.csv", "portraits.png"):
            print(f"  {folder / name}")
