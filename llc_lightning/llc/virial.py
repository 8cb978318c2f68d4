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
        diagonals: The probes of the first chains, [1, lane, *slice]; used up, since each is as large as all weights.
        chains: The number of all chains.
        at: The resolution.
    """
    return {name: _of_the_others([own.pop(name) for own in diagonals], chains, at) for name in list(diagonals[0])}


def _of_the_others(diagonals: list[Tensor], chains: int, at: Resolution) -> Tensor:
    """Returns M of every chain, [chain, lane, *slice], from the diagonals [1, lane, *slice] but its own; used up."""
    probes, own = len(diagonals), torch.cat(diagonals)
    diagonals.clear()
    if probes == 1:
        return _weights(own, own.square(), 1, at)
    total, squares = own.sum(0), own.square().sum(0)
    found = own.new_empty(chains, *own.shape[1:])
    for chain in range(probes):
        found[chain] = _weights(total - own[chain], squares - own[chain].square(), probes - 1, at)
    if chains > probes:
        found[probes:] = _weights(total, squares, probes, at)
    return found


def _weights(total: Tensor, squares: Tensor, count: int, at: Resolution) -> Tensor:
    """Returns M from the sums of some diagonals and of their squares, in whose place it is made.

    In place, since one tensor can hold most weights of a large network.
    """
    mean = total.div_(count)
    if count > 1:
        error = squares.div_(count).sub_(mean.square()).clamp_(min=0).div_(count - 1).sqrt_()
        mean.masked_fill_(~(mean > error.mul_(_SIGNIFICANT)), 0.0)
    scaled = mean.clamp_(min=0).mul_(at.n_beta)
    curved = scaled > 0
    return scaled.div_(torch.add(scaled, at.gamma, out=squares)).masked_fill_(~curved, 0.0)
