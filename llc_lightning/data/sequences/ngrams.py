"""What guessing the next token by counts reaches, from the last none, one or two tokens."""

import torch
from jaxtyping import Int64
from torch import Tensor

_SMOOTHING = 0.1
_MOST_CELLS = 1 << 25
NAMES = ("unigram", "bigram", "trigram")


def ngram_losses(counted: Int64[Tensor, "counted"], told: Int64[Tensor, "told"], vocabulary: int) -> dict[str, float]:
    """Returns the cross-entropies in nats per token of n-gram models for n = 1, 2, 3, on other text than was counted.

    An n-gram's probability is its count plus 0.1, divided by that of all that begin alike. Orders whose table would
    have more than 2^25 cells are left out.

    Args:
        counted: The tokens to count.
        told: The tokens to predict, more than two.
        vocabulary: The number of tokens.

    Example:
        >>> losses = ngram_losses(torch.tensor([0, 1] * 500), torch.tensor([0, 1] * 50), 2)
        >>> [round(losses[name], 3) for name in NAMES]
        [0.693, 0.0, 0.0]
    """
    losses: dict[str, float] = {}
    for order, name in enumerate(NAMES, start=1):
        cells = vocabulary**order
        if cells > _MOST_CELLS:
            break
        counts = torch.bincount(_grams(counted, order, vocabulary), minlength=cells).double() + _SMOOTHING
        table = counts.view(-1, vocabulary)
        logs = (table / table.sum(dim=1, keepdim=True)).log().flatten()
        losses[name] = -float(logs[_grams(told, order, vocabulary)].mean())
    return losses


def _grams(tokens: Int64[Tensor, "token"], order: int, vocabulary: int) -> Int64[Tensor, "gram"]:
    """Returns the runs of ``order`` tokens as numbers, the last token in the lowest place."""
    return sum(
        (tokens[place : len(tokens) - order + 1 + place] * vocabulary ** (order - 1 - place) for place in range(order)),
        torch.zeros((), dtype=torch.int64),
    )
