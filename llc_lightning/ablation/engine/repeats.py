"""Examples that stand among the others several times: standard errors take each as a new draw."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from llc_lightning.runtime.batches import Batch, chunks
from llc_lightning.runtime.seeding import generator

_SURE = 5
"""So many standard errors more examples must be there k times than independent draws allow."""
_SLAB = 1024
"""Examples that are read at a time."""


def warn_of_repeats(data: Batch, partners: Batch | None = None) -> None:
    """Warns, in one sentence, where more examples are repeated than in any sample of independent draws.

    Args:
        data: The examples.
        partners: What belongs to each: two that differ there are not the same.
    """
    digests = _digests(data) if partners is None else _digests(data) + 3 * _digests(partners)
    times = cast("Tensor", digests.unique(return_counts=True)[1])  # pyright: ignore[reportUnknownMemberType]
    if len(times) < len(digests) and are_copies(times):
        warnings.warn(
            f"of the {len(digests)} examples only {len(times)} differ, and more are there several times than in a "
            "sample of independent draws; standard errors take each as a new one and are too small, by 1.4 where each "
            "stands there twice: leave repeats out.",
            stacklevel=3,
        )


def are_copies(times: Int[Tensor, "value"]) -> bool:
    """Says whether examples were copied, by how often each value is there.

    Of independent draws of anything the expected number F_k of values that are there k times is a mixture of Poisson
    probabilities, so that ``k! F_k`` are moments, ``F_k^2 <= (k + 1) / k F_(k-1) F_(k+1)`` (Cauchy and Schwarz; the
    mixture is that of Good 1953, Biometrika 40): there are no doubles without singles and triples.

    Example:
        >>> are_copies(torch.tensor([2] * 100)), are_copies(torch.tensor([1] * 500 + [2] * 60 + [3] * 8))
        (True, False)
    """
    found = torch.bincount(times, minlength=4).double()
    k = torch.arange(2, len(found) - 1)
    some = torch.cat([found[2:-1], found[-1:]])
    before, after = found[k - 1], found[k + 1]
    allowed = torch.cat([((k + 1) / k * before * after).sqrt(), torch.zeros(1)])
    return bool((some - allowed > _SURE * some.sqrt()).any())


def _digests(data: Batch) -> Int[Tensor, "example"]:
    """Returns a number for every example that tells it from others, but for a chance of about n^2 / 2^64."""
    total: Tensor | None = None
    for place, values in enumerate(_tensors(data)):
        each = torch.cat([_of(values[some], place) for some in chunks(len(values), _SLAB)])
        total = each if total is None else total + each
    if total is None:
        raise ValueError("no examples")
    return total


def _tensors(data: Batch) -> Iterator[Tensor]:
    yield from [data] if isinstance(data, Tensor) else data.values() if isinstance(data, Mapping) else data


def _of(values: Tensor, place: int) -> Int[Tensor, "example"]:
    """Returns the bytes of each example, eight at a time, under random odd weights, modulo 2^64."""
    raw = values.detach().reshape(len(values), -1).contiguous().view(torch.uint8)
    raw = torch.nn.functional.pad(raw, (0, -raw.shape[1] % 8)).contiguous().view(torch.int64)
    stream = generator(0, "repeats", place)
    weights = 2 * torch.randint(-(1 << 61), 1 << 61, (raw.shape[1],), generator=stream) + 1
    return (raw * weights.to(raw.device)).sum(1)
