"""The heavy half: Lightning is imported here, and nowhere before."""

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from traceback import walk_tb
from typing import Any

from mixtura.core.errors import InputError
from mixtura.training.cli.app import LIGHTNING, App
from mixtura.training.cli.mistakes import FAILED, INTERRUPTED, Mistake, report

__all__ = ["run"]

LOADER = "torch.utils.data.dataloader"


def run(app: App, args: Sequence[str], *, traceback: bool = False) -> int:
    """Run a verb that needs torch, and turn typed input errors (nothing else) into status 2.

    Args:
        app: The app.
        args: The verb and its options, packaged names already replaced by paths.
        traceback: Show where an input error came from.
    """
    from mixtura.core import ConfigError
    from mixtura.training.cli.parsing import ParseError

    try:
        if args[0] in LIGHTNING:
            from mixtura.training.cli.lightning import run_lightning

            run_lightning(app, list(args))
        else:
            _call(app, list(args))
    except ParseError as error:
        if traceback:
            raise
        from mixtura.training.cli.sentences import sentence

        remedy = f"`{app.program} {args[0]} --help` lists every option; --traceback shows it all"
        return report(app.program, sentence(error.message, error.keys, list(args)), remedy)
    except (InputError, ConfigError, Mistake) as error:
        if traceback:
            raise
        return report(app.program, str(error))
    except (RuntimeError, ConnectionError, EOFError) as error:
        if traceback or not _reader_died(error):
            raise
        remedy = "fewer workers need less memory; without any (num_workers 0) its error is shown"
        report(app.program, f"a worker process that reads the data died: {error}", remedy)
        return FAILED
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's way, with status 1
            return _interrupted(app)
        if str(stop) and not str(stop).isdigit() and isinstance(stop.code, int):
            sys.stderr.write(f"{app.program}: {stop}\n")
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        return _interrupted(app)
    return 0


def _interrupted(app: App) -> int:
    """Ctrl-C outside of training; within it `GracefulStop` saves the state first."""
    sys.stderr.write(f"{app.program}: interrupted\n")
    return INTERRUPTED


def _reader_died(error: Exception) -> bool:
    """Whether a worker of a DataLoader has gone, be it seen by torch or by a broken connection."""
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in str(error)
    frames = walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == LOADER for frame, _ in frames)


def _call(app: App, args: list[str]) -> Any:
    """Parse the options of a function verb and call it."""
    from mixtura.training.cli.parsing import function_parser

    verb = app.functions()[args[0]]
    module, _, name = verb.function.partition(":")
    function = getattr(import_module(module), name)
    parser = function_parser(function, f"{app.program} {verb.name}", bool(verb.names))
    parameters = inspect.signature(function).parameters
    switches = {f"--{each.name}" for each in parameters.values() if each.annotation is bool}
    given = [
        f"{arg}=true" if arg in switches and after.startswith("--") else arg
        for arg, after in pairwise([*args[1:], "--"])
    ]
    options = parser.instantiate(parser.parse_args(given)).as_dict()
    if "app" in parameters:
        options["app"] = app
    return function(**options)
