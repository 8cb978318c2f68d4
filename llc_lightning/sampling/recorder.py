"""What is recorded of chains beside their losses, at some of the kept draws."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import Evaluated, Posterior, Sampler, StepLoss
from llc_lightning.sampling.observables.base import Look, Observable, by_name
from llc_lightning.sampling.stacked import Stack


class Recorder:
    """Lets observables look at the chains, each at its own draws.

    Args:
        observables: In the order in which they look; later ones take over what earlier ones had to evaluate.
        posterior: What is sampled.
        lanes: How many lanes there are, padding not counted.
        second: Gives the loss on a minibatch that no chain is moved by, for the look at a draw; None with the full
            batch.

    Raises:
        SettingError: If two of the observables have the same name.
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        posterior: Posterior,
        *,
        lanes: int,
        second: Callable[[int], StepLoss] | None = None,
    ) -> None:
        self._observables = by_name(observables)
        self._posterior = posterior
        self._lanes = lanes
        self._second = second
        self._seen: dict[str, list[Tensor]] = {name: [] for name in self._observables}

    def settle(self, position: Stack) -> None:
        """Lets the observables choose what must not follow the draws; called once, when burn-in ends."""
        for observable in self._observables.values():
            observable.settle(position)

    def look(self, draw: int, position: Stack, here: Evaluated, loss: StepLoss, sampler: Sampler) -> None:
        """Records a kept draw, for those that look at it.

        Args:
            draw: Its number.
            position: Where the chains are.
            here: The loss and its gradient there.
            loss: The loss on the examples of the step, which are independent of the position.
            sampler: What gave the gradient.

        Raises:
            SettingError: If an observable returns no tensor with chains and lanes in front, or moves the chains.
        """
        look = Look(draw, position, here, loss, sampler, self._posterior, self._second)
        for name, observable in self._observables.items():
            if draw % observable.every == 0:
                before, changes = self._seen[name], _changes(position, here)
                seen = observable.look(look)
                if _changes(position, here) != changes:
                    raise SettingError(f"the observable {name!r} changed what it looked at; let it change a copy.")
                _check(name, seen, tuple(here.excess.shape), before[0] if before else None)
                before.append(seen)

    def observed(self) -> dict[str, Tensor]:
        """Returns what every observable saw, [lane, chain, draw, ...] on the CPU, without padding."""
        return {
            name: torch.stack(seen).transpose(0, 2)[: self._lanes].contiguous().cpu()
            for name, seen in self._seen.items()
        }


def _changes(position: Stack, here: Evaluated) -> list[int]:
    """Returns how often the tensors that the next step starts from were changed in place."""
    return [tensor._version for tensor in (*position.values(), here.excess, *here.gradient.values())]


def _check(name: str, seen: object, lanes: tuple[int, ...], first: Tensor | None) -> None:
    """Checks that an observable returned one value, or one tensor of values, for every chain and lane."""
    if not isinstance(seen, Tensor):
        raise SettingError(f"the observable {name!r} returned {seen!r}; give a tensor [chain, lane, ...].")
    shape = tuple(seen.shape)
    if shape[:2] != lanes:
        raise SettingError(
            f"the observable {name!r} returned a tensor of shape {shape}; give one that begins with chain and lane, "
            f"here {lanes}."
        )
    if first is not None and seen.shape != first.shape:
        raise SettingError(
            f"the observable {name!r} returned shape {shape} after {tuple(first.shape)}; give the same at every draw."
        )
