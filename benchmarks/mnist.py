"""Real MNIST digits from the folder that LLC_LIGHTNING_DATA names, and an MLP trained on them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.networks import MLP, Problem

_BATCH = 128
_LEARNING_RATE = 1e-3


def mnist_folder() -> Path | None:
    """Returns the folder of the digits' idx files, or None where there is none."""
    folder = Path(os.environ.get("LLC_LIGHTNING_DATA", ""), "mnist")
    return folder if Path(folder, "train-images-idx3-ubyte.gz").is_file() else None


def digits(folder: Path, n: int) -> tuple[Tensor, Tensor]:
    """Returns the first ``n`` training images, [example, 784] with mean 0 and standard deviation 1, and labels."""
    images = _read(Path(folder, "train-images-idx3-ubyte.gz"))[:n].flatten(1).float()
    labels = _read(Path(folder, "train-labels-idx1-ubyte.gz"))[:n].long()
    return (images - images.mean()) / images.std(), labels


def trained_mlp(folder: Path, *, n: int, steps: int) -> Problem:
    """Returns an MLP 784-256-256-20 after some steps of Adam on ``n`` digits, with these digits as its data."""
    data = digits(folder, n)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MLP()
        optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
        for _ in range(steps):
            index = torch.randint(n, (_BATCH,))
            optimizer.zero_grad()
            network.per_example_loss([tensor[index] for tensor in data]).mean().backward()
            optimizer.step()
    return Problem("MLP", {}, network.state_dict(), data)


def _read(path: Path) -> Tensor:
    """Returns the array of an idx file of bytes: a magic number that ends in the number of axes, then their sizes."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=axes, offset=4).tolist()
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape).copy())
