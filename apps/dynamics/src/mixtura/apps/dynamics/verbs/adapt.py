"""Adapt a trained system to new environments."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mixtura.apps.dynamics.configurations import load_module
from mixtura.core.errors import InputError
from mixtura.datasets.dynamics import load_environments
from mixtura.dynamics.adaptation import Adaptation
from mixtura.dynamics.fine_tuning import LowRankTuning
from mixtura.dynamics.metrics import mse
from mixtura.dynamics.pictures.portraits import draw_portraits
from mixtura.dynamics.trajectories import Trajectories
from mixtura.dynamics.writer import trajectory_table

__all__ = ["adapt"]


def adapt(
    ckpt_path: str,
    data: str,
    stride: int = 1,
    out: str = "runs/adapt",
    strategy: Literal["gate", "best_expert", "nearest", "mean"] = "best_expert",
    steps: int = 300,
    lr: float = 0.01,
    fine_tune_steps: int = 0,
    fine_tune_lr: float = 0.001,
) -> Path:
    """Fit fresh contexts to new environments; weights and gate stay as they are.

    A published set is adapted to on `ood_train` and scored on `ood_test`; of other data the
    training trajectories are used for both.

    Args:
        ckpt_path: Checkpoint of a trained model.
        data: Name of a data set, or a folder of CSV files, an .npz or a .ts file.
        stride: Keep each so many-th sample.
        out: Folder of the contexts, the reconstructed trajectories and the scores.
        strategy: How the expert of an environment is found.
        steps: Gradient steps.
        lr: Step size.
        fine_tune_steps: After that, so many steps on a copy's low-rank factors too (GEPS and CoDA);
            the copy is written as `model` into the folder.
        fine_tune_lr: Step size of these.
    """
    module = load_module(ckpt_path)
    torch.set_num_threads(module.num_threads or torch.get_num_threads())
    content = load_environments(data).every(stride)
    support = Trajectories.of(content.ood_train or content.train)
    scored = Trajectories.of(content.ood_test) if content.ood_test is not None else support
    adapted = Adaptation(strategy, steps, lr)(module.network, support)
    system = module.network
    if fine_tune_steps:
        system, adapted = LowRankTuning(fine_tune_steps, fine_tune_lr)(system, support, adapted)
    known = {"contexts": adapted.contexts, "experts": adapted.experts}
    with torch.no_grad():
        fitted = system(support.x0, support.t, **known)
        solution = system(scored.x0, scored.t, **known)
    fits = mse(fitted.states, support.x, support.observed)
    errors = mse(solution.states, scored.x, scored.observed)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / "adapted.npz",
            contexts=adapted.contexts.numpy(),
            experts=adapted.experts.numpy(),
            states=solution.states.where(scored.shown.isfinite(), torch.nan).numpy(),
            t=scored.t.numpy(),
        )
        scores = {
            "strategy": strategy,
            "support_mse": fits.tolist(),
            "mse": errors.tolist(),
            "experts": adapted.experts.tolist(),
            "failures": solution.failures(),
        }
        (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
        told = (scored.shown, solution.states, adapted.experts)
        rows = trajectory_table(scored.t, *told)
        rows.to_csv(folder / "trajectories.csv", index=False, float_format="%.7g")
        draw_portraits(folder / "portraits.png", *told)
        if fine_tune_steps:
            system.save_pretrained(folder / "model")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose --out") from error
    table = Table("environment", "expert", "MSE adapted to", "MSE scored")
    for number in range(len(support)):
        table.add_row(
            str(number),
            str(int(adapted.experts[number])),
            f"{float(fits[number]):.3g}",
            f"{float(errors[number]):.3g}",
        )
    console = Console()
    console.print(table)
    console.print(f"mean {float(errors.mean()):.3g}", highlight=False)
    for name in ("adapted.npz", "scores.json", "trajectories.csv", "portraits.png"):
        console.print(f"  {folder / name}", highlight=False)
    return folder
