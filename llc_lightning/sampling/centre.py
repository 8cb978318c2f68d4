"""The centre of a posterior: the weights w*, their loss example by example, and the gradient of the mean loss."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.components.alone import check_alone
from llc_lightning.runtime.batches import Batch, LossFn, Params, chunks, n_examples, plain, take, without_graph
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.errors import SettingError

_BLOCK = 4096
_FEWEST_BLOCKS = 8
_CHECKED = 64
_NUDGE = 0.01
_SHOWN = 3


@dataclass(frozen=True)
class Centre:
    """The weights w* and what is known of the loss there, measured once for all chains of all components.

    ``losses`` is the cached baseline that every minibatch loss is paired with; ``gradient`` is that of the mean loss
    over all examples, for the parameters that some chain moves, and ``gradient_variance`` the squared standard error of
    each of its entries, from how it differs between blocks of examples (NaN where there is one block).
    """

    params: Params
    losses: Float[Tensor, "example"]
    gradient: Params
    gradient_variance: Params

    @cached_property
    def digest(self) -> str:
        """Names the weights."""
        return tensor_digest(self.params)

    @cached_property
    def loss(self) -> float:
        """The mean loss."""
        return self.losses.double().mean().item()

    @cached_property
    def loss_stderr(self) -> float:
        """The standard error of the mean loss: SD over examples / sqrt(n)."""
        if len(self.losses) < 2:
            return math.nan
        return (self.losses.double().std() / len(self.losses) ** 0.5).item()

    @cached_property
    def weight_norm(self) -> float:
        """The norm of all weights."""
        return norm({name: value for name, value in self.params.items() if value.is_floating_point()})


def norm(values: Params) -> float:
    """Returns the norm of all values together."""
    return math.sqrt(sum(value.double().square().sum().item() for value in values.values()))


def centre_of(loss: LossFn, params: Params, data: Batch, names: Collection[str]) -> Centre:
    """Returns the centre at ``params``, with the gradient for the parameters ``names``; one pass over the data.

    The centre holds copies of them.

    Raises:
        SettingError: If the loss is not one for each example, depends on other examples or on chance, or depends on the
            weights but has no gradient.
    """
    return centre_at(loss, without_graph(params), data, names)


def centre_at(loss: LossFn, params: Params, data: Batch, names: Collection[str]) -> Centre:
    """As :func:`centre_of`, of ``params`` that are copies already, without a graph: the centre holds themselves."""
    n = n_examples(data)
    check_alone(loss, params, data)
    moving = without_graph({name: params[name] for name in params if name in names})
    for value in moving.values():
        value.requires_grad_()
    losses: list[Tensor] = []
    flat = set(moving)
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in moving.items()}
    square = {name: torch.zeros_like(value) for name, value in total.items()}
    size = min(_BLOCK, max(1, -(-n // _FEWEST_BLOCKS)))
    for block in chunks(n, size):
        values = loss({**params, **moving}, take(data, block))
        if values.requires_grad:  # else the loss does not depend on these parameters, and the gradient is 0
            found = torch.autograd.grad(values.sum(), list(moving.values()), allow_unused=True)
            for name, gradient in zip(moving, cast("Sequence[Tensor | None]", found), strict=True):
                if gradient is not None:
                    flat.discard(name)
                    total[name] += gradient
                    square[name] += gradient.double().square() / (block.stop - block.start)
        losses.append(values.detach())
    if flat:
        _check_flat(loss, params, flat, data)
    gradient = {name: (value / n).to(params[name].dtype) for name, value in total.items()}
    blocks = -(-n // size)
    variance = {  # of the mean of blocks: the variance between them, over their number
        name: ((square[name] / n - (value / n).square()) / (blocks - 1 or torch.nan)).clamp(min=0)
        for name, value in total.items()
    }
    return Centre(params, torch.cat(losses), gradient, variance)


class Centres:
    """What is known of losses at one set of weights, each found once for all who ask.

    Only the first loss and the last are kept: each takes up to three times the memory of the weights.
    """

    def __init__(self) -> None:
        self._params: Params = {}
        self._expected: set[str] = set()
        self._known: dict[str, Centre] = {}

    def expect(self, names: Collection[str]) -> None:
        """Has the gradient for further parameters found along with the next, which spares a pass over the data."""
        self._expected |= set(names)

    def of(self, name: str, loss: LossFn, params: Params, data: Batch, moved: Collection[str]) -> Centre:
        """Returns the centre of a loss, with the gradient for at least the parameters ``moved``.

        Args:
            name: Tells the loss from others.
            loss: The loss per example.
            params: The weights, always the same.
            data: The examples, always the same for a loss.
            moved: Names of parameters.

        Raises:
            SettingError: As :func:`centre_of` does.
        """
        found = self._known.get(name)
        if found is None or not set(moved) <= found.gradient.keys():
            names = {*moved, *self._expected, *(found.gradient if found else ())}
            try:
                found = self._found(loss, params, data, names)
            except Exception:  # of whatever the module and torch raise
                if names == set(moved):
                    raise
                self._expected.clear()  # that of others, which cannot be had, must not fail this one
                found = self._found(loss, params, data, moved)
            first = next(iter(self._known), name)
            self._known = {first: self._known.get(first, found), name: found}
        return found

    def _found(self, loss: LossFn, params: Params, data: Batch, names: Collection[str]) -> Centre:
        with torch.inference_mode(False), torch.enable_grad():  # the caller's mode must not reach the gradients
            self._params = self._params or without_graph(params)
            return centre_at(loss, self._params, plain(data), names)


def _check_flat(loss: LossFn, params: Params, flat: Collection[str], data: Batch) -> None:
    """Checks that a loss does not depend on weights that it has no gradient for: chains would move as if it did not."""
    some = take(data, slice(0, _CHECKED))

    def matters(names: Collection[str]) -> bool:
        nudged = {name: params[name] + _NUDGE * (1 + params[name].abs()) for name in names}
        there = loss({**params, **nudged}, some)
        return bool((here.isfinite() & there.isfinite() & (here != there)).any())

    with torch.no_grad():
        here = loss(params, some)
        if matters(flat):
            names = sorted(name for name in flat if matters([name])) or sorted(flat)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise SettingError(
                f"the loss depends on the moved weights but has no gradient; {', '.join(names[:_SHOWN])}{more} must "
                "enter by differentiable operations of torch, without detach(), no_grad() or NumPy."
            )
