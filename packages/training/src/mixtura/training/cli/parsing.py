"""Argument parsing that raises instead of exiting, in the words of `cli.sentences`."""

from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser

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
    """Makes a parser raise `ParseError` instead of printing pages of usage and exiting."""

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


def _keys(parser: Any) -> list[str]:
    keys = []
    for action in parser._actions:
        keys += [option.lstrip("-") for option in action.option_strings if option.startswith("--")]
        subparsers = getattr(action, "_name_parser_map", None) or {}
        for inner in subparsers.values():
            keys += _keys(inner)
    return list(dict.fromkeys(key for key in keys if not key.endswith(".help")))
