"""From the parser's tree of errors to one sentence: where, what, and the nearest valid name."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from mixtura.training.cli.names import nearest

__all__ = ["sentence"]

NOISE = re.compile(
    r"^(- )?(Does not validate against|Subtypes:|Errors:|Expected a <class 'NoneType'>"
    r"|Given value|None of the|Not of type)"
)
KEY = re.compile(r'^(?:- )?Parser key "([^"]+)":\s*(.*)$')
UNKNOWN = re.compile(r"Option '([^']+)' is not accepted|[Kk]ey '?\"?([\w.]+)'?\"? is not expected")
UNRECOGNISED = re.compile(r"unrecognized arguments: (\S+)")
NO_OPTION = re.compile(r"does not accept option '([^']+)'")
REQUIRED = re.compile(r"following arguments are required: (.+)")
NO_CLASS = re.compile(
    r"Expected a path but (\S+) either|Expected a dot import path string: (\S+)"
    r"|Problem with given class_path '([^']+)'"
)
GIVEN = re.compile(r"Given value: (NestedArg\(key='([^']+)'.*|\{.*)$", re.MULTILINE)
BASE = re.compile(r"Subtypes: \[<class '([\w.]+)'>")


def sentence(message: str, keys: list[str], args: list[str]) -> str:
    """The mistake that `message` is about, with the nearest valid names.

    Args:
        message: What the parser said.
        keys: The options that it accepts.
        args: The verb and its options, where the configuration files are named.
    """
    found = UNRECOGNISED.search(message)
    if found:
        return _unknown_option(found[1], keys, args)
    found = NO_OPTION.search(message)
    if found:
        return _unknown_option(found[1], keys, args)
    found = UNKNOWN.search(message)
    if found:
        return _unknown_key(found[1] or found[2], message, args)
    found = NO_CLASS.search(message)
    if found:
        return _unknown_class(next(each for each in found.groups() if each), message)
    found = REQUIRED.search(message)
    if found:
        names = (name.strip().removeprefix(f"{args[0]}.") for name in found[1].split(","))
        return f"{' and '.join(f'--{name}' for name in names)} must be given"
    return _leaf(message, args)


def _unknown_option(option: str, keys: list[str], args: list[str]) -> str:
    if not option.startswith("--") and option in args:
        return f"{option!r} is not an option; options begin with --"
    name = option.lstrip("-").partition("=")[0]
    near = nearest(name, keys)
    if name.partition(".")[0] not in {key.partition(".")[0] for key in keys}:
        tops = sorted({key.partition(".")[0] for key in keys if not key.startswith("print")})
        close = nearest(name.partition(".")[0], tops)
        near = [each + name[len(name.partition(".")[0]) :] for each in close if "." in name] or near
    return f"there is no option {name!r}; did you mean {', '.join(near) or 'another'}?"


def _unknown_key(key: str, message: str, args: list[str]) -> str:
    where = _path_of(key, message)
    accepted = _accepted(where, args, _named_subclasses(message))
    last = key.rpartition(".")[2]
    near = nearest(last, accepted)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    if accepted and not near:
        hint = f"; it takes {', '.join(accepted[:12])}"
    return f"{where}: there is no argument {last!r}{hint}"


def _path_of(key: str, message: str) -> str:
    """The full dotted path of a refused key, from the nesting of the message and the value."""
    path = ".".join(match[1] for line in message.splitlines() if (match := KEY.match(line.strip())))
    given = [match for match in GIVEN.finditer(message)]
    if given:
        outer = given[-1]
        if outer[2]:
            return _join(path.partition(".")[0], outer[2])
        try:
            inner = _find(ast.literal_eval(outer[1]), key.rpartition(".")[2])
        except (SyntaxError, ValueError):
            inner = None
        if inner:
            return _join(path.partition(".")[0], inner)
    return _join(path, key)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _find(tree: Any, key: str) -> str | None:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                return key
            inner = _find(value, key)
            if inner:
                return f"{name}.{inner}"
    return None


def _accepted(path: str, args: list[str], short: dict[str, type]) -> list[str]:
    """The arguments of the class that the files and options name at the parent of `path`."""
    parent = path.rpartition(".")[0].removesuffix(".init_args")
    classes: dict[str, str] = {}
    for name, value in _given(args):
        classes[name] = value
    named = classes.get(parent)
    chosen = [named] if named else list(classes.values())
    parameters: dict[str, None] = {}
    for each in chosen:
        parameters |= dict.fromkeys(_parameters(each, short))
    return list(parameters)


def _given(args: list[str]) -> Iterator[tuple[str, str]]:
    """Every class path of the configuration files and options, with the key that holds it."""
    position = 0
    while position < len(args):
        flag, equals, value = args[position].partition("=")
        if not equals and position + 1 < len(args):
            value = args[position + 1]
        if flag in ("--config", "-c") and Path(value).is_file():
            yield from _classes(yaml.safe_load(Path(value).read_text(encoding="utf-8")), "")
        elif flag.startswith("--") and value:
            yield flag.lstrip("-").removesuffix(".class_path"), value
        position += 1


def _classes(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        if isinstance(tree.get("class_path"), str):
            yield path, tree["class_path"]
        for key, value in tree.items():
            yield from _classes(value, _join(path, str(key)))


def _parameters(path: str, short: dict[str, type]) -> list[str]:
    module, _, name = path.rpartition(".")
    try:
        cls = short[name] if not module else getattr(import_module(module), name)
        return list(inspect.signature(cls).parameters)
    except (ImportError, AttributeError, KeyError, ValueError, TypeError):
        return []


def _unknown_class(name: str, message: str) -> str:
    known = sorted(_named_subclasses(message, innermost=True))
    path = ".".join(match[1] for line in message.splitlines() if (match := KEY.match(line.strip())))
    short = name.rpartition(".")[2]
    near = nearest(short, known) or known[:4]
    hint = f"; did you mean {', '.join(near)}?" if near else "; give its import path, package.Class"
    return f"{path or 'class_path'}: there is no class {name!r}{hint}"


def _named_subclasses(message: str, innermost: bool = False) -> dict[str, type]:
    """The subclasses, by short name, of the base classes that the message speaks of."""
    bases = BASE.findall(message)
    found: dict[str, type] = {}
    for base in bases[-1:] if innermost else bases:
        module, _, name = base.rpartition(".")
        try:
            found |= _subclasses(getattr(import_module(module), name))
        except (ImportError, AttributeError):
            continue
    return found


def _subclasses(cls: type) -> dict[str, type]:
    found: dict[str, type] = {}
    for sub in cls.__subclasses__():
        if not sub.__name__.startswith("_"):
            found[sub.__name__] = sub
        found |= _subclasses(sub)
    return found


def _leaf(message: str, args: list[str]) -> str:
    """The innermost complaints of the tree, behind the path to them."""
    path: list[str] = []
    leaves: list[str] = []
    for line in message.splitlines():
        text = line.strip()
        match = KEY.match(text)
        if match:
            path.append(match[1])
            text = match[2]
        if text and not NOISE.match(text):
            leaf = text.removeprefix("- ").replace("<class '", "").replace("'>", "")
            leaf = leaf.replace("Expected a int", "expected an int").replace(
                "Expected a", "expected a"
            )
            if leaf not in leaves:
                leaves.append(leaf)
    given = re.findall(r"Given value: (.*)$", message, re.MULTILINE)
    if given and not any("Got value" in leaf for leaf in leaves):
        leaves.append(f"got {given[0][:120]}")
    where = ".".join(path)
    return f"{where}: {'; '.join(leaves[:4])}" if where else "; ".join(leaves[:4])
