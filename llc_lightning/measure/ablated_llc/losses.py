"""Ablated models as losses: functions of weights and examples, to be re-optimised and sampled like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method, Shared, entry_of
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.entries import HasCounterfactual
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.mask import Mask, spread
from llc_lightning.ablation.engine.place import Place, ReplacementAt
from llc_lightning.ablation.engine.replacing import by_side
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, LossFn, Params, check_partners, chunks, n_examples, take, to_device
from llc_lightning.runtime.errors import SettingError

_BLOCK = 4096
CONSTANT = "constant of the ablation "
"""Begins the names of what stands among the weights and is none of them."""


@dataclass(frozen=True)
class Held:
    """A loss for which some weights stay as they are at the centre, however a chain moves them.

    Chains then draw the noise of all weights, so that random numbers stay common with those of the whole model; what
    they do to the weights that are held is seen by no loss.
    """

    loss: LossFn
    centre: Params
    """The weights that are held, whole tensors."""
    masks: Mapping[str, Bool[Tensor, "..."]]
    """Which of their entries are."""

    @classmethod
    def of(cls, loss: LossFn, params: Params, component: Component) -> Held:
        """Returns a loss that does not see the weights of a component move."""
        masks = component.moved(params)
        return cls(loss, {name: params[name] for name in masks}, masks)

    def __call__(self, params: Params, batch: Batch, /) -> Tensor:
        """Returns the loss of every example."""
        held = {name: torch.where(mask, self.centre[name], params[name]) for name, mask in self.masks.items()}
        return self.loss({**params, **held}, batch)


@dataclass(frozen=True)
class AblatedLoss:
    """The loss of a module with an activation replaced, on examples that carry what takes its place.

    An example is a row of tensors: its own, then those of its donor where there is one, the values that it takes where
    these are its own, and which of its positions count where there is a mask.
    """

    whole: ModuleLoss
    changes: tuple[ReplacementAt, ...]
    """What is done at each hook point; ``value`` is a placeholder where values come with the examples."""
    keys: tuple[str, ...] | None
    """Names of an example's tensors, where it is a dict; None where it is a tuple."""
    size: int
    """Tensors of an example; 0 for a single one that is no tuple."""
    form: type
    """The class of an example: a tuple, a list, a named tuple, a dict or a tensor."""
    donors: bool
    valued: bool
    axes: tuple[tuple[int, ...], ...] | None
    """For every hook point the axes of the positions of a mask; None without one."""

    def __call__(self, params: Params, batch: Batch, /) -> Tensor:
        """Returns the loss of every example."""
        row = cast("tuple[Tensor, ...]", batch)
        width = max(self.size, 1)
        own, rest = self._example(row[:width]), row[width:]
        changes = self.changes
        if self.donors:
            given = self.whole.watched(params, self._example(rest[:width]), [one.point for one in changes])[1]
            rest = rest[width:]
            changes = tuple(_with(one, value=given[one.point]) for one in changes)
        if self.valued:
            changes = tuple(_with(one, value=value) for one, value in zip(changes, rest, strict=False))
            rest = rest[len(changes) :]
        if self.axes is not None:
            changes = tuple(_spared(one, rest[0], axes) for one, axes in zip(changes, self.axes, strict=True))
        return self.whole.with_edits(changes)(params, own)

    def _example(self, tensors: Sequence[Tensor]) -> Batch:
        if self.keys is not None:
            return dict(zip(self.keys, tensors, strict=True))
        if not self.size:
            return tensors[0]
        return self.form(*tensors) if hasattr(self.form, "_fields") else self.form(tensors)


@dataclass(frozen=True)
class FreeConstant:
    """The loss of an ablated model whose constant is one more weight, to be re-optimised and sampled with the others.

    The counterpart of optimal ablation (Li and Janson 2024, arXiv:2409.09951), which chooses the constant for weights
    that stand still.
    """

    loss: AblatedLoss
    entries: tuple[Int[Tensor, "constant"], ...]
    """Of the value at each hook point, those that replace something; counted through all of it."""

    @classmethod
    def of(cls, held: Held, params: Params) -> tuple[Held, dict[str, Tensor]]:
        """Returns the loss, and the weights with the constants as the ablation has them.

        Args:
            held: The loss of an ablated model.
            params: Its weights.

        Raises:
            SettingError: If the ablation's values differ from example to example.
        """
        loss = cast("AblatedLoss", held.loss)
        if loss.donors or loss.valued:
            raise SettingError(
                "the ablation puts in another value for each example, so that there is no constant to be free; measure "
                "joint=True under constants, such as 'zero', 'mean' or 'optimal'."
            )
        entries = tuple(_replaced(one) for one in loss.changes)
        like = next(value for value in params.values() if value.is_floating_point())
        constants = {
            f"{CONSTANT}{number}": one.what["value"].flatten()[where].to(like)
            for number, (one, where) in enumerate(zip(loss.changes, entries, strict=True))
        }
        return replace(held, loss=cls(loss, entries)), {**params, **constants}

    def __call__(self, params: Params, batch: Batch, /) -> Tensor:
        """Returns the loss of every example."""
        own = {name: value for name, value in params.items() if not name.startswith(CONSTANT)}
        changes: list[ReplacementAt] = []
        for number, (one, where) in enumerate(zip(self.loss.changes, self.entries, strict=True)):
            value, constants = one.what["value"], params[f"{CONSTANT}{number}"]
            free = value.flatten().to(constants).scatter(0, where, constants)
            changes.append(_with(one, value=free.view(value.shape)))
        return replace(self.loss, changes=tuple(changes))(own, batch)


def ablated(
    whole: ModuleLoss,
    params: Params,
    data: Batch,
    component: Component,
    method: Method,
    *,
    seed: int,
    mask: str = "",
) -> tuple[Held, Batch]:
    """Returns the loss L_a of a module without a component, and the examples for it.

    A constant is that which the ablation has at ``params``, and stays so while weights move. A donor's activation is
    computed with the weights that the example itself is computed with, so that resample and counterfactual ablations
    are losses too, though no edit of the weights. Of a method that draws several values the first counts. The
    component's own weights are held.

    Args:
        whole: The module's loss.
        params: The weights at which the ablation is made.
        data: The examples.
        component: What to ablate: an activation.
        method: How.
        seed: Keys donors and noise.
        mask: Which positions count, as in ``ablation_effects``.

    Raises:
        SettingError: If the method edits weights, or its donors depend on the position.
        AddressError: If the component has no activation.
    """
    if by_side([method])[1]:
        raise SettingError(f"{method.name!r} edits weights; measure under ablations of activations, such as 'zero'.")
    method.check(component)
    plain, reads = whole.with_edits(()), Mask.of(whole, params, mask)
    members = component.members
    with torch.no_grad():
        blocks, points = Blocks.of(data), [one.point for one in members]
        examples = Examples(plain, params, blocks, ("train",), points=points, mask=reads)
        seen = [examples.seen(one.point, one.unit_axis, [method]) for one in members]
        partner = _partner(plain, params, data, method, seen, seed)
        if partner is not None:
            values = [tuple(examples.first[point] for point in points)]
        elif isinstance(method, Shared):
            every = [torch.arange(blocks.n)]
            values = [tuple(next(iter(method.values(one, every, seed=seed)))[0] for one in seen)]
        else:
            effect = sweep(plain, params, data, [component], [method], seed=seed, mask=mask)[-1]
            values = _constants(effect.constants, members, examples)
        made = [_with_values(examples, members, value, partner) for value in values]
        loss, row = min(made, key=lambda one: _mean(one[0], params, one[1])) if len(made) > 1 else made[0]
    return Held.of(loss, params, component), row


def _with_values(
    examples: Examples, members: Sequence[Component], values: Sequence[Tensor], partner: Batch | None
) -> tuple[AblatedLoss, tuple[Tensor, ...]]:
    """Returns the loss under some values at the hook points, and the examples with what it reads beside them."""
    data, n = examples.blocks.data, examples.blocks.n
    row, keys, size = _tensors(data)
    changes = tuple(_change(examples, one, value) for one, value in zip(members, values, strict=True))
    if partner is not None:
        row += _tensors(partner)[0]
    valued = partner is None and any(len(value) > 1 for value in values)
    if valued:
        row += tuple(value.expand(n, *value.shape[1:]) for value in values)
    axes = None
    if examples.mask is not None:
        row = (*row, examples.mask(data))
        axes = tuple(examples.position_axes(one.point, one.axis_in(examples.first[one.point])) for one in members)
    return AblatedLoss(examples.loss, changes, keys, size, type(data), partner is not None, valued, axes), row


def _change(examples: Examples, member: Component, value: Tensor) -> ReplacementAt:
    place = Place.of([member], examples.first[member.point], few=False)
    aim = {name: what[0] for name, what in place.aims(torch.zeros(1, dtype=torch.long)).items()}
    return ReplacementAt(member.point, place.unit_axis, {**aim, "value": value})


def _replaced(change: ReplacementAt) -> Int[Tensor, "constant"]:
    """Returns which entries of a value take the place of something, counted through all of it."""
    where, value = change.what["where"], change.what["value"]
    everywhere = where & torch.ones_like(value, dtype=torch.bool)
    return everywhere.long().sum_to_size(value.shape).flatten().nonzero().flatten()


def _constants(
    found: Sequence[Float[Tensor, "fold ..."]], members: Sequence[Component], examples: Examples
) -> list[tuple[Tensor, ...]]:
    """Returns what a fitted method found on each of its folds, and the mean of these, for all units."""
    full: list[Tensor] = []
    for values, member in zip(found, members, strict=True):
        like = examples.first[member.point]
        if tuple(values.shape[1:]) != tuple(like.shape):  # of the replaced units alone
            units = torch.tensor(member.units, device=like.device)
            values = like.new_zeros(len(values), *like.shape).index_copy(member.axis_in(like), units, values.to(like))
        full.append(values)
    folds = [tuple(values[None] for values in one) for one in zip(*(one.unbind(0) for one in full), strict=True)]
    return [*folds, tuple(one.mean(0, keepdim=True) for one in full)]


def _mean(loss: LossFn, params: Params, row: Batch) -> float:
    blocks = chunks(n_examples(row), _BLOCK)
    return torch.cat([loss(params, take(row, block)) for block in blocks]).double().mean().item()


def _tensors(data: Batch) -> tuple[tuple[Tensor, ...], tuple[str, ...] | None, int]:
    """Returns the tensors of examples, their names where they have some, and how many a tuple or dict has."""
    if isinstance(data, Tensor):
        return (data,), None, 0
    if isinstance(data, Mapping):
        return tuple(data.values()), tuple(data), len(data)
    return tuple(data), None, len(data)


def _with(change: ReplacementAt, **what: Tensor) -> ReplacementAt:
    return replace(change, what={**change.what, **what})


def _spared(change: ReplacementAt, real: Bool[Tensor, "example position"], axes: tuple[int, ...]) -> ReplacementAt:
    """Returns a change that leaves what does not count as it is."""
    counts = spread(real, axes, change.what["where"].ndim)
    return change if counts is None else _with(change, where=change.what["where"] & counts)


def _partner(
    plain: ModuleLoss, params: Params, data: Batch, method: Method, seen: Sequence[Activations], seed: int
) -> Batch | None:
    """Returns the examples whose activations take the place of the examples' own; None where values do."""
    if entry_of(method).facts.needs_partner:
        if not isinstance(plain.module, HasCounterfactual):
            raise SettingError(
                f"the ablation method {method.name!r} needs a partner of each example; give the module a method "
                "counterfactual(batch)."
            )
        partner = plain.asked("counterfactual", params, data)
        check_partners(partner, data, what="counterfactual partners")
        return to_device(partner, seen[0].activation.device)
    donors = method.donors(seen[0], seed=seed) if isinstance(method, Shared) else None
    if donors is None or donors.step is not None:
        return None
    by_example = donors.by_draw[0]
    if by_example.shape[1] != 1 or seen[0].real is not None:
        raise SettingError(
            f"{method.name!r} gives positions donors of their own, so that no donor takes the example's place as a "
            "whole; use donors for all positions together, and no mask."
        )
    return take(data, by_example[:, 0])
