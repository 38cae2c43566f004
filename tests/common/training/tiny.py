"""What makes a packaged configuration run in seconds, for each app; and what cannot be run."""

from pathlib import Path

# By key of a configuration, wherever it stands: cheaper values that change nothing else.
CHEAPER = {
    "batch_size": 2,
    "eval_batch_size": 2,
    "batches_per_epoch": 2,
    "inner_steps": 1,
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
}


def own_series(folder: Path) -> str:
    """A file of a user's own."""
    path = folder / "own.csv"
    rows = [f"2021-01-{1 + n // 24:02d} {n % 24:02d}:00:00,{n % 24 + n % 7}" for n in range(720)]
    path.write_text("\n".join(["date,load", *rows]) + "\n")
    return str(path)


# By app and name: files that a user would give.
GIVEN = {"forecasting:*/custom": {"data.init_args.path": own_series}}
