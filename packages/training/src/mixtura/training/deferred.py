"""Import Lightning without what Lightning seldom uses.

`import pytorch_lightning` brings `torch._dynamo` (for one `isinstance`), matplotlib (for the
plots of metrics), `scipy.signal` (to see whether it is there), triton (for the FLOPs of its
kernels) and, where installed, torchvision and transformers (for the metrics of images and of
text). Together they cost three times as much as torch and Lightning themselves. `install()`
watches for that one import and, while it runs, hands out deferred modules in their place: a
deferred module has the name and the path of the real one, and becomes the real one, in place, as
soon as anybody asks it for something. What Lightning has already taken out of it (a class for
`isinstance`, a decorator) is a stand-in that resolves itself at its first use.

Nothing is removed: `torch.compile`, `metric.plot()` and torchvision work as ever, they are only
paid for when they are used. `MIXTURA_EAGER_IMPORTS=1` switches all this off.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

__all__ = ["DEFERRED", "install", "is_deferred", "without_pictures"]

DEFERRED = (
    "matplotlib",
    "scipy.signal",
    "torch._dynamo",
    "torchvision",
    "transformers",
    "triton",
)
WATCHED = ("pytorch_lightning", "torchmetrics", "lightning_fabric")
ASKED = ("__version__", "__version_info__", "__all__")
"""Of the names with underscores, those that users ask for rather than the import machinery."""

_state = threading.local()
_lock = threading.RLock()


def install() -> None:
    """Watch for the import of Lightning or torchmetrics; once per process, importing nothing."""
    if os.environ.get("MIXTURA_EAGER_IMPORTS") == "1":
        return
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def is_deferred(name: str) -> bool:
    """Whether the module `name` is known but not loaded yet."""
    return isinstance(sys.modules.get(name), DeferredModule)


class DeferredModule(ModuleType):
    """A module that runs its code when it is first asked for something that it does not have."""

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("__") and name not in ASKED) or name == "_is_coroutine_marker":
            raise AttributeError(name)
        light = _LIGHT.get((self.__name__, name))
        if light is not None:
            return light
        if _shielding():
            submodule = sys.modules.get(f"{self.__name__}.{name}")
            return submodule if submodule is not None else _deferred(self.__name__, name)
        return getattr(load(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(load(self.__name__))


class ReplacedModule(ModuleType):
    """A module whose code has put another object into its place; asks that one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules[self.__name__], name)


def load(name: str) -> ModuleType:
    """The real module of that name, its parents first; the deferred one becomes it in place."""
    with _lock:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            module = sys.modules.get(".".join(parts[:end]))
            if isinstance(module, DeferredModule):
                _execute(module)
    with _Shield():
        return importlib.import_module(name)


def _execute(module: ModuleType) -> None:
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    loader = spec.loader.loader if isinstance(spec.loader, _DeferredLoader) else spec.loader
    spec.loader = module.__loader__ = loader
    module.__class__ = ModuleType
    with _Shield():
        loader.exec_module(module)
    if sys.modules.get(module.__name__) is not module:
        module.__class__ = ReplacedModule


class _Shield:
    """Set which modules this thread hands out deferred."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names

    def __enter__(self) -> None:
        self.before = _shielding()
        _state.names = self.names

    def __exit__(self, *exception: object) -> None:
        _state.names = self.before


def _shielding() -> Sequence[str]:
    return getattr(_state, "names", ())


def without_pictures() -> AbstractContextManager[None]:
    """While open, matplotlib is deferred for whoever imports it: the modules of an app are."""
    return _Shield(("matplotlib",))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if getattr(_state, "finding", False):
            return None
        if any(fullname == name or fullname.startswith(f"{name}.") for name in _shielding()):
            spec = self._real(fullname)
            if spec is not None and spec.loader is not None:
                spec.loader = _DeferredLoader(spec.loader)
            return spec
        if fullname in WATCHED:
            spec = self._real(fullname)
            if spec is not None and spec.loader is not None:
                spec.loader = _ShieldedLoader(spec.loader)
            return spec
        parent = fullname.rpartition(".")[0]
        if is_deferred(parent):
            # The code of a package runs before that of its parts, and may already bring them.
            load(parent)
            if fullname in sys.modules:
                return importlib.machinery.ModuleSpec(fullname, _LoadedLoader())
        return None

    @staticmethod
    def _real(fullname: str) -> importlib.machinery.ModuleSpec | None:
        _state.finding = True
        try:
            return importlib.util.find_spec(fullname)
        finally:
            _state.finding = False


class _ShieldedLoader(importlib.abc.Loader):
    """Runs the watched package's own code with the shield up (torch itself is loaded before)."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        importlib.import_module("torch")
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        with _Shield(DEFERRED):
            self.loader.exec_module(module)


class _DeferredLoader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet: see `DeferredModule`."""


class _LoadedLoader(importlib.abc.Loader):
    """Hands over a module that came into being while it was looked for."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self.module = sys.modules[spec.name]
        self.spec = self.module.__spec__
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _DeferredType(type):
    """Class of the stand-ins: a type in annotations and `isinstance`, callable, a decorator."""

    _target: tuple[str, str]

    def _resolve(cls) -> Any:
        module, name = cls._target
        value: Any = load(module)
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def __instancecheck__(cls, instance: Any) -> bool:
        # An instance can only exist once its class does.
        return not is_deferred(cls._target[0]) and isinstance(instance, cls._resolve())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return not is_deferred(cls._target[0]) and issubclass(subclass, cls._resolve())

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if _shielding():
            return _deferred(cls._target[0], f"{cls._target[1]}.{name}")
        return getattr(cls._resolve(), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not _shielding():
            return cls._resolve()(*args, **kwargs)

        def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*inner: Any, **named: Any) -> Any:
                return cls._resolve()(*args, **kwargs)(function)(*inner, **named)

            return call

        return decorator


def _deferred(module: str, name: str) -> Any:
    return _DeferredType(name.rpartition(".")[2], (), {"_target": (module, name)})


def _dynamo_disable(
    function: Callable[..., Any] | None = None, recursive: bool = True, **options: Any
) -> Callable[..., Any]:
    """`torch._dynamo.disable`: without the compiler nothing is traced; the plain call is right."""
    if function is None:
        return functools.partial(_dynamo_disable, recursive=recursive, **options)
    real: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_deferred("torch._dynamo"):
            return function(*args, **kwargs)
        if not real:
            real.append(load("torch._dynamo").disable(function, recursive, **options))
        return real[0](*args, **kwargs)

    return call


def _dynamo_graph_break(*args: Any, **kwargs: Any) -> None:
    """`torch._dynamo.graph_break`: means something only to a running compiler."""
    if not is_deferred("torch._dynamo"):
        load("torch._dynamo").graph_break(*args, **kwargs)


# What the optimisers of torch ask of the compiler at every step without using it.
_LIGHT: dict[tuple[str, str], Any] = {
    ("torch._dynamo", "disable"): _dynamo_disable,
    ("torch._dynamo", "graph_break"): _dynamo_graph_break,
}
