"""What makes a packaged configuration run in seconds, for each app; and what cannot be run."""

import json
from pathlib import Path

from mixtura.forecasting.checkpoints import save_time_moe, time_moe_arguments
from mixtura.forecasting.networks import TimeMoE

# By key of a configuration, wherever it stands: cheaper values that change nothing else.
CHEAPER = {
    "batch_size": 2,
    "eval_batch_size": 2,
    "batches_per_epoch": 2,
    "inner_steps": 1,
    "max_length": 64,
    "outer_steps": 2,
    "num_workers": 0,
}

# By app and name, a pattern of `fnmatch`; each with its reason.
NOT_TRAINED = {"forecasting:naive/*": "it has nothing to learn and is tested instead"}
NOT_SEEDED: dict[str, str] = {}
GENERATED = "it generates its data first"
SLOW = {
    "dynamics:*/odebench10": GENERATED,
    "dynamics:*/glycolytic": GENERATED,
    "dynamics:*/lotka-volterra": GENERATED,
    "dynamics:*/selkov": GENERATED,
    "dynamics:*/noisy-lorenz": GENERATED,
    "dynamics:*/lorenz63": GENERATED,
    "dynamics:dynamix/*": GENERATED,
    "dynamics:*/synthetic-control": "it has 600 environments",
    "forecasting:timemoe/pretrain": "it has 113 million parameters",
}


def own_series(folder: Path) -> str:
    """A file of a user's own."""
    path = folder / "own.csv"
    rows = [f"2021-01-{1 + n // 24:02d} {n % 24:02d}:00:00,{n % 24 + n % 7}" for n in range(720)]
    path.write_text("\n".join(["date,load", *rows]) + "\n")
    return str(path)


def released_time_moe(folder: Path) -> str:
    """A small Time-MoE in the released format."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = {**sizes, "num_attention_heads": 2, "num_experts": 2, "horizon_lengths": [1, 8]}
    place = folder / "released"
    save_time_moe(TimeMoE(**time_moe_arguments(config)), place)
    (place / "config.json").write_text(json.dumps(config))
    return str(place)


def own_systems(folder: Path) -> str:
    """Four systems of a user's own, at times that are not equidistant."""
    place = folder / "systems"
    place.mkdir()
    for number in range(4):
        rows = [f"{n + 0.3 * (n % 3)},{n % 5 + number},{n % 4}" for n in range(14)]
        (place / f"{number}.csv").write_text("\n".join(["t,x,y", *rows]) + "\n")
    return str(place)


# By app and name: files that a user would give.
GIVEN = {
    "dynamics:*/custom": {"data.init_args.name": own_systems},
    "forecasting:*/custom": {"data.init_args.path": own_series},
    "forecasting:timemoe/finetune": {"model.init_args.pretrained": released_time_moe},
}
