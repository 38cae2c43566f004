"""Argument parsing that raises instead of exiting, in the words of `cli.sentences`."""

from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentParser
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.cli import LightningArgumentParser

from mixtura.core.errors import InputError

__all__ = ["ParseError", "Parser", "function_parser"]


class ParseError(Exception):
    """A command line or configuration that the parser refuses.

    Args:
        message: The parser's own words, often long.
        keys: Every option it would accept.
    """

    def __init__(self, message: str, keys: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.keys = keys


class Raising:
    """Makes a parser raise errors with sentences instead of printing pages of usage and exiting."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse.

        Raises:
            ParseError: for whatever is refused.
            InputError: for a `${...}` that leads nowhere.
        """
        try:
            return super().parse_args(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        except OmegaConfBaseException as error:
            where = (error.full_key or "the configuration").partition(".")[2] or error.full_key
            said = str(error).splitlines()[0]
            raise InputError(
                f"{where}: a reference cannot be resolved, {said}; write the path of a key that is "
                "there, as in ${data.init_args.look_back}"
            ) from error

    def instantiate(self, *args: Any, **kwargs: Any) -> Any:
        """Build the objects of a parsed configuration.

        Raises:
            InputError: that of a constructor, or one around an error of torch's in a constructor,
                which is the arguments' fault.
        """
        try:
            return super().instantiate(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        except (ValueError, TypeError, RuntimeError) as error:
            cause = _cause(error)
            if isinstance(cause, InputError):
                raise cause from error
            raise InputError(
                f"{_built(cause)} cannot be built with these arguments: {cause}"
            ) from cause

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Called by the parser for whatever it refuses."""
        raise ParseError(str(message), _keys(self)) from ex


class Parser(Raising, LightningArgumentParser):
    """The parser of the Lightning verbs."""


class FunctionParser(Raising, ArgumentParser):
    """The parser of a function verb."""


def function_parser(
    function: Callable[..., Any], program: str, positional: bool = False
) -> ArgumentParser:
    """A parser whose options are the arguments of `function`, and whose help is its docstring."""
    summary = (function.__doc__ or "").strip().split("\n\n")[0]
    parser = FunctionParser(prog=program, description=summary, allow_abbrev=False)
    parser.add_function_arguments(
        function, as_positional=positional, skip={"app"}, sub_configs=True, fail_untyped=True
    )
    return parser


def _cause(error: BaseException) -> BaseException:
    """The error of a constructor, around which the parser has put its own."""
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error


def _built(error: BaseException) -> str:
    """The class whose constructor was called with the arguments that led to `error`."""
    trace, found = error.__traceback__, "the object"
    while trace is not None:
        values, code = trace.tb_frame.f_locals, trace.tb_frame.f_code
        inside = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if code.co_name == "__init__" and inside not in ("torch", "jsonargparse"):
            found = type(values.get("self")).__name__
        trace = trace.tb_next
    return found


def _keys(parser: Any) -> list[str]:
    keys = []
    for action in parser._actions:
        keys += [option.lstrip("-") for option in action.option_strings if option.startswith("--")]
        subparsers = getattr(action, "_name_parser_map", None) or {}
        for inner in subparsers.values():
            keys += _keys(inner)
    return list(dict.fromkeys(key for key in keys if not key.endswith(".help")))
