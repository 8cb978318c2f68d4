"""The contract of an observable, what it looks at, and the table of those that a name finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.errors import SettingError, one_line
from llc_lightning.runtime.registry import Registry
from llc_lightning.sampling.base import Evaluated, Posterior, Sampler, StepLoss
from llc_lightning.sampling.stacked import Stack


@dataclass(frozen=True, eq=False)
class Look:
    """What observables see of one kept draw; what one of them asks for is there for all, and must not be changed."""

    draw: int
    """The number of the draw, burn-in not counted."""
    position: Stack
    """The moved weights of all chains and lanes, [chain, lane, *slice]; the next step moves them on."""
    here: Evaluated
    """What the step itself knows there: the excess loss, and the gradient that it is about to move along."""
    loss: StepLoss
    """The loss on the examples of the step, which do not depend on the position yet."""
    sampler: Sampler
    posterior: Posterior
    second: Callable[[int], StepLoss] | None = None
    """Gives the loss on a minibatch that no chain is moved by, for the look at a draw; None with the full batch."""

    @property
    def away(self) -> Stack:
        """The moved weights minus those of the centre, anew for all who ask: to keep them takes more than to tell."""
        return {name: w - self.posterior.centre[name] for name, w in self.position.items()}

    @cached_property
    def other(self) -> StepLoss:
        """The loss on a second minibatch, drawn for this look alone; with the full batch the loss of the step."""
        return self.loss if self.second is None else self.second(self.draw)

    @cached_property
    def there(self) -> Evaluated:
        """What the sampler would know on the second minibatch: the excess loss and the gradient."""
        return self.sampler.look(self.position, self.other)

    @cached_property
    def other_excess(self) -> Float[Tensor, "chain lane"]:
        """The excess loss on the second minibatch, without a gradient unless that is known already."""
        known: Evaluated | None = vars(self).get("there")
        return self.other.excess(self.position) if known is None else known.excess


_LOOKS, _RAREST = 25, 10
_CLOSE = 4


@runtime_checkable
class Observable(Protocol):
    """Something that is seen of the chains at some of the kept draws.

    It moves no chain: it changes nothing that it is given, and draws no minibatch but the look's own.
    """

    @property
    def name(self) -> str:
        """What its values are found by."""
        ...

    @property
    def every(self) -> int:
        """How many draws apart it looks, from the first kept draw on."""
        ...

    def settle(self, position: Stack) -> None:
        """Chooses what must not follow the draws, once, where all chains are when burn-in ends."""
        ...

    def look(self, look: Look) -> Tensor:
        """Returns what is seen, [chain, lane, ...], of one shape at all draws."""
        ...


class Stateless:
    """What an observable inherits that has nothing to choose."""

    def settle(self, position: Stack) -> None:
        """Chooses nothing."""


@dataclass(frozen=True)
class ObservableFacts:
    """What is told of an observable that a name finds."""

    costly: bool
    """A look costs several steps, so that it looks 4 to 8 times only."""


OBSERVABLES: Registry[Callable[[int], Observable], ObservableFacts] = Registry(
    "observable", ObservableFacts, rooms=("llc_lightning.sampling.observables",), revised=True
)
"""Observables that need nothing but a look, by name; each is made with how many draws apart it looks."""


def recorded_every(draws: int) -> int:
    """Returns how many draws apart chains are looked at closely: up to 25 times, then at every tenth draw.

    A look costs about as much as a step.
    """
    return min(-(-draws // _LOOKS), _RAREST)


def spared_every(draws: int) -> int:
    """Returns how many draws apart lie 4 of those looks, or up to twice as many: for what costs several steps."""
    every = recorded_every(draws)
    return every * max(1, -(-draws // every) // _CLOSE)


def apart(seen: Tensor) -> tuple[Tensor, ...]:
    """Returns what an observable put side by side along its last axis, each as if it had been recorded alone."""
    # A sum can depend on how its numbers lie in memory.
    return tuple(part.contiguous() for part in seen.unbind(-1))


def asked_for(observe: object, draws: int) -> list[Observable]:
    """Returns the observables that are asked for, each as itself or by its registered name.

    Args:
        observe: What users give.
        draws: Kept draws.

    Raises:
        SettingError: If something is no observable, there is none of a name, or two have the same.
    """
    if isinstance(observe, str) or not isinstance(observe, Sequence):
        raise SettingError(f"observe is {observe!r}; give a list of observables, or of names of registered ones.")
    found = [_named(one, draws) if isinstance(one, str) else _checked(one) for one in cast("Sequence[object]", observe)]
    by_name(found)
    return found


def by_name(found: Sequence[Observable]) -> dict[str, Observable]:
    """Returns observables by their names; one that is there twice once.

    Raises:
        SettingError: If two different ones have the same name.
    """
    named: dict[str, Observable] = {}
    for one in found:
        other = named.setdefault(one.name, one)
        if other is not one and other != one:
            raise SettingError(f"two observables have the name {one.name!r}; give one of them another name.")
    return named


def _named(name: str, draws: int) -> Observable:
    entry = OBSERVABLES.get(name)
    every = spared_every(draws) if entry.facts.costly else recorded_every(draws)
    try:
        made = cast("object", entry.item(every))
    except TypeError as error:
        raise SettingError(
            f"the observable {name!r} cannot be made with how many draws apart it looks: {one_line(error)}; register "
            "what takes this number alone."
        ) from None
    if not isinstance(made, Observable) or (made.name, made.every) != (name, every):
        raise SettingError(
            f"the observable {name!r} is made as {made!r}; register what makes of a number of draws, here {every}, an "
            f"object with the name {name!r}, that number as every, settle(position) and look(look)."
        )
    return made


def _checked(one: object) -> Observable:
    if isinstance(one, type) or not isinstance(one, Observable) or not isinstance(cast("object", one.name), str):
        raise SettingError(
            f"observe has {one!r}, which is no observable; give an object with name, every, settle(position) and "
            f"look(look), or one of the names {', '.join(OBSERVABLES)}."
        )
    if type(one.every) is not int or one.every < 1:
        raise SettingError(
            f"the observable {one.name!r} looks every {one.every!r} draws; give an integer of at least 1."
        )
    return one
