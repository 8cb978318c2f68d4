"""Keeps freed memory in the process, where the C library would hand it back to the system."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_GIBIBYTE = 1 << 30
_MEBIBYTE = 1 << 20
_LARGE = 1 << 24
"""Weights of a network whose copies are not to lie about as freed blocks of many sizes."""


def keep_freed_memory(weights: int = 0) -> bool:
    """Tells glibc to keep freed blocks of up to 1 GiB for reuse; of a large network only those of up to 2 MiB.

    Stacked chains allocate and free the same large temporaries at every step. By default glibc maps each of them
    anew and the kernel clears every page, which costs a fifth to a third of a step on CPU. The price: the process keeps
    its peak memory, and blocks of many sizes leave gaps, up to a third of it. From 16 million weights on that is more
    than a machine may have, and what is given back costs about a tenth of the time. The numbers that are computed do
    not change.

    Args:
        weights: Of the network that is measured.

    Returns:
        Whether the C library took it; False anywhere but on Linux with glibc.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    largest = _GIBIBYTE if weights < _LARGE else 2 * _MEBIBYTE
    options = {_M_MMAP_THRESHOLD: largest, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 64 * _MEBIBYTE}
    return all([mallopt(ctypes.c_int(option), ctypes.c_int(value)) == 1 for option, value in options.items()])
