"""Memory that a process frees and soon takes again."""

from functools import cache

import torch

_LARGEST = 31 << 20
"""Bytes: just below the largest block whose size counts."""


@cache
def keep_freed() -> None:
    """Lets the process keep up to some 60 MB that it has freed, instead of giving them back at once.

    The C library of Linux gives the memory of large tensors back to the system as soon as they are freed, and the next
    ones touch every page anew: up to a fifth of the time of many small forward passes. Once a block of nearly 32 MB
    was freed it keeps more (``M_MMAP_THRESHOLD`` in mallopt(3)).
    """
    torch.empty(_LARGEST, dtype=torch.uint8)
