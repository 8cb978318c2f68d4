"""How few frequencies an embedding of the numbers of a cycle consists of."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

STRONGEST = 5


def frequency_shares(embedding: Float[Tensor, "number d_model"]) -> Float[Tensor, "frequency"]:
    """Returns the share of an embedding's variance over the numbers that each frequency holds, from 1 to half of them.

    The vectors are taken as a periodic function of the number, as modular addition has it; they sum to 1 (Nanda et al.
    2023, arXiv:2301.05217).

    Example:
        A cosine of frequency 2 and nothing else:

        >>> wave = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
        >>> frequency_shares(wave).tolist()
        [0.0, 1.0]
    """
    fft: Any = torch.fft
    spectrum: Tensor = fft.rfft(embedding.double(), dim=0)
    power = spectrum.abs().square().sum(dim=1)[1:]
    # All others stand for themselves and for the frequency of the other sign.
    power[: (len(embedding) - 1) // 2] *= 2
    return (power / power.sum()).to(embedding.dtype)


def strongest_share(embedding: Float[Tensor, "number d_model"]) -> float:
    """Returns the share of the variance that the :data:`STRONGEST` frequencies hold together."""
    shares = frequency_shares(embedding.detach())
    return float(shares.topk(min(STRONGEST, len(shares))).values.sum())
