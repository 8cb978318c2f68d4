"""Standard normal noise of chains: torch's own numbers, drawn by compiled code where there is a compiler.

On CPU, noise costs about as much as the gradient of a small network, and most of that is the generator. ``normal.c``
draws the same numbers on vectors. It is compiled once per machine into the user's cache folder and compared with torch
when it is loaded: without a compiler, or where a single bit differs, torch draws.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SWITCH = "LLC_LIGHTNING_NATIVE"
"""The environment variable which, set to 0, lets torch draw."""

_SOURCE = Path(__file__).with_name("normal.c")
_OPTIONS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_STREAM_BYTES = 4096
"""More than the state of a stream has."""
_SECONDS = 60
_CHECKED = (5, 16, 1001, 200_000)


class NormalStreams:
    """Fills tensors with standard normal numbers: those of a ``torch.Generator`` for each seed, bit by bit.

    Args:
        seeds: Of the generators.
        rows: The contiguous tensors to fill from each of them, in this order; of the same sizes, all on one device.
    """

    def __init__(self, seeds: Sequence[int], rows: Sequence[Sequence[Float[Tensor, "..."]]]) -> None:
        self._rows = rows
        self._library = None
        if all(row.dtype == torch.float32 and row.device.type == "cpu" for row in rows[0]):
            self._library = compiled()
        if self._library is None:
            self._generators = [torch.Generator(rows[0][0].device).manual_seed(seed) for seed in seeds]
        else:
            self._seeded = _seeded(self._library, seeds)
            self._out = _addresses(rows)

    def fill(self) -> None:
        """Draws the next numbers into the tensors."""
        if self._library is not None:
            self._library.fill_normals(*self._seeded, *self._out)
            return
        for generator, rows in zip(self._generators, self._rows, strict=True):
            for row in rows:
                row.normal_(generator=generator)


@cache
def compiled() -> ctypes.CDLL | None:
    """Returns the compiled code, or None where it cannot be had or differs from torch by a bit."""
    if os.environ.get(SWITCH) == "0":
        return None
    with suppress(OSError, subprocess.SubprocessError):
        library = ctypes.CDLL(str(_built()))
        library.seed_stream.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        library.seed_stream.restype = None
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        library.fill_normals.argtypes = [pointer, count, pointer, pointer, count]
        library.fill_normals.restype = None
        return library if _equals_torch(library) else None
    return None


def _built() -> Path:
    """Returns the shared library of this source, compiled into the cache folder unless it is there.

    Raises:
        OSError: If there is no compiler, or the folder cannot be written.
        subprocess.SubprocessError: If the compiler fails.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    what = [_SOURCE.read_text(), *_OPTIONS, compiler, platform.machine(), *platform.libc_ver()]
    name = f"normal-{hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llc_lightning"
    if not (folder / name).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # several processes may compile at once
            made = Path(scratch) / name
            command = [compiler, *_OPTIONS, "-o", str(made), str(_SOURCE), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)  # noqa: S603 - all of it is from here
            made.replace(folder / name)
    return folder / name


def _seeded(library: ctypes.CDLL, seeds: Sequence[int]) -> tuple[ctypes.Array[Any], int]:
    """Returns seeded streams and how many there are, as the compiled code takes it."""
    streams = [ctypes.create_string_buffer(_STREAM_BYTES) for _ in seeds]
    for stream, seed in zip(streams, seeds, strict=True):
        library.seed_stream(stream, seed)
    return (ctypes.POINTER(ctypes.c_char * _STREAM_BYTES) * len(seeds))(*map(ctypes.pointer, streams)), len(seeds)


def _addresses(rows: Sequence[Sequence[Tensor]]) -> tuple[ctypes.Array[Any], ctypes.Array[Any], int]:
    """Returns where tensors lie, how many numbers they hold, and how many there are, as the compiled code takes it."""
    places = [row.data_ptr() for of_one in rows for row in of_one]
    sizes = [row.numel() for row in rows[0]]
    return (ctypes.c_void_p * len(places))(*places), (ctypes.c_int64 * len(sizes))(*sizes), len(sizes)


def _equals_torch(library: ctypes.CDLL) -> bool:
    rows = [torch.empty(count) for count in _CHECKED]
    library.fill_normals(*_seeded(library, [1]), *_addresses([rows]))
    generator = torch.Generator().manual_seed(1)
    return all(torch.equal(row, torch.empty_like(row).normal_(generator=generator)) for row in rows)
