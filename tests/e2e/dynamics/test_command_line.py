"""The dynamics command line on generated data, small."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mixtura.apps.dynamics.configurations import CONFIGS, build, read
from mixtura.apps.dynamics.main import main
from mixtura.dynamics import DynamicsModule, Reconstruction
from mixtura.training.cli.names import available

SMALL = (
    "--config=mixer/odebench4",
    "--model.init_args.recipe.init_args.outer_steps=4",
    "--model.init_args.recipe.init_args.inner_steps=3",
    "--data.init_args.batches_per_epoch=2",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
)
FEW = (
    "--data.init_args.max_environments=3",
    "--model.init_args.network.init_args.num_environments=3",
)
STEPS = ("--model.init_args.adaptation.init_args.steps=3",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    assert main(["fit", *SMALL, *STEPS, f"--trainer.default_root_dir={root}"]) == 0
    return root / "mixer-odebench4" / "0"


def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "last.ckpt"


def test_fit_logs_every_outer_step(trained: Path) -> None:
    figures = pd.read_csv(trained / "metrics.csv")
    assert figures["train/loss"].notna().sum() == 4
    module = DynamicsModule.load_from_checkpoint(checkpoint(trained))
    assert isinstance(module.network, Reconstruction)


def test_a_stopped_run_continues_with_the_same_losses(trained: Path, tmp_path: Path) -> None:
    half = [a for a in SMALL if "max_epochs" not in a]
    root = f"--trainer.default_root_dir={tmp_path}"
    assert main(["fit", *half, *STEPS, "--trainer.max_epochs=1", root]) == 0
    first = tmp_path / "mixer-odebench4" / "0"
    resumed = [*half, *STEPS, "--trainer.max_epochs=2", root]
    assert main(["fit", *resumed, f"--ckpt_path={checkpoint(first)}"]) == 0
    whole = pd.read_csv(trained / "metrics.csv")["train/last_loss"].dropna().tolist()
    rest = pd.read_csv(first.with_name("1") / "metrics.csv")["train/last_loss"].dropna().tolist()
    assert rest == whole[2:]


def test_an_explosion_is_reported_and_training_goes_on(tmp_path: Path, capfd, caplog) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    shown = [a for a in SMALL if "progress" not in a]
    steep = "--model.init_args.recipe.init_args.lr=1000"
    with caplog.at_level("INFO"):
        assert main(["fit", *shown, *STEPS, steep, root]) == 0
    said = "".join(capfd.readouterr()) + caplog.text
    assert "outer step 4: environment 0, trajectory 0 grew beyond the bound at t =" in said
    assert "lower the recipe's lr" in said
    (path,) = tmp_path.rglob("metrics.csv")
    assert (pd.read_csv(path)["failures"].dropna() > 0).tolist() == [True] * 4


def test_double_precision(tmp_path: Path) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert main(["fit", *SMALL, *STEPS, "--trainer.precision=64-true", root]) == 0
    (path,) = tmp_path.rglob("last.ckpt")
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert weights["network.contexts"].dtype is torch.float64


def test_test_scores_both_domains(trained: Path, tmp_path: Path, capsys) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert main(["test", f"--ckpt_path={checkpoint(trained)}", root]) == 0
    out = capsys.readouterr().out
    assert "test/mse" in out
    assert "test/out_of_domain/mse" in out
    assert "test/families/purity" in out


def test_predict_writes_a_table_and_portraits(trained: Path, tmp_path: Path, capsys) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert main(["predict", f"--ckpt_path={checkpoint(trained)}", root]) == 0
    assert "640 trajectories of 20 environments" in capsys.readouterr().out
    (written,) = tmp_path.rglob("trajectories.csv")
    table = pd.read_csv(written)
    states = ["true_0", "true_1", "model_0", "model_1"]
    assert list(table) == ["environment", "expert", "trajectory", "t", *states]
    assert len(table) == 20 * 32 * 20
    starts = table[table["t"] == 0]
    np.testing.assert_allclose(starts["true_0"], starts["model_0"], rtol=1e-5)
    assert written.with_name("portraits.png").stat().st_size > 5000


def test_a_folder_of_files_with_irregular_times(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number, rate in enumerate((1.0, 1.2, -1.0, -1.2)):
        t = np.sort(random.uniform(0, 3, 14))
        table = pd.DataFrame({"t": t, "x": np.cos(rate * t), "y": -np.sin(rate * t)})
        table.to_csv(tmp_path / f"system-{number}.csv", index=False)
    root = tmp_path / "runs"
    network = "--model.init_args.network.init_args"
    experts = f"{network}.mixer.init_args.experts.init_args"
    mine = [f"--data.init_args.name={tmp_path}", "--data.init_args.stride=1"]
    mine += [
        f"{network}.num_environments=4",
        f"{experts}.num_experts=2",
        f"{experts}.context_dim=4",
    ]
    assert main(["fit", *SMALL, *STEPS, *mine, f"--trainer.default_root_dir={root}"]) == 0
    (path,) = root.rglob("last.ckpt")
    assert main(["predict", f"--ckpt_path={path}", f"--trainer.default_root_dir={root}"]) == 0
    shared = tmp_path / "shared"
    assert main(["export", f"--ckpt_path={path}", f"--to={shared}"]) == 0
    assert Reconstruction.from_pretrained(shared).num_environments == 4
    (written,) = root.rglob("trajectories.csv")
    assert len(pd.read_csv(written)) == 4 * 14
    out = tmp_path / "adapted"
    assert (
        main(["adapt", f"--ckpt_path={path}", f"--data={tmp_path}", "--steps=2", f"--out={out}"])
        == 0
    )
    assert len(json.loads((out / "scores.json").read_text())["mse"]) == 4


def test_adapt_inspect_export(trained: Path, tmp_path: Path) -> None:
    path = f"--ckpt_path={checkpoint(trained)}"
    out = f"--out={tmp_path / 'adapt'}"
    assert main(["adapt", path, "--data=odebench4", "--stride=5", "--steps=2", out]) == 0
    scores = json.loads((tmp_path / "adapt" / "scores.json").read_text())
    assert len(scores["mse"]) == 4
    tuning = ["--steps=1", "--fine_tune_steps=1", f"--out={tmp_path / 'tuned'}"]
    assert main(["adapt", path, "--data=odebench4", "--stride=5", *tuning]) == 0
    assert isinstance(Reconstruction.from_pretrained(tmp_path / "tuned" / "model"), Reconstruction)
    assert main(["inspect", path, f"--to={tmp_path / 'pictures'}"]) == 0
    pictures = {p.name: p.stat().st_size for p in (tmp_path / "pictures").iterdir()}
    assert {"portraits.png", "contexts.png", "gate.png", "fields.png"} <= set(pictures)
    assert {"index.html", "load.png", "entropy.png", "by-family.png"} <= set(pictures)
    assert "Vector fields" in (tmp_path / "pictures" / "index.html").read_text()
    assert min(pictures.values()) > 5000
    assert main(["export", path, f"--to={tmp_path / 'model'}", "--measure=false"]) == 0
    shared = Reconstruction.from_pretrained(tmp_path / "model")
    kept = DynamicsModule.load_from_checkpoint(checkpoint(trained)).network
    x0, t = torch.ones(20, 1, 2), torch.linspace(0, 1, 4)
    assert torch.equal(shared(x0, t).states, kept(x0, t).states)


def test_dynamix_is_trained_tested_and_asked(tmp_path: Path, capsys) -> None:
    few = ["context=30", "steps=6", "horizon=40", "batch_size=2", "batches_per_epoch=2"]
    made = np.random.default_rng(0).normal(size=(1, 1, 120, 3)).cumsum(2)
    np.savez(tmp_path / "walk.npz", X=made, t=np.arange(120.0))
    data = [f"--data.init_args.{option}" for option in few]
    data.append(f"--data.init_args.name={tmp_path / 'walk.npz'}")
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    short = ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", root]
    assert main(["fit", "--config=dynamix/chaotic", *data, *short]) == 0
    (path,) = (tmp_path / "runs").rglob("last.ckpt")
    assert main(["test", f"--ckpt_path={path}", root]) == 0
    assert "test/d_stsp" in capsys.readouterr().out
    assert main(["adapt", f"--ckpt_path={path}", "--data=odebench4"]) == 2
    assert "DynaMixModule, which has no environments" in capsys.readouterr().err


def test_generate_data(tmp_path: Path) -> None:
    assert main(["generate-data", "--name=lotka_volterra", f"--out={tmp_path}"]) == 0
    with np.load(tmp_path / "lotka_volterra" / "train.npz") as archive:
        assert archive["X"].shape == (9, 4, 20, 2)


def test_benchmark_continues_where_it_stopped(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "title: tiny\nseeds: [0]\nmethods:\n- name: single\n  config: single/odebench4\n"
        "  changes: {model: {init_args: {adaptation: {init_args: {steps: 1}},"
        " recipe: {init_args: {outer_steps: 1, inner_steps: 2}}}}}\n"
        "quoted:\n- {name: other, source: paper}\n"
    )
    command = ["benchmark", str(recipe), f"--out={tmp_path / 'out'}"]
    assert main(command) == 0
    (run,) = (tmp_path / "out" / "tiny" / "runs").glob("*.json")
    written = run.stat().st_mtime_ns
    assert main(command) == 0
    assert run.stat().st_mtime_ns == written
    table = (tmp_path / "out" / "tiny" / "table.md").read_text()
    assert "**single** (ours)" in table
    assert "other (paper)" in table
    assert f"`mixtura-dynamics benchmark {recipe}`" in table
    assert main([*command, "--quick"]) == 0
    quick = (tmp_path / "out" / "tiny-quick" / "table.md").read_text()
    assert "quick: not the published setting" in quick
    assert f"benchmark {recipe} --quick`" in quick


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: x\n", "must have title, methods, seeds"),
        ("", "must have title, methods, seeds"),
        ("title: ${nowhere}", "not a readable recipe"),
        ("{title: x, seeds: [0], methods: [single/odebench4]}", "a method needs `name`"),
        ("{title: x, seeds: [0], seed: 1, methods: [{name: a, config: b}]}", "unknown keys"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text, words, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main(["benchmark", str(path), f"--out={tmp_path}"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", sorted(available(CONFIGS)))
def test_every_configuration_takes_a_step(name: str) -> None:
    slow = (
        "custom",
        "odebench10",
        "glycolytic",
        "noisy-lorenz",
        "lorenz63",
        "dynamix/",
        "synthetic",
    )
    if any(part in name for part in slow):
        pytest.skip("the common checks train it among the slow ones")
    tree = read(name)
    recipe = tree["model"]["init_args"]["recipe"]["init_args"]
    recipe["outer_steps"] = 1
    for key in ("inner_steps", "context_steps", "model_steps"):
        if key in recipe:
            recipe[key] = 1
    recipe.setdefault("inner_steps", 1) if "WindowedTraining" in str(
        tree["model"]["init_args"]["recipe"]["class_path"]
    ) else None
    module, data = build(tree, 0)
    scaled = module.network.scaled(data.train)
    optimisers = module.recipe.optimisers(module.network)
    report = module.recipe.step(0, module.network, scaled, optimisers, torch.Generator())
    assert np.isfinite(report.loss)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["generate-data", "--name=odebnch4"], "odebench4"),
        (["fit", "--config=mixer/odebench5"], "odebench4"),
        (["fit", *SMALL, "--data.init_args.name=odebnch4"], "odebench4"),
        (["fit", *SMALL, "--model.init_args.network.init_args.num_environments=7"], "20"),
        (["fit", *SMALL, "--data.init_args.val_trajectories=4"], "val_trajectories"),
        (["fit", *SMALL, *FEW], "4 experts are more than the 3 environments"),
    ],
)
def test_mistakes_end_with_status_two(args: list[str], words: str, tmp_path, capsys) -> None:
    extra = [f"--trainer.default_root_dir={tmp_path}"] if args[0] == "fit" else []
    assert main([*args, *extra]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) <= 5
