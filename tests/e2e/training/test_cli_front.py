"""What the command line answers without torch, and how fast."""

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.training.toyapp.main import main


def ask(*args: str) -> int:
    return main(list(args))


def test_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("--help") == ask() == 0
    text = capsys.readouterr().out
    for verb in ("fit", "validate", "test", "predict", "benchmark", "export", "inspect", "configs"):
        assert f"  {verb} " in text
    assert "mixtura-toy fit --config" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("--version") == 0
    assert "torch 2." in capsys.readouterr().out


def test_configs(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("configs") == 0
    assert "tiny          Tiny classifier on made points." in capsys.readouterr().out
    assert ask("configs", "more") == 0
    assert "tiny" not in capsys.readouterr().out
    assert ask("configs", "show", "tiny") == 0
    assert "seed_everything: 1" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("completion", shell) == 0
    text = capsys.readouterr().out
    assert "more-experts tiny" in text
    assert "toys" in text
    assert "ToyClassifier" in text
    assert "{" not in text.replace("${", "").replace("_mixtura_toy() {", "")
    assert len(text) < 20_000


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_takes_the_script(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    ask("completion", shell)
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["fit", "--config", "ti"], ["tiny"]),
        (["fit", "--config", "=", "ti"], ["tiny"]),
        (["fit", "-c", "more"], ["more-experts"]),
        (["ins"], ["inspect"]),
        (["fit", "--trainer.max_e"], ["--trainer.max_epochs"]),
        (["fit", "--model", "Toy"], ["ToyClassifier"]),
        (["fit", "--model.init_args.network", ""], ["ToyNetwork"]),
        (["fit", "--model.init_args.optimizer", "A"], ["AdamW"]),
        (["export", "--me"], ["--measure"]),
        (["inspect", "--comp"], ["--compare"]),
        (["benchmark", "to"], ["toys"]),
        (["benchmark", "toys", "--q"], ["--quick"]),
        (["completion", "f"], ["fish"]),
        (["test", "--ckpt_path", "last"], ["last.ckpt"]),
    ],
)
def test_completion_works_in_bash(
    words: list[str], offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask("completion", "bash")
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "last.ckpt").touch()
    typed = " ".join(f"'{word}'" for word in ["mixtura-toy", *words])
    command = (
        f"source ./script; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _mixtura_toy; "
        "echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("insp", "inspect"),
        ("fit --config ti", "tiny"),
        ("fit --model T", "ToyClassifier"),
        ("test --trainer.max_e", "--trainer.max_epochs"),
        ("inspect --comp", "--compare"),
    ],
)
def test_completion_works_in_fish(
    typed: str, offered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask("completion", "fish")
    (tmp_path / "script").write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script; complete -C 'mixtura-toy {typed}'"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [offered]


ZSHRC = """
fpath=($ZDOTDIR $fpath)
autoload -Uz compinit
compinit -u -D
write-line() { print -r -- "$BUFFER" >> $ZDOTDIR/lines; zle kill-whole-line }
zle -N write-line
bindkey '^]' write-line
PROMPT='ready> '
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_completion_works_in_zsh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Typed at a terminal, with Tab behind each line; the first one loads the script."""
    completed = {
        "insp": "inspect ",
        "fit --config ti": "fit --config tiny ",
        "fit --config=ti": "fit --config=tiny ",
        "fit --model ToyC": "fit --model ToyClassifier ",
        "fit --trainer.max_e": "fit --trainer.max_epochs ",
        "inspect --comp": "inspect --compare ",
        "benchmark to": "benchmark toys ",
        "completion f": "completion fish ",
        "test --ckpt_path las": "test --ckpt_path last.ckpt ",
        "test --ckpt_path=las": "test --ckpt_path=last.ckpt ",
    }
    ask("completion", "zsh")
    (tmp_path / "_mixtura-toy").write_text(capsys.readouterr().out)
    (tmp_path / ".zshrc").write_text(ZSHRC)
    (tmp_path / "last.ckpt").touch()
    terminal, shells_end = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-i"],
        cwd=tmp_path,
        env={**os.environ, "ZDOTDIR": str(tmp_path), "TERM": "dumb"},
        stdin=shells_end,
        stdout=shells_end,
        stderr=shells_end,
        start_new_session=True,
    )
    os.close(shells_end)
    try:
        wait_for(terminal, "ready> ")
        for typed in completed:
            os.write(terminal, f"mixtura-toy {typed}\t\x1d".encode())
        wait_for(terminal, lambda: count(tmp_path / "lines") == len(completed))
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
    lines = (tmp_path / "lines").read_text().splitlines()
    assert lines == [f"mixtura-toy {line}" for line in completed.values()]


def wait_for(terminal: int, sign: str | Callable[[], bool]) -> None:
    """Read what the shell says until it says `sign`, or until something is so."""
    said, deadline = "", time.monotonic() + 60
    while not (sign in said if isinstance(sign, str) else sign()):
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 0.05)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")


def count(path: Path) -> int:
    """The lines of a file that may not be there."""
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("fot",), "did you mean fit"),
        (("--config", "tiny"), "expected a subcommand first"),
        (("fit", "--config", "tny"), "the nearest names are tiny"),
        (("fit", "-c", "tny"), "the nearest names are tiny"),
        (("fit", "--config=tny.yaml"), "tiny"),
        (("fit", "--config"), "needs a value"),
        (("fit",), "fit needs a configuration (--config)"),
        (("fit", "--conifg", "tiny"), "did you mean --config by --conifg?"),
        (("test", "--trainer.max_steps=2"), "test needs a configuration"),
        (("benchmark", "zzz"), "there are toys"),
        (("benchmark",), "benchmark needs a recipe first; there are toys"),
        (("benchmark", "--quick"), "benchmark needs a recipe first; there are toys"),
        (("test", "--ckpt_path", "lost.ckpt"), "no such file"),
        (("benchmark", "toyz"), "the nearest names are toys"),
        (("configs", "nothing-like-it"), "no packaged configuration"),
        (("completion", "tcsh"), "expected a shell (bash, zsh, fish)"),
    ],
)
def test_mistakes(args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(*args) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) <= 5
    assert "Traceback" not in said


def test_a_lost_checkpoint_names_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lost = ("test", "--ckpt_path", "runs/tiny/3/checkpoints/lost.ckpt")
    assert ask(*lost) == 2
    assert "`fit` writes them below runs/" in capsys.readouterr().err
    for number in "01":
        folder = tmp_path / "runs" / "tiny" / number / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "best.ckpt").touch()
        os.utime(folder / "best.ckpt", (int(number), int(number)))
    assert ask(*lost) == 2
    newest = "runs/tiny/1/checkpoints/best.ckpt, runs/tiny/0/checkpoints/best.ckpt"
    assert newest in capsys.readouterr().err
    assert ask("test", "--ckpt_path", "runs/tiny/1/checkpoints/bets.ckpt") == 2
    assert "has best.ckpt" in capsys.readouterr().err


def test_files_that_are_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    for content, words in (
        (b"a: [1\nb: 2", "line 2"),
        (b"- 1\n- 2", "holds list"),
        (b"\xff\xfe\x00weights", "not a text file"),
        (b"", "holds NoneType"),
    ):
        path.write_bytes(content)
        assert ask("fit", "--config", str(path)) == 2
        assert words in capsys.readouterr().err
    assert ask("fit", "--config", str(tmp_path)) == 2
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "mine.yaml").touch()
    assert ask("fit", "--config", str(tmp_path / "mien.yaml")) == 2
    assert f"the nearest names are {tmp_path / 'mine.yaml'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["configs"],
        ["configs", "show", "tiny"],
        ["completion", "fish"],
        ["fot"],
        ["fit", "--config", "x"],
        ["fit", "--ckpt_path", "x"],
    ],
)
def test_answers_within_a_second_without_torch(args: list[str], repository: Path) -> None:
    code = (
        "import sys\nfrom tests.e2e.training.toyapp.main import main\n"
        f"status = main({args!r})\n"
        "assert 'torch' not in sys.modules and 'pytorch_lightning' not in sys.modules\n"
        "sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == (2 if args[0][0] == "f" else 0), done.stderr
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < 1, f"{took:.2f} s of the processor, which is 0.1 s when nothing else runs"


def test_a_closed_pipe_ends_quietly(repository: Path) -> None:
    code = "import sys; from tests.e2e.training.toyapp.main import main; sys.exit(main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=closed, stderr=subprocess.PIPE, cwd=repository
        )
    assert done.returncode == 141
    assert done.stderr == b""
