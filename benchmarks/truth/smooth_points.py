"""Reduced-rank regression as a module, at smooth points of its fibre: what single units can be taken from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.listing import find_components
from llc_lightning.llc.recover import recover
from llc_lightning.measure.ablated_llc.losses import ablated
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import Batch, LossFn, Params

SIZE = 2.0
"""Of the weights at smooth points."""
_ROUNDING = 1e-8


class Linear(nn.Module):
    """Reduced-rank regression: two linear maps, on examples that their product fits."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.one = nn.Linear(*first.shape[::-1], bias=False, dtype=torch.float64)
        self.two = nn.Linear(*second.shape[::-1], bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.one.weight.copy_(first)
            self.two.weight.copy_(second)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns half the squared error of every example."""
        return 0.5 * (self.two(self.one(batch[0])) - batch[1]).square().sum(-1)

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a hidden unit: its row and its column."""
        return {"one": WeightAxes(incoming=(("one.weight", 0),), outgoing=(("two.weight", 1),))}


def around(first: Tensor, second: Tensor, *, seed: int = 0) -> Snapshot:
    """Returns a net of two maps on 64 whitened inputs, for which the loss is ``1/2 |B A - M|^2`` exactly."""
    stream = torch.Generator().manual_seed(seed)
    x = torch.linalg.qr(torch.randn(64, first.shape[1], generator=stream, dtype=torch.float64))[0] * 8.0
    data = (x, x @ (second @ first).T)
    return Snapshot.of(Linear(first, second), data, run="linear/version_0", seed=seed, step=1, epoch=0)


def at_a_smooth_point(inputs: int, hidden: int, outputs: int, rank: int, *, seed: int = 0) -> Snapshot:
    """Returns a net on a true map of a rank; hidden directions that are left over are in use on one side, in turn."""
    stream = torch.Generator().manual_seed(seed)
    left, right, mixed = (
        torch.linalg.qr(torch.randn(n, n, generator=stream, dtype=torch.float64))[0] for n in (outputs, inputs, hidden)
    )
    # Equal sizes would be aligned with any unit.
    sizes = 1 + 0.5 * torch.rand(rank, generator=stream, dtype=torch.float64)
    first = mixed[:, :rank] @ (sizes.sqrt()[:, None] * right[:rank])
    second = (left[:, :rank] * sizes.sqrt()) @ mixed[:, :rank].T
    for more in range(rank, hidden):
        if (more - rank) % 2 == 0:
            first = first + torch.outer(mixed[:, more], right[more])
        else:
            second = second + torch.outer(left[:, more], mixed[:, more])
    return around(SIZE * first, SIZE * second, seed=seed)


def softest(snapshot: Snapshot, address: str, *, n_beta: float) -> float:
    """Returns the least curvature that is none of a flat direction, of a net without a unit and of the whole one.

    It is the smallest eigenvalue above rounding of the Hessian at the minima that both are re-optimised to. Near 0 one
    of them lies where branches of minima cross, and the value is not that of a smooth point.
    """
    (unit,) = find_components(snapshot.loss.module, address)
    method = resolve_methods("zero")[0]
    without, rows = ablated(snapshot.loss, snapshot.params, snapshot.data, unit, method, seed=snapshot.seed)
    return min(
        _softest(loss, snapshot.params, data, n_beta)
        for loss, data in ((snapshot.loss, snapshot.data), (without, rows))
    )


def _softest(loss: LossFn, params: Params, data: Batch, n_beta: float) -> float:
    there = recover(loss, params, data, n_beta=n_beta).params
    sizes = [value.numel() for value in there.values()]

    def mean(w: Tensor) -> Tensor:
        parts = zip(there.items(), w.split(sizes), strict=True)
        return loss({name: part.view_as(value) for (name, value), part in parts}, data).mean()

    w = torch.cat([value.flatten() for value in there.values()])
    curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(mean, w))
    return curvature[curvature > _ROUNDING].min().item()
