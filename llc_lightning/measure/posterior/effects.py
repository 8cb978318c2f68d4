"""Ablation effects under the posterior: what ablated models lose at the draws of the whole model's chains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.base import Method
from llc_lightning.components.component import Component
from llc_lightning.llc.covariance import Array, covariance, jackknife
from llc_lightning.llc.record import LLCRecord
from llc_lightning.measure.ablated_llc.losses import AblatedLoss, ablated
from llc_lightning.measure.posterior.structure import OBSERVED, alive_chains
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import Batch, Params, take

ABLATED = "ablated"
"""The name that the mean losses of ablated models are observed by."""


@dataclass(frozen=True)
class PosteriorEffect:
    """What one ablation does under the posterior, with standard errors from how chains differ."""

    value: float
    """``E[L_a(w) - L(w)]``."""
    stderr: float
    covariance: float
    """``Cov(L, L_a)``."""
    covariance_stderr: float
    at_weights: Array
    """``l_a(w*) - l(w*)`` of every example."""


class AblatedModels:
    """The losses of some ablated models, as one function of the weights.

    Models that differ in numbers alone are run as one, whatever is beside them.

    Args:
        models: Every model with the examples for it.
    """

    def __init__(self, models: Sequence[tuple[AblatedLoss, Batch]]) -> None:
        forms: dict[Any, list[int]] = {}
        for number, (loss, rows) in enumerate(models):
            forms.setdefault(_form(loss, rows), []).append(number)
        self._groups = [
            (
                models[numbers[0]][0],
                *(_stacked([_numbers(*models[number])[side] for number in numbers]) for side in (0, 1)),
            )
            for numbers in forms.values()
        ]
        order = [number for numbers in forms.values() for number in numbers]
        self._back = torch.tensor(sorted(range(len(order)), key=order.__getitem__))

    def losses(self, params: Params) -> Float[Tensor, "model example"]:
        """Returns the loss of every example in every model."""
        found: list[Tensor] = []
        for loss, whats, rows in self._groups:

            def one(whats: list[dict[str, Tensor]], rows: list[Tensor], loss: AblatedLoss = loss) -> Tensor:
                changes = [replace(change, what=what) for change, what in zip(loss.changes, whats, strict=True)]
                return replace(loss, changes=tuple(changes))(params, tuple(rows))

            found.append(torch.vmap(one)(whats, rows))
        return torch.cat(found)[self._back]

    def __call__(self, params: Params) -> Float[Tensor, "model"]:
        """Returns the mean loss of every model."""
        return self.losses(params).mean(1)


def models_without(
    snapshot: Snapshot, components: Sequence[Component], methods: Sequence[Method], watched: Tensor
) -> AblatedModels:
    """Returns the model without each component by every method, method by method within a component.

    Args:
        snapshot: The weights and the examples that constants and donors are taken from.
        components: What to ablate.
        methods: How.
        watched: The numbers of the examples that the losses are of.
    """
    models: list[tuple[AblatedLoss, Batch]] = []
    for component in components:
        for method in methods:
            held, rows = ablated(snapshot.loss, snapshot.params, snapshot.data, component, method, seed=snapshot.seed)
            # All weights move here, those of the component too.
            models.append((cast("AblatedLoss", held.loss), take(rows, watched)))
    return AblatedModels(models)


def effects_under(
    record: LLCRecord, rise: Float[Tensor, "model example"], at_centre: Float[Tensor, "example"]
) -> list[PosteriorEffect]:
    """Returns what the healthy chains know of every ablation that was observed; NaN where there is none.

    Args:
        record: An estimate along whose chains it was observed, beside the losses of the same examples.
        rise: By how much the ablations raise the examples' losses at the centre.
        at_centre: The losses of the examples at the centre.
    """
    alive = alive_chains(record)
    if not alive:
        return [PosteriorEffect(math.nan, math.nan, math.nan, math.nan, each.double().cpu().numpy()) for each in rise]
    losses = record.observed[ABLATED][alive].double().numpy()
    whole = record.observed[OBSERVED][alive].double().numpy().mean(2) + at_centre.double().mean().item()
    by_chain = (losses - whole[..., None]).mean(1)
    means = jackknife(lambda kept: by_chain[kept].mean(0), len(by_chain))
    together = covariance(whole[..., None], losses)
    return [
        PosteriorEffect(
            float(means.value[number]),
            float(means.stderr[number]),
            float(together.value[0, number]),
            float(together.stderr[0, number]),
            each.double().cpu().numpy(),
        )
        for number, each in enumerate(rise)
    ]


def _form(loss: AblatedLoss, rows: Batch) -> Any:
    """Returns all that models must share to be run as one."""
    whats, tensors = _numbers(loss, rows)
    shapes = [(name, tuple(value.shape), value.dtype) for what in whats for name, value in sorted(what.items())]
    shapes += [("", tuple(value.shape), value.dtype) for value in tensors]
    points = tuple((one.point, one.unit_axis) for one in loss.changes)
    return (points, loss.keys, loss.size, loss.form, loss.donors, loss.valued, loss.axes, tuple(shapes))


def _numbers(loss: AblatedLoss, rows: Batch) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    return [dict(one.what) for one in loss.changes], list(cast("tuple[Tensor, ...]", rows))


def _stacked(trees: Sequence[Any]) -> Any:
    """Returns nests of tensors of one form as one nest, stacked."""
    if isinstance(trees[0], Tensor):
        return torch.stack(list(trees))
    if isinstance(trees[0], dict):
        names: list[str] = list(trees[0])  # pyright: ignore[reportUnknownArgumentType]
        return {name: _stacked([tree[name] for tree in trees]) for name in names}
    return [_stacked(list(members)) for members in zip(*trees, strict=True)]
