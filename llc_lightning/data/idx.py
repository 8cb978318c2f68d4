"""Reads the files that MNIST and Fashion-MNIST come in, and checks that they are the official ones.

The format (LeCun, Cortes and Burges 1998): a gzip stream of two zero bytes, the type (8: unsigned bytes), the number of
axes, the length of each axis as a big-endian 32-bit number, and the entries, the last axis running fastest.
"""

import gzip
import hashlib
import zlib
from math import prod
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from llc_lightning.runtime.errors import DataError

FILES = {
    "train images": "train-images-idx3-ubyte.gz",
    "train labels": "train-labels-idx1-ubyte.gz",
    "test images": "t10k-images-idx3-ubyte.gz",
    "test labels": "t10k-labels-idx1-ubyte.gz",
}
"""The names of the files, the same for both sets."""

OFFICIAL: dict[str, dict[str, str]] = {
    "mnist": {
        "train images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "test images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "test labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion_mnist": {
        "train images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "test images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "test labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
"""The sha256 of the official files by the folder of the set (LeCun et al. 1998; Xiao et al. 2017, arXiv:1708.07747)."""

_UNSIGNED_BYTE = 8


def read_official(folder: Path, name: str) -> dict[str, UInt8[Tensor, "..."]]:
    """Returns the four arrays of a set by what they hold, the keys of :data:`FILES`, from the official files.

    Args:
        folder: The folder of the set.
        name: Which set it is, a key of :data:`OFFICIAL`.

    Raises:
        DataError: If a file is missing, truncated or altered.
    """
    return {what: read_idx(folder / FILES[what], sha256=sha256) for what, sha256 in OFFICIAL[name].items()}


def read_idx(path: Path, *, sha256: str = "") -> UInt8[Tensor, "..."]:
    """Returns the array in a gzipped idx file.

    Args:
        path: The file.
        sha256: What the digest of the file must be; '' for any.

    Raises:
        DataError: If the file is missing, truncated, altered or no such file.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; copy the official file {path.name} there.")
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; copy it again, or change its mode.") from error
    plain = _unpacked(path, packed)
    found = hashlib.sha256(packed).hexdigest()
    if sha256 and found != sha256:
        raise DataError(
            f"{path} is altered: its sha256 is {found[:12]}..., that of the official file is {sha256[:12]}...; copy "
            "the official file again."
        )
    return _array(path, plain)


def _unpacked(path: Path, packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except EOFError as error:
        raise DataError(f"{path} is truncated after {len(packed)} bytes; copy the official file again.") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} is altered, or no gzip file; copy the official file again.") from error


def _array(path: Path, plain: bytes) -> UInt8[Tensor, "..."]:
    """Returns the array that an unpacked file holds."""
    header = 4 + 4 * plain[3] if len(plain) >= 4 else len(plain) + 1
    if len(plain) < header or plain[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise DataError(f"{path} holds no idx array of unsigned bytes; copy the official file again.")
    shape = [int.from_bytes(plain[at : at + 4], "big") for at in range(4, header, 4)]
    if len(plain) - header != prod(shape):
        raise DataError(
            f"{path} holds {len(plain) - header} entries, not the {prod(shape)} of its shape {tuple(shape)}; copy the "
            "official file again."
        )
    return torch.frombuffer(bytearray(plain[header:]), dtype=torch.uint8).view(shape)
