"""The light half of every command line: what needs no model is said without importing torch."""

import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mixtura.training.cli import names
from mixtura.training.cli.app import LIGHTNING, App
from mixtura.training.cli.completion import SHELLS, script
from mixtura.training.cli.mistakes import Mistake, report

__all__ = ["run_app"]

CONFIG_FLAGS = ("--config", "-c")
FILE_FLAGS = ("--ckpt_path",)
ENOUGH = (*CONFIG_FLAGS, *FILE_FLAGS, "--model", "--print_config", "--help", "-h")
KEYWORDS = ("best", "last", "hpc")


def run_app(app: App, args: Sequence[str] | None = None) -> int:
    """Run an app's command line and return its exit status.

    0: done; 1: an error of ours, with its traceback; 2: a mistake of the user's, in a sentence;
    130 and 143: interrupted and terminated, after the step was finished and saved; 141: whoever
    read the output (`head`, a pager) has closed it.

    Args:
        app: The app.
        args: Arguments after the program's name; those of the process by default.
    """
    args = list(sys.argv[1:] if args is None else args)
    traceback = "--traceback" in args
    args = [arg for arg in args if arg != "--traceback"]
    try:
        done = _answer(app, args)
        if done:
            sys.stdout.flush()
            return 0
        args = _prepared(app, args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 141
    except Mistake as mistake:
        if traceback:
            raise
        return report(app.program, mistake.wrong, mistake.remedy)
    heavy = import_module("mixtura.training.cli.heavy")
    return heavy.run(app, args, traceback=traceback)


def _answer(app: App, args: list[str]) -> bool:
    """Answer what needs no model; whether that was all."""
    verb = args[0] if args else "--help"
    if verb in ("--help", "-h", "help"):
        sys.stdout.write(help_page(app))
    elif verb in ("--version", "-V"):
        sys.stdout.write(versions(app))
    elif verb == "configs":
        _configs(app, args[1:])
    elif verb == "completion":
        shell = args[1] if len(args) > 1 else ""
        if shell not in SHELLS:
            raise Mistake(f"expected a shell ({', '.join(SHELLS)}), got {shell!r}")
        sys.stdout.write(script(app, shell))
    elif verb.startswith("-"):
        raise Mistake(
            f"expected a subcommand first, got {verb!r}; there are {', '.join(_verbs(app))}",
            f"options come after it: {app.program} fit {verb} ...",
        )
    elif verb not in _verbs(app):
        near = names.nearest(verb, _verbs(app)) or _verbs(app)
        raise Mistake(
            f"there is no subcommand {verb!r}; did you mean {', '.join(near)}?",
            f"`{app.program} --help` says what each does",
        )
    else:
        return False
    return True


def _verbs(app: App) -> list[str]:
    return [*app.summaries(), "configs", "completion"]


def _prepared(app: App, args: list[str]) -> list[str]:
    """The arguments with packaged names replaced by paths; files that are not there are refused."""
    verb, *rest = args
    if verb in LIGHTNING and not any(arg.split("=")[0].split(".")[0] in ENOUGH for arg in rest):
        raise _no_configuration(app, verb, rest)
    folder = app.folder("configs")
    out = [verb]
    position = 0
    while position < len(rest):
        arg = rest[position]
        flag, equals, value = arg.partition("=")
        if flag in (*CONFIG_FLAGS, *FILE_FLAGS):
            if not equals:
                position += 1
                if position == len(rest):
                    raise Mistake(f"{flag} needs a value", f"for example: {flag} {_example(app)}")
                value = rest[position]
            if flag in CONFIG_FLAGS:
                path = names.find(value, folder, "configuration", app.program)
                readable(path, app.program)
                value = str(path)
            elif value not in KEYWORDS and "://" not in value and not Path(value).exists():
                raise Mistake(f"{flag} {value}: there is no such file", _nearby(Path(value)))
            out.append(f"{flag}={value}" if flag.startswith("--") else flag)
            if not flag.startswith("--"):
                out.append(value)
        else:
            out.append(arg)
        position += 1
    spec = app.functions().get(verb)
    if spec is not None and spec.names and not {"--help", "-h"} & set(out):
        recipes = app.folder(spec.names)
        if len(out) == 1 or out[1].startswith("-"):
            raise Mistake(
                f"{verb} needs a recipe first; there are {', '.join(names.available(recipes))}",
                f"for example: {app.program} {verb} {next(iter(names.available(recipes)))} --quick",
            )
        out[1] = str(names.find(out[1], recipes, "recipe", app.program))
    return out


def _no_configuration(app: App, verb: str, rest: list[str]) -> Mistake:
    """What to do who named neither a configuration nor a model nor a checkpoint."""
    flags = [arg.split("=")[0] for arg in rest if arg.startswith("-")]
    close = (names.nearest(flag, ["--config", "--ckpt_path", "--model"], 1) for flag in flags)
    meant = next(
        (f"; did you mean {near[0]} by {f}?" for f, near in zip(flags, close, strict=True) if near),
        "",
    )
    return Mistake(
        f"{verb} needs a configuration (--config), or a checkpoint to take it from (--ckpt_path)"
        + meant,
        f"for example: {app.program} {verb} --config {_example(app)}; `{app.program} configs` "
        "lists them all",
    )


def readable(path: Path, program: str) -> None:
    """Refuse a configuration file that cannot be read, is not text or is not YAML."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Mistake(
            f"{path}{where}: not valid YAML, {error.problem}", "look at the indentation and quotes"
        ) from None
    except UnicodeDecodeError:
        raise Mistake(
            f"{path} is not a text file", "a configuration is YAML; use --ckpt_path for weights"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        said = " ".join(str(error).split())
        raise Mistake(f"{path} is not valid YAML: {said}") from None
    except RecursionError:
        raise Mistake(f"{path} is nested too deeply", "look for brackets without an end") from None
    except OSError as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(content, dict):
        raise Mistake(
            f"{path} holds {type(content).__name__}, expected keys such as model, data, trainer",
            f"`{program} configs show NAME` prints one that is packaged",
        )


def _example(app: App) -> str:
    known = list(names.available(app.folder("configs")))
    return known[0] if known else "run.yaml"


def _nearby(path: Path) -> str:
    """The names like that of the missing file in its folder, else the newest checkpoints."""
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    near = names.nearest(path.name, sorted(item.name for item in parent.iterdir()))
    if near:
        return f"{parent}{os.sep} has {', '.join(near)}"
    newest = sorted(
        Path().glob("runs/*/*/checkpoints/*.ckpt"), key=lambda each: each.stat().st_mtime
    )
    listed = ", ".join(str(each) for each in newest[:-4:-1])
    return f"the newest checkpoints are {listed}" if listed else "`fit` writes them below runs/"


def _configs(app: App, rest: list[str]) -> None:
    known = names.available(app.folder("configs"))
    if rest[:1] == ["show"] and len(rest) == 2:
        path = names.find(rest[1], app.folder("configs"), "configuration", app.program)
        sys.stdout.write(path.read_text(encoding="utf-8"))
        return
    word = rest[0] if rest else ""
    chosen = {name: path for name, path in known.items() if word in name}
    if not chosen:
        near = names.nearest(word, list(known))
        raise Mistake(
            f"no packaged configuration contains {word!r} in its name"
            + (f"; the nearest are {', '.join(near)}" if near else ""),
            f"`{app.program} configs` lists all {len(known)}",
        )
    width = max(len(name) for name in chosen)
    for name, path in chosen.items():
        sys.stdout.write(f"{name:<{width}}  {names.describe(path)}".rstrip() + "\n")


def versions(app: App) -> str:
    """The versions that a bug report needs, read without importing anything."""
    own = app.distribution or f"mixtura-app-{app.name}"
    lines = []
    for name in (own, "mixtura-core", "torch", "pytorch-lightning"):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        lines.append(f"{name} {found}")
    return f"{app.program} " + ", ".join(lines) + f", python {sys.version.split()[0]}\n"


def help_page(app: App) -> str:
    """The page of `--help`."""
    summaries = app.summaries()
    summaries["configs"] = "list the packaged configurations; `configs show NAME` prints one"
    summaries["completion"] = f"print the completion script for {' or '.join(SHELLS)}"
    width = max(len(name) for name in summaries)
    lines = [f"usage: {app.program} SUBCOMMAND [options]", "", textwrap.fill(app.summary, 100), ""]
    for name, summary in summaries.items():
        lines.append(f"  {name:<{width}}  {summary}")
    example = _example(app)
    examples = app.examples or (
        f"{app.program} fit --config {example}",
        f"{app.program} fit --config {example} --trainer.max_epochs 3",
        f"{app.program} fit --config {example} --config my-changes.yaml",
    )
    lines += [
        "",
        f"`{app.program} SUBCOMMAND --help` lists its options; --print_config prints the whole",
        "configuration; --traceback shows where an error came from.",
        "",
        "examples:",
        *(f"  {line}" for line in examples),
    ]
    return "\n".join(lines) + "\n"
