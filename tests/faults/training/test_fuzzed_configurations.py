"""Configurations changed at random: each works or is refused in a sentence with exit status 2."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from mixtura.core import to_config
from mixtura.core.errors import InputError
from mixtura.training import AdamW, load_pretrained, save_pretrained
from mixtura.training.checkpoint import CONFIG_KEY, build
from mixtura.training.cli import heavy, lightning
from tests.common.training.configurations import ParserOnly
from tests.e2e.training.toyapp.main import APP, main
from tests.e2e.training.toyapp.model import ToyClassifier, ToyNetwork

TINY = (APP.folder("configs") / "tiny.yaml").read_text()
TOKENS = (
    "{", "}", "[", "]", ":", ": ", "- ", "&a ", "*a", "!!", "|", ">", "%", "@", "`", "#", "'", '"',
    "\t", "\x00", "\x07", "﻿", "é", "${", "${data}", "${oc.env:HOME}", "null", "~", "<<: *a",
    "---\n", "...\n", "? ", "1e999", ".nan", "0x", "2001-01-01", "!!binary x", "[" * 3000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3, 2.5, float("nan"), float("inf"), "", "eight", "a.b.C", "os.system",
    [], [1, "two"], {}, {"class_path": "os.system"}, {"class_path": "subprocess.Popen"},
    {"class_path": 3}, {"class_path": "mixtura.training.SGD", "init_args": {"lr": "fast"}},
    {"init_args": {"dim": 3}}, {"class_path": "tests.e2e.training.toyapp.model.ToyNetwork"},
    "${data.init_args.dim}", "${no.such.key}", "${", -(10**30),
)  # fmt: skip


def changed_text(draw: random.Random, marker: Path) -> bytes:
    """A file with some characters or lines removed, doubled, moved, or replaced."""
    text = TINY
    for _ in range(draw.randrange(1, 5)):
        kind, at = draw.randrange(8), draw.randrange(len(text) + 1)
        end = min(len(text), at + draw.randrange(1, 30))
        lines = text.splitlines(keepends=True) or [""]
        line = draw.randrange(len(lines))
        if kind == 0:
            text = text[:at] + text[end:]
        elif kind == 1:
            text = text[:at] + draw.choice(TOKENS) + text[end:]
        elif kind == 2:
            text = text[:at] + draw.choice(TOKENS) + text[at:]
        elif kind == 3:
            text = "".join([*lines[:line], " " * draw.randrange(1, 5), *lines[line:]])
        elif kind == 4:
            text = "".join([*lines[: line + 1], *lines[line:]])
        elif kind == 5:
            text = "".join([*lines[:line], *lines[line + 1 :]])
        elif kind == 6:
            text = text[:at]
        else:
            hostile = f"hostile: !!python/object/apply:os.system ['touch {marker}']\n"
            text = "".join([*lines[:line], hostile, *lines[line:]])
    content = text.encode()
    if draw.random() < 0.1:
        at = draw.randrange(len(content) + 1)
        content = content[:at] + draw.randbytes(3) + content[at:]
    return content


def changed_tree(draw: random.Random, tree: dict[str, Any] | None = None) -> dict[str, Any]:
    """A tree with keys misspelt, removed, moved or given another value."""
    tree = yaml.safe_load(TINY) if tree is None else deepcopy(tree)
    for _ in range(draw.randrange(1, 3)):
        holder, key = draw.choice(list(places(tree)))
        kind = draw.randrange(4)
        if kind == 0:
            holder[key[: draw.randrange(len(key))] + draw.choice("xyz_.9")] = holder.pop(key)
        elif kind == 1:
            del holder[key]
        elif kind == 2:
            holder[key] = deepcopy(draw.choice(VALUES))
        else:
            other, _ = draw.choice(list(places(tree)))
            other[draw.choice(["dim", "network", "lr", "max_epochs", "class_path"])] = deepcopy(
                draw.choice(VALUES)
            )
        if not tree:
            break
    return tree


def places(tree: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every mapping with each of its keys."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from places(value)


def said(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    """What a refusal says: at most five lines that begin with the program's name."""
    text = capsys.readouterr().err
    if status == 0:
        return ""
    assert status == 2
    assert text.startswith("mixtura-toy: error: "), text
    assert len(text.splitlines()) <= 5, text
    assert len(text) > 40, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_files_changed_at_random(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    """The light half of the command line, which reads every file first."""
    monkeypatch.setattr(heavy, "run", lambda *_, **__: 0)
    path, marker = tmp_path / "changed.yaml", tmp_path / "marker"
    refused = 0
    for number in range(count):
        path.write_bytes(changed_text(random.Random(number), marker))
        refused += bool(said(main(["fit", f"--config={path}"]), capsys))
    assert not marker.exists()
    assert count // 4 < refused < count


@pytest.mark.parametrize(
    "count", [40, pytest.param(800, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_trees_changed_at_random(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    """The whole command line up to the point where a run would begin."""

    lightning.quiet()
    tiny = APP.folder("configs") / "tiny.yaml"
    parser: Any = ParserOnly(APP, ["fit", f"--config={tiny}"]).parser

    def build(app: Any, args: list[str]) -> None:
        parser.instantiate(parser.parse_args(args))

    monkeypatch.setattr(lightning, "run_lightning", build)
    path = tmp_path / "changed.yaml"
    refused = 0
    for number in range(count):
        draw = random.Random(number)
        path.write_text(yaml.safe_dump(changed_tree(draw)))
        try:
            refused += bool(said(main(["fit", f"--config={path}"]), capsys))
        except Exception as error:
            raise AssertionError(f"{number}: {path.read_text()}") from error
    assert count // 4 < refused < count


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_configurations_of_models_changed_at_random(tmp_path: Path, count: int) -> None:
    """`config.json` of a shared model and the tree in a checkpoint: a model, or our sentence."""
    module = ToyClassifier(ToyNetwork(), AdamW())
    save_pretrained(module.network, tmp_path)
    config = tmp_path / "config.json"
    shared, kept = json.loads(config.read_text()), to_config(module)
    sentences = []
    for number in range(count):
        draw = random.Random(number)
        config.write_text(json.dumps(changed_tree(draw, shared)))
        try:
            assert isinstance(load_pretrained(tmp_path), nn.Module)
        except InputError as error:
            sentences.append(str(error))
        try:
            build({CONFIG_KEY: changed_tree(draw, kept)}, config, ToyClassifier)
        except InputError as error:
            sentences.append(str(error))
    assert count // 2 < len(sentences) < 2 * count
    assert min(map(len, sentences)) > 30
