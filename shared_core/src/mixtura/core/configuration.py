"""One tree of `class_path` / `init_args` for every configurable object.

The tree is what a YAML file holds, what a checkpoint keeps as hyper-parameters and what
`config.json` of a shared model says. `@configurable` records the arguments of a constructor;
`to_config` reads the tree off an object, nested objects included, and `from_config` builds the
object again. `from_config(to_config(x))` has the same tree as `x`.
"""

import functools
import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import torch

from mixtura.core.errors import InputError

__all__ = ["ConfigError", "class_path", "configurable", "from_config", "resolve", "to_config"]

T = TypeVar("T")

ARGUMENTS = "_init_arguments"
CONFIGURABLE = "_configurable"


class ConfigError(InputError):
    """A configuration with an unknown class, an unknown key or a value of no kind we keep."""


def configurable(cls: type[T]) -> type[T]:
    """Class decorator: keep the arguments of each construction, defaults filled in.

    A subclass of a configurable class is configurable by itself only when it is decorated too or
    has no constructor of its own; the arguments kept are those of the outermost constructor.

    Raises:
        ConfigError: when the constructor takes `*args` (they have no name to be kept under).
    """
    takes_nothing = cls.__init__ in (object.__init__, torch.nn.Module.__init__)
    signature = inspect.signature(_no_arguments if takes_nothing else cls.__init__)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise ConfigError(
                f"{cls.__name__} takes *{parameter.name}, which has no name in a configuration; "
                "give it a named argument that holds a list"
            )
    original = cls.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if ARGUMENTS not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            arguments = dict(list(bound.arguments.items())[1:])
            for parameter in signature.parameters.values():
                if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    arguments.update(arguments.pop(parameter.name, {}))
            self.__dict__[ARGUMENTS] = arguments
        original(self, *args, **kwargs)

    setattr(__init__, CONFIGURABLE, True)
    cls.__init__ = __init__
    return cls


def _no_arguments(self: Any) -> None:
    """What a class without a constructor of its own takes."""


def class_path(cls: type | Callable[..., Any]) -> str:
    """The shortest import path under which `cls` is public, such as `mixtura.core.TopK`."""
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        if getattr(importlib.import_module(module), cls.__name__, None) is cls:
            return f"{module}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def to_config(value: Any) -> Any:
    """The plain tree that `from_config` turns back into `value`.

    It holds dicts, lists, strings, numbers, booleans and None.

    Raises:
        ConfigError: when `value` or something inside it is neither plain nor configurable.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    arguments = getattr(value, "__dict__", {}).get(ARGUMENTS)
    if arguments is not None:
        init_args = {name: to_config(item) for name, item in arguments.items()}
        return {"class_path": class_path(type(value)), "init_args": init_args}
    if isinstance(value, Mapping):
        return {str(key): to_config(item) for key, item in value.items()}
    if isinstance(value, list | tuple | torch.nn.ModuleList):
        return [to_config(item) for item in value]
    if isinstance(value, types.FunctionType | type):
        return class_path(value)
    raise ConfigError(
        f"a configuration holds plain values and @configurable objects, got "
        f"{type(value).__name__}; decorate {type(value).__name__} with @configurable"
    )


def from_config(config: Any) -> Any:
    """Build what the tree describes; plain values come back as they are.

    Raises:
        ConfigError: for a class that cannot be found or is not configurable (a tree may come from
            anywhere, and must not be able to call anything else), or a key that it does not take.
    """
    if isinstance(config, list | tuple):
        return [from_config(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    if "class_path" not in config:
        return {key: from_config(item) for key, item in config.items()}
    unknown = sorted(set(config) - {"class_path", "init_args"})
    if unknown:
        raise ConfigError(
            f"a class needs 'class_path' and 'init_args' only, got {unknown} beside "
            f"{config['class_path']}; move them into init_args"
        )
    cls = resolve(config["class_path"])
    if not isinstance(cls, type) or not getattr(cls.__init__, CONFIGURABLE, False):
        raise ConfigError(
            f"{config['class_path']} is not a @configurable class, and nothing else is built from "
            "a configuration; decorate it if it is yours"
        )
    arguments = config.get("init_args") or {}
    parameters = inspect.signature(cls).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for key in arguments:
            if key not in parameters:
                near = get_close_matches(key, parameters, n=3) or sorted(parameters)
                raise ConfigError(
                    f"{config['class_path']} does not take {key!r}; did you mean {', '.join(near)}?"
                )
    return cls(**{key: from_config(item) for key, item in arguments.items()})


def resolve(path: str) -> Any:
    """The object at an import path such as `mixtura.core.Router`.

    Raises:
        ConfigError: when the module or the name does not exist (the nearest names are offered).
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ConfigError(f"expected an import path such as 'package.Class', got {path!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not module_name.startswith(error.name):
            raise  # the module exists, but something that it imports does not
        raise ConfigError(f"cannot find the module of {path!r}: {error}") from error
    if not hasattr(module, name):
        near = get_close_matches(name, dir(module), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"{module_name} has no {name!r}{hint}")
    return getattr(module, name)
