"""Large new memory in huge pages.

Stacked gradients are the largest memory that every step asks for anew. A C library gives so large a
piece back to the system when it is freed, so that each page of the next one is a fault; with 64
experts of 6 MB these faults take a third of the time of a dense network's step. Huge pages, 2 MB
each on most systems, make them few. The system may leave the advice.
"""

import ctypes
import mmap
from functools import cache

import torch
from torch import Tensor

__all__ = ["LARGE", "empty_like"]

LARGE = 32 * 2**20  # bytes; smaller pieces are recycled by the C library, pages and all


def empty_like(tensor: Tensor) -> Tensor:
    """`torch.empty_like`, in huge pages where it is large and the system has them."""
    empty = torch.empty_like(tensor)
    size = empty.numel() * empty.itemsize
    if size >= LARGE and type(empty) is Tensor and empty.device.type == "cpu":
        _advise(empty.data_ptr(), size)
    return empty


def _advise(address: int, size: int) -> None:
    madvise = _madvise()
    if madvise is not None:
        start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        whole = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        madvise(start, whole, mmap.MADV_HUGEPAGE)


@cache
def _madvise():
    """The system's call, or None where there are no huge pages to ask for."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call
