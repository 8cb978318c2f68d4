"""idx files: what they hold, and a sentence for each way in which one can be unusable."""

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from llc_lightning.data.idx import FILES, OFFICIAL, read_idx, read_official
from llc_lightning.runtime.errors import DataError

COUNTS = {"mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "fashion_mnist": [1000] * 10}


def idx(values: torch.Tensor) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + bytes(values.flatten().tolist()), mtime=0)


@pytest.fixture
def values() -> torch.Tensor:
    return torch.arange(24, dtype=torch.uint8).view(2, 3, 4)


@pytest.fixture
def path(tmp_path: Path, values: torch.Tensor) -> Path:
    path = tmp_path / "values.gz"
    path.write_bytes(idx(values))
    return path


def test_a_file_gives_the_array_that_was_written(path: Path, values: torch.Tensor) -> None:
    assert torch.equal(read_idx(path), values)
    assert torch.equal(read_idx(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), values)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_hold_the_official_sets(data_folder: Path, name: str, tmp_path: Path) -> None:
    folder = data_folder / name
    images, labels = (read_idx(folder / FILES[f"test {what}"], sha256=OFFICIAL[name][f"test {what}"])
                      for what in ("images", "labels"))  # fmt: skip
    assert images.shape == (10_000, 28, 28)
    assert labels.long().bincount().tolist() == COUNTS[name]
    mean = {"mnist": 33.7912, "fashion_mnist": 73.1466}[name]
    assert images.double().mean().item() == pytest.approx(mean, abs=1e-4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*train-images-idx3-ubyte\.gz; copy the official file"):
        read_official(tmp_path, "mnist")


def test_a_truncated_file_is_called_so(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"values\.gz is truncated after \d+ bytes; copy the official file again\.$"):
        read_idx(path, sha256="0" * 64)


def test_an_altered_file_is_called_so_whatever_was_altered(path: Path, values: torch.Tensor) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    whole = path.read_bytes()
    for altered in (idx(values + 1), whole[:20] + bytes((whole[20] ^ 1,)) + whole[21:], b"no gzip at all"):
        path.write_bytes(altered)
        with pytest.raises(DataError, match=r"values\.gz is altered") as told:
            read_idx(path, sha256=digest)
        assert str(told.value).endswith("copy the official file again.")


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        (b"", "holds no idx array"),
        (bytes((0, 0, 8, 3, 0, 0)), "holds no idx array"),
        (bytes((0, 0, 13, 1, 0, 0, 0, 1, 5)), "holds no idx array"),
        (bytes((0, 0, 8, 1, 0, 0, 0, 3, 5)), r"holds 1 entries, not the 3 of its shape \(3,\)"),
    ],
)
def test_a_file_that_is_no_idx_file_is_refused(path: Path, plain: bytes, sentence: str) -> None:
    path.write_bytes(gzip.compress(plain))
    with pytest.raises(DataError, match=sentence):
        read_idx(path)


def test_an_official_file_that_is_cut_or_changed_is_refused(data_folder: Path, tmp_path: Path) -> None:
    name = FILES["test labels"]
    shutil.copy(data_folder / "mnist" / name, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for damaged, word in ((whole[:-100], "truncated"), (whole[:100] + b"\0" + whole[101:], "altered")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=word):
            read_idx(tmp_path / name, sha256=OFFICIAL["mnist"]["test labels"])
