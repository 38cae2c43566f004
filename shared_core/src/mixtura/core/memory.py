"""Tensors that a module collects by name and keeps with the model."""

from collections.abc import Iterator

from torch import Tensor

from mixtura.core.precise import PreciseBuffers

__all__ = ["Memory"]


class Memory(PreciseBuffers):
    """A dictionary of tensors that is saved and loaded like buffers, whatever names occur.

    Which layers a controller steers is not known when it is built: the names come with the steps,
    and a loaded checkpoint brings its own. Floating-point entries keep their precision.
    """

    def __getitem__(self, name: str) -> Tensor:
        value = self._buffers.get(_encoded(name))
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.register_buffer(_encoded(name), value)

    def __iter__(self) -> Iterator[str]:
        return iter([_decoded(name) for name in self._buffers])

    def __len__(self) -> int:
        return len(self._buffers)

    def __contains__(self, name: str) -> bool:
        return _encoded(name) in self._buffers

    def get(self, name: str, default: Tensor | None = None) -> Tensor | None:
        """The tensor of this name, if there is one."""
        return self._buffers.get(_encoded(name), default)

    def clear(self) -> None:
        """Forget everything."""
        self._buffers.clear()

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        self.clear()
        for key, value in state_dict.items():
            if key.startswith(prefix):
                self.register_buffer(key.removeprefix(prefix), value.clone())
        super()._load_from_state_dict(state_dict, prefix, *args)


def _encoded(name: str) -> str:
    """A buffer's name holds no dot and is never empty, and must not hide an attribute."""
    return "@" + name.replace(".", "/")


def _decoded(name: str) -> str:
    return name.removeprefix("@").replace("/", ".")
