"""What the curvature of a loss says of its coefficient, by all eigenvalues of its Hessian."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp, vmap

from benchmarks.under_ablation.nets import Net
from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.components.component import Component
from llc_lightning.llc.recover import recover
from llc_lightning.measure.ablated_llc.losses import ablated
from llc_lightning.runtime.batches import Batch, LossFn, Params

_AT_ONCE = 64
"""Columns of a Hessian."""


def curved_otherwise(net: Net, component: Component) -> float:
    """Returns the coefficient of the loss without a component around w_g minus that around w~, were both parabolas.

    That is what ``recovery_closure`` must be where curvature changes little within the chains' reach: with the
    eigenvalues h of the Hessian, ``sum 1/2 n_beta h / (n_beta h + gamma)`` at the one minus at the other.
    """
    (method,), (n_beta,), gamma = resolve_methods(("zero",)), net.plan.n_beta, net.plan.gamma
    loss, data = ablated(net.at.loss, net.at.params, net.at.data, component, method, seed=net.at.seed)
    at_mode, at_minimum = (
        recover(loss, net.at.params, data, n_beta=n_beta, gamma=pull, budget=net.plan.budget).params
        for pull in (gamma, 0.0)
    )
    here, there = (torch.linalg.eigvalsh(_hessian(loss, at, data)) * n_beta for at in (at_mode, at_minimum))
    return (0.5 * here / (here + gamma)).sum().item() - (0.5 * there / (there + gamma)).sum().item()


def _hessian(loss: LossFn, params: Params, data: Batch) -> Float[Tensor, "weight weight"]:
    """Returns the Hessian of the mean loss; 0 for weights that are held."""
    sizes = [value.numel() for value in params.values()]
    weights = torch.cat([value.reshape(-1) for value in params.values()])

    def mean_loss(weights: Tensor) -> Tensor:
        parts = zip(params.items(), weights.split(sizes), strict=True)
        return loss({name: part.reshape(value.shape) for (name, value), part in parts}, data).mean()

    _, pulled = vjp(grad(mean_loss), weights)
    columns = torch.cat(
        [vmap(pulled)(block)[0] for block in torch.eye(len(weights), dtype=weights.dtype).split(_AT_ONCE)]
    ).double()
    return (columns + columns.mT) / 2
