"""The demo: four families of systems, their labels hidden, in minutes on two cores."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from mixtura.apps.dynamics.configurations import read
from mixtura.apps.dynamics.table import markdown, summarise, write_table
from mixtura.apps.dynamics.training_run import train
from mixtura.core.errors import InputError
from mixtura.dynamics.module import DynamicsModule
from mixtura.dynamics.pictures import (
    RoutingHistory,
    animate_routing,
    draw_routing,
    draw_system,
)
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.training import StepReport

__all__ = ["demo"]

METHODS = {
    "MixER, shared start": "mixer/odebench4",
    "single expert": "single/odebench4",
    "naive mixture, switch gate": "naive/odebench4",
}


def demo(out: str = "runs/dynamics-demo", outer_steps: int = 100, seed: int = 0) -> Path:
    """Train MixER, one expert and the naive mixture on odebench4; the table and the portraits.

    Args:
        out: Folder of the table, the pictures and the shared model.
        outer_steps: Length of each training; fewer for a quick look.
        seed: Of weights and random choices.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose --out") from error
    history, summaries, pictures = RoutingHistory(), {}, []
    with Progress(transient=True) as bar:
        for method, config in METHODS.items():
            tree = read(config)
            tree["model"]["init_args"]["recipe"]["init_args"]["outer_steps"] = outer_steps
            task = bar.add_task(method, total=outer_steps)

            def watch(
                _: int,
                module: DynamicsModule,
                report: StepReport,
                task=task,
                method=method,
                config=config,
            ) -> None:
                bar.update(task, advance=1, description=f"{method}, loss {report.loss:.2g}")
                if config.startswith("mixer/"):
                    history.add(module.network, report.loss)

            run, module, data = train(tree, seed, watch)
            summaries[method] = summarise([run.as_dict()])
            if config.startswith("mixer/"):
                split = data.data.test or data.data.train
                pictures = [*draw_system(folder, module.network, split).values()]
                family = torch.as_tensor(data.data.train.family)
                experts = module.network.mixer.num_experts
                pictures += [
                    draw_routing(folder / "routing.png", history, experts, family),
                    animate_routing(folder / "routing.gif", history, family),
                ]
                shared = module.network.save_pretrained(folder / "model")
                check(module.network, Reconstruction.from_pretrained(shared))
                pictures.append(shared)
    table = markdown("odebench4, 20 of 100 time points, family labels hidden", summaries, [])
    written = write_table(folder, table, {"methods": summaries})
    console = Console()
    console.print(table, markup=False, highlight=False)
    for file in [*written, *pictures]:
        console.print(f"  {file}", highlight=False)
    console.print("The shared model was loaded again and simulates the same trajectories.")
    return folder


@torch.no_grad()
def check(trained: Reconstruction, loaded: Reconstruction) -> None:
    """A shared model must simulate what the trained one does."""
    dim = trained.mixer.experts.dim
    x0, t = torch.zeros(trained.num_environments, 1, dim) + 0.5, torch.linspace(0, 1, 5)
    if not torch.equal(trained(x0, t).states, loaded(x0, t).states):
        raise RuntimeError("the shared model does not simulate what the trained one does")
