"""Every packaged configuration of every app: parsed, printed, built, trained for two steps."""

import math
from importlib import import_module
from pathlib import Path

import pytest
import torch

from mixtura.core import from_config, to_config
from mixtura.training import Trainer
from mixtura.training.testing import apps
from tests.common.training.configurations import Packaged, packaged, values
from tests.common.training.tiny import GIVEN, NOT_SEEDED, NOT_TRAINED, SLOW

EVERY = pytest.mark.parametrize("packaged", packaged(), ids=lambda each: each.id)
QUICK_FIRST = pytest.mark.parametrize(
    "packaged",
    [
        pytest.param(each, id=each.id, marks=[pytest.mark.slow] if each.matching(SLOW) else [])
        for each in packaged()
    ],
)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_app_has_configurations() -> None:
    assert {each.app.name for each in packaged()} == {app.name for app in apps()}


@EVERY
def test_it_says_what_it_is_and_sets_the_seed(packaged: Packaged) -> None:
    first = packaged.path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20
    assert isinstance(packaged.tree.get("seed_everything"), int) or packaged.matching(NOT_SEEDED)


@EVERY
def test_it_names_no_path_of_a_machine(packaged: Packaged) -> None:
    for value in values(packaged.tree):
        text = str(value)
        assert not text.startswith(("/", "~"))
        assert ":\\" not in text
        assert not any(part in text for part in ("/home/", "/Users/", "/mnt/"))


@EVERY
def test_printed_and_parsed_again_it_is_the_same(packaged: Packaged, tmp_path: Path) -> None:
    """No key is unknown either: the parser refuses those."""
    printed = packaged.printed(packaged.path)
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    assert packaged.printed(again) == printed


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
@QUICK_FIRST
def test_it_trains_two_steps(packaged: Packaged, tmp_path: Path) -> None:
    """From the parsed tree; the trees of model and data build the same again."""
    module, data = packaged.built(tmp_path)
    for part in (module, data):
        tree = to_config(part)
        assert to_config(from_config(tree)) == tree
    trainer = Trainer(
        fast_dev_run=2, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False
    )
    if packaged.matching(NOT_TRAINED):
        assert not any(p.requires_grad for p in module.parameters())
        figures = trainer.test(module, datamodule=data, verbose=False)[0]
        assert figures
    else:
        before = [p.detach().clone() for p in module.parameters()]
        trainer.fit(module, datamodule=data)
        figures = trainer.callback_metrics
        assert trainer.global_step > 0
        assert not all(map(torch.equal, before, module.parameters()))
    assert all(math.isfinite(value) for value in figures.values())


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
@pytest.mark.slow
@EVERY
def test_the_command_runs_it(packaged: Packaged, tmp_path: Path) -> None:
    main = import_module(f"{packaged.app.package}.main").main
    arguments = [
        "test" if packaged.matching(NOT_TRAINED) else "fit",
        f"--config={packaged.name}",
        *packaged.tiny(tmp_path),
        "--trainer.fast_dev_run=2",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]
    assert main(arguments) == 0


def test_exceptions_have_reasons_and_something_to_except() -> None:
    for table in (NOT_TRAINED, NOT_SEEDED, SLOW):
        assert all(table.values())
    for pattern in (*NOT_TRAINED, *NOT_SEEDED, *SLOW, *GIVEN):
        assert any(each.matching({pattern: True}) for each in packaged()), pattern
