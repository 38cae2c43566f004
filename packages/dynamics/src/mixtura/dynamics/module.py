"""Training with Lightning: the recipe does the steps, this class the book-keeping."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from mixtura.core import InputError, Routing, configurable
from mixtura.datasets import dataset, dataset_names
from mixtura.datasets.dynamics.environments import Environments
from mixtura.dynamics.adaptation import Adaptation
from mixtura.dynamics.data import EnvironmentsDataModule
from mixtura.dynamics.evaluation import evaluate
from mixtura.dynamics.metrics.errors import mape, mse, rel_l2, rel_sq_pointwise
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training import Recipe, StepReport, WindowedTraining
from mixtura.dynamics.trajectories import Trajectories
from mixtura.dynamics.writer import TrajectoryWriter
from mixtura.training import MoEModule
from mixtura.training.sharing.card import Card

__all__ = ["DynamicsModule"]

TASK = "other"


@configurable
class DynamicsModule(MoEModule):
    """A reconstruction trained by a recipe; one training step is one outer step of it.

    The recipe optimises by itself (two optimisers, inner loops, updates of the gate between steps).
    Its place in the run and its random generator are part of the checkpoint, so that a resumed run
    goes on exactly.

    Args:
        network: The system.
        recipe: How it is trained; windowed training with a shared start when not given.
        adaptation: How it adapts to new environments in `test`.
        standardise: Scale every state dimension to zero mean and unit variance.
        num_threads: Threads of torch; small systems are fastest with one.
    """

    def __init__(
        self,
        network: Reconstruction,
        recipe: Recipe | None = None,
        adaptation: Adaptation | None = None,
        standardise: bool = False,
        num_threads: int = 1,
    ) -> None:
        super().__init__(network)
        self.automatic_optimization = False
        self.recipe = WindowedTraining() if recipe is None else recipe
        self.adaptation = Adaptation() if adaptation is None else adaptation
        self.standardise, self.num_threads = standardise, num_threads
        self.outer_step = 0
        self.generator = torch.Generator()
        self._seeded = False
        self._inspected: Environments | None = None

    def setup(self, stage: str) -> None:
        """Set threads; take the scale of the data before training."""
        if self.num_threads:
            torch.set_num_threads(self.num_threads)
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is not None:
            self.check(Trajectories.of(datamodule.data.train))
            if stage == "fit" and self.standardise and self.outer_step == 0:
                self.network.standardise(datamodule.train)

    def check(self, data: Trajectories) -> None:
        """Refuse data of other sizes than the system's."""
        known, dim = self.network.num_environments, self.network.mixer.experts.dim
        there, wide = len(data), data.x.shape[-1]
        if there != known or wide != dim:
            raise InputError(
                f"the system is for {known} environments of {dim} dimensions, the data has {there} "
                f"of {wide}; set the network's num_environments to {there} and its experts' dim to "
                f"{wide}"
            )
        experts = self.network.mixer.num_experts
        if experts > known:
            raise InputError(
                f"{experts} experts are more than the {known} environments; lower num_experts, an "
                "expert without an environment learns nothing"
            )

    def configure_optimizers(self) -> list[Optimizer]:
        """The recipe's optimisers."""
        return self.recipe.optimisers(self.network)

    def training_step(self, batch: Trajectories, batch_idx: int) -> None:
        """One outer step."""
        if not self._seeded:
            self.generator.manual_seed(torch.initial_seed() % 2**63)
            self._seeded = True
        if self.outer_step >= self.recipe.outer_steps:
            self.trainer.should_stop = True
            return
        found: Any = self.optimizers()
        optimisers: Sequence[Any] = found if isinstance(found, list) else [found]
        data = self.network.scaled(batch)
        report = self.recipe.step(self.outer_step, self.network, data, optimisers, self.generator)
        self.outer_step += 1
        size = len(batch)
        self.log("train/loss", report.loss, prog_bar=True, batch_size=size)
        self.log("train/last_loss", report.inner_losses[-1], batch_size=size)
        self.log("gate/updated", float(report.gate_updated), batch_size=size)
        self.log("failures", float(len(report.failures)), batch_size=size)
        if report.failures:
            rank_zero_info(told(self.outer_step, report))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Nothing: the recipe has looked at the gradients."""

    def task_loss(self, batch: Trajectories) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error, and the other errors, of the known environments."""
        states = self.network(batch.x0, batch.t).states
        error = mse(states, batch.x, batch.observed).mean()
        return error, {
            "mse": error,
            "rel_l2": rel_l2(states, batch.x, batch.observed).mean(),
            "rel_sq_pointwise": rel_sq_pointwise(states, batch.x, batch.observed).mean(),
            "mape": mape(states, batch.x, batch.observed).mean(),
        }

    def test_step(self, batch: Trajectories, batch_idx: int) -> None:
        """Log everything that `evaluate` says, in and out of domain."""
        super().test_step(batch, batch_idx)
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            return
        with torch.inference_mode(False):  # adaptation needs gradients
            report = evaluate(self.network, datamodule.data, self.adaptation)
        for part in ("out_of_domain", "families"):
            for name, value in report.get(part, {}).items():
                self.log(f"test/{part}/{name}", value, batch_size=len(batch))
        runs = report.get("long_term", [])
        for name in runs[0] if runs else ():
            mean = sum(run[name] for run in runs) / len(runs)
            self.log(f"test/long_term/{name}", mean, batch_size=len(batch))
        for name in (
            "in_domain_leak_free_mse",
            "out_of_domain_leak_free_mse",
            "one_step_ahead_mse",
        ):
            if name in report:
                self.log(f"test/{name}", report[name], batch_size=len(batch))

    def predict_step(self, batch: Trajectories, batch_idx: int) -> dict[str, Tensor]:
        """Reconstructed trajectories with their times, status and experts."""
        solution = self.network(batch.x0, batch.t)
        return {
            "t": batch.t,
            "x": batch.shown,
            "states": solution.states,
            "status": solution.status,
            "expert": self.network.family(),
        }

    def configure_callbacks(self) -> list[Callback]:
        """`predict` writes a table and a picture."""
        return [TrajectoryWriter()]

    def card(self, data: EnvironmentsDataModule | None) -> Card:
        """What is known of the data, and how the system is used."""
        x0, t = [0.0] * self.network.mixer.experts.dim, [0.0, 0.1, 0.2]
        if data is not None:
            train = data.data.train
            x0, t = train.x[0, 0, 0].tolist(), train.t[0, :3].tolist()
        load = (
            "from mixtura.dynamics import MixERReconstructor\n\n"
            'model = MixERReconstructor.from_pretrained("THIS_FOLDER")\n'
            f"states = model.simulate(x0={[rounded(x0)]}, t={rounded(t)}, env=0)"
        )
        if data is None:
            return Card(task=TASK, load=load)
        content = data.data
        system = self.network
        known = dataset(content.name) if content.name in dataset_names() else None
        return Card(
            task=TASK,
            data=content.name,
            licence=None if known is None else known.licence,
            citation=() if known is None else (known.citation,),
            description=(
                f"Reconstructs {system.num_environments} environments of "
                f"{system.mixer.experts.dim} state dimensions with {system.mixer.num_experts} "
                f"{type(system.mixer.experts).__name__} experts. The folder holds weights, "
                "contexts, the environments' experts and the scale of the data. `simulate` takes "
                "initial states (trajectories, dimensions), times and the number of an "
                "environment, and gives states (trajectories, times, dimensions). "
                + (f"Of the data: {content.notes}." if content.notes else "")
            ).strip(),
            load=load,
        )

    def tested(self, data: EnvironmentsDataModule) -> bool:
        """Data of one's own need not have a test split."""
        return data.data.test is not None

    def inspected(self, data: EnvironmentsDataModule) -> Iterable[Trajectories]:
        """The test trajectories, or those of training where there is no test split."""
        self._inspected = data.data.test or data.data.train
        return data.predict_dataloader()

    def aspects(
        self, batch: Trajectories, layer: str, routing: Routing
    ) -> dict[str, Sequence[Any]]:
        """A unit is an environment; its family is known to the data alone."""
        known = self._inspected.family if self._inspected is not None else None
        found: dict[str, Sequence[Any]] = {"environment": range(routing.num_units)}
        if known is not None and len(known) == routing.num_units:
            found["family"] = [int(each) for each in known]
        return found

    def captions(self, batch: Trajectories) -> list[str]:
        """Environments have numbers."""
        return [f"environment {number}" for number in range(len(batch))]

    def pictures(self, data: EnvironmentsDataModule, folder: Path) -> dict[str, Path]:
        """Portraits, contexts, the gate and, in the plane, the vector fields."""
        from mixtura.dynamics.pictures import draw_system  # brings matplotlib

        return draw_system(folder, self.network, data.data.test or data.data.train)

    def batch_size(self, batch: Trajectories) -> int:
        """Environments."""
        return len(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the place in the run and the recipe's generator."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["recipe"] = {
            "outer_step": self.outer_step,
            "generator": self.generator.get_state(),
            "seeded": self._seeded,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("recipe")
        if state is not None:
            self.outer_step, self._seeded = state["outer_step"], state["seeded"]
            self.generator.set_state(state["generator"].cpu())


def rounded(values: Sequence[float]) -> list[float]:
    """Four digits, to be shown."""
    return [float(f"{value:.4g}") for value in values]


def told(outer_step: int, report: StepReport) -> str:
    """What exploded in an outer step, in one line."""
    more = len(report.failures) - 1
    line = f"outer step {outer_step}: {report.failures[0]}" + (f" ({more} more)" if more else "")
    if isfinite(report.loss):
        return line
    return f"{line}; nothing was left to learn from, lower the recipe's lr"
