"""What ``ablation_effects`` does for a net with tasks, by forward hooks, one ablation after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llc_lightning.ablation.engine.influence import donors
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.runtime.batches import Batch, n_examples

_MOVES, _STEP = 2, 0.1
"""How the method ``mean`` finds what an example adds to the mean."""


def hooked(module: nn.Module, part: Component, value: float | Tensor, function: Callable[[], Any]) -> Any:
    """Returns what a function of the module returns while a forward hook replaces a component's units."""
    point, owner = part.point, module.get_submodule(part.point.removesuffix(":input"))
    units = list(part.units or ())

    def replaced(activation: Tensor) -> Tensor:
        changed = activation.clone()
        changed[..., units] = value[..., units] if isinstance(value, Tensor) else value
        return changed

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (replaced(inputs[0]), *inputs[1:])

    def after(_: nn.Module, inputs: Any, output: Any) -> Tensor:
        return replaced(output)

    is_input = point.endswith(":input")
    handle = owner.register_forward_pre_hook(before) if is_input else owner.register_forward_hook(after)
    try:
        return function()
    finally:
        handle.remove()


class HookLoop:
    """Zero, mean and resample ablation of the neurons of a net, on the loss and on every task, with standard errors.

    The errors are those of :class:`~llc_lightning.ablation.engine.influence.Influences`, which count that examples are
    donors of each other and that the mean is estimated, literally, of all losses of a component at once.
    """

    def __init__(self, module: Any, data: Batch, *, seed: int = 0) -> None:
        self._module, self._data = module, data
        self._parts = find_components(module, "neurons")
        n = n_examples(data)
        self._donor, *_ = self._moves = [donors(n, seed=seed, draw=draw) for draw in range(_MOVES)]

    @torch.no_grad()
    def __call__(self) -> list[float]:
        """Returns the effects of every component by every method on every loss, then their standard errors."""
        caught: list[Tensor] = []
        point = self._module.get_submodule(self._parts[0].point)
        handle = point.register_forward_hook(lambda _, inputs, output: caught.append(output))
        self._module.per_example_loss(self._data)
        handle.remove()
        clean, counts = self._losses()
        h, mean = caught[0], caught[0].double().mean(0, keepdim=True).to(caught[0].dtype)
        apart = [mean + _STEP * (h[move] - mean) for move in self._moves]
        found: list[Tensor] = []
        for part in self._parts:
            zero, given, middle, *moved = (
                (hooked(self._module, part, value, self._losses)[0] - clean).where(counts, 0).double()
                for value in (0.0, h[self._donor], mean.expand_as(h), *apart)
            )
            slopes = [(one - middle) / _STEP for one in moved]
            found += [self._plain(zero, counts), self._of_mean(middle, slopes, counts), self._of_donors(given, counts)]
        return torch.stack(found).movedim(1, 0).flatten().tolist()

    def _losses(self) -> tuple[Float[Tensor, "example loss"], Bool[Tensor, "example loss"]]:
        loss = self._module.per_example_loss(self._data)[:, None]
        by_task, counts = self._module.per_task_loss(self._data)
        return torch.cat([loss, by_task], dim=1), torch.cat([torch.ones_like(loss, dtype=torch.bool), counts], dim=1)

    def _plain(self, changes: Tensor, counts: Tensor) -> Float[Tensor, "2 loss"]:
        number = counts.sum(0)
        effect = changes.sum(0) / number
        return torch.stack([effect, _squares(changes, effect, counts).div(number - 1).div(number).sqrt()])

    def _of_donors(self, changes: Tensor, counts: Tensor) -> Float[Tensor, "2 loss"]:
        number = counts.sum(0)
        effect = changes.sum(0) / number
        influences = changes + _scattered(changes, self._donor) - effect * (counts + _scattered(counts, self._donor))
        alone = _squares(changes, effect, counts)
        return _with_error(effect, influences.square().sum(0) - alone, 3, alone, number)

    def _of_mean(self, changes: Tensor, slopes: list[Tensor], counts: Tensor) -> Float[Tensor, "2 loss"]:
        number = counts.sum(0)
        effect = changes.sum(0) / number
        given = sum(_scattered(one, move) for one, move in zip(slopes, self._moves, strict=True))
        times = sum(_scattered(counts, move) for move in self._moves)
        derivative = (given - torch.as_tensor(given).sum(0) / (number * _MOVES) * times) / _MOVES
        influences = changes - effect * counts + derivative
        noise = sum(one.square().sum(0) for one in slopes) / _MOVES - derivative.square().sum(0)
        total = influences.square().sum(0)
        return _with_error(effect, total - noise / (_MOVES - 1), 1, _squares(changes, effect, counts), number, total)


def _scattered(values: Tensor, donor: Int[Tensor, "example"]) -> Tensor:
    """Returns what the receivers of every example have."""
    return torch.zeros(values.shape, dtype=torch.float64).index_add_(0, donor, values.double())


def _squares(changes: Tensor, effect: Tensor, counts: Tensor) -> Float[Tensor, "loss"]:
    return (changes - effect * counts).square().sum(0)


def _with_error(
    effect: Tensor, squares: Tensor, taken: float, alone: Tensor, number: Tensor, total: Tensor | None = None
) -> Float[Tensor, "2 loss"]:
    """Returns an effect and its error by sums of squares around it, of few examples rather too large a one."""
    whole = torch.where(number > 2 * taken, squares * number / (number - taken), 0)
    whole = torch.where(number > 10 * taken, whole, torch.maximum(whole, alone * number / (number - 1)))
    return torch.stack([effect, torch.where(whole > 0, whole, squares if total is None else total).sqrt() / number])
