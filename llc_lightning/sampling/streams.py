"""The random streams of chains: each has its own noise and minibatches, the same at every step and component."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.runtime.seeding import derive_seed, generator
from llc_lightning.sampling.normal import NormalStreams
from llc_lightning.sampling.slices import Layout
from llc_lightning.sampling.stacked import Stack

_BATCHES_PER_DRAW = 64


class NoiseStream:
    """Standard normal noise: one generator per chain, drawn tensor by tensor in the order of the parameters."""

    def __init__(self, seed: int, chains: Sequence[int], layout: Layout, like: Stack, *, kind: str = "noise") -> None:
        device = next(iter(like.values())).device
        self._uniform = [generator(seed, f"{kind}-uniform", chain, device=device) for chain in chains]
        self._buffers = {
            form.parameter: torch.empty(
                (len(chains), 1, *form.shape), dtype=like[form.parameter].dtype, device=like[form.parameter].device
            )
            for form in layout.forms
        }
        self._streams = NormalStreams(
            [derive_seed(seed, kind, chain) for chain in chains],
            [[buffer[row, 0] for buffer in self._buffers.values()] for row in range(len(chains))],
        )

    def normal(self) -> Stack:
        """Draws standard normal noise, [chain, 1, *slice]; overwritten by the next call."""
        self._streams.fill()
        return self._buffers

    def uniform(self) -> Float[Tensor, "chain 1"]:
        """Draws a number between 0 and 1 for every chain, from a generator of its own."""
        return torch.stack([torch.rand(1, generator=stream, device=stream.device) for stream in self._uniform])


class BatchStream:
    """Minibatch indices, drawn with replacement, one stream per chain."""

    def __init__(self, seed: int, chains: Sequence[int], n: int, batch_size: int, *, kind: str = "batch") -> None:
        self._generators = [generator(seed, kind, chain) for chain in chains]
        self._n = n
        self._batch_size = batch_size
        self._drawn = torch.empty(0, len(chains), batch_size, dtype=torch.long)
        self._next = 0

    def draw(self) -> Int[Tensor, "chain example"]:
        """Returns the next minibatch of every chain, as indices into the data."""
        if self._next == len(self._drawn):
            shape = (_BATCHES_PER_DRAW, self._batch_size)
            self._drawn = torch.stack(
                [torch.randint(self._n, shape, generator=stream) for stream in self._generators], dim=1
            )
            self._next = 0
        self._next += 1
        return self._drawn[self._next - 1]
