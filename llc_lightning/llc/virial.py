"""The weights of the virial, by which chains are checked against what must hold in equilibrium."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llc_lightning.llc.settings import Resolution
from llc_lightning.sampling.stacked import Stack

_SIGNIFICANT = 2.0


def virial_weights(diagonals: Sequence[Stack], chains: int, at: Resolution) -> Stack:
    """Returns the diagonal ``M = n_beta D / (n_beta D + gamma)`` of every chain and lane.

    ``D`` is Hutchinson's estimate of the Hessian's diagonal, one probe where each of the first chains is when burn-in
    ends, averaged over all of them but the chain itself, which would stay for a while where its own D was measured. Any
    constant M is right; this one weighs every direction by its part in the coefficient. Where D does not exceed twice
    its error it counts as 0, so that directions in which the loss is flat do not blur the check.

    Args:
        diagonals: The probes of the first chains, [1, lane, *slice].
        chains: The number of all chains.
        at: The resolution.
    """
    return {
        name: _of_the_others(torch.cat([diagonal[name] for diagonal in diagonals]), chains, at) for name in diagonals[0]
    }


def _of_the_others(diagonals: Tensor, chains: int, at: Resolution) -> Tensor:
    """Returns M of every chain from the diagonals [probe, lane, *slice] but its own: [chain, lane, *slice]."""
    probes = len(diagonals)
    if probes == 1:
        return _weights(diagonals[0], diagonals[0].square(), 1, at)[None]
    total, squares = diagonals.sum(0), diagonals.square().sum(0)
    rows = [_weights(total - own, squares - own.square(), probes - 1, at) for own in diagonals]
    return torch.stack(rows + [_weights(total, squares, probes, at)] * (chains - probes))


def _weights(total: Tensor, squares: Tensor, count: int, at: Resolution) -> Tensor:
    """Returns M from the sums of some diagonals and of their squares."""
    mean = total / count
    if count > 1:
        error = ((squares / count - mean.square()).clamp(min=0) / (count - 1)).sqrt()
        mean = mean.where(mean > _SIGNIFICANT * error, 0.0)
    scaled = at.n_beta * mean.clamp(min=0)
    return torch.where(scaled > 0, scaled / (scaled + at.gamma), 0.0)
