"""Components that can be measured: what words and globs leave out, and why; and the list of all with their reasons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from llc_lightning.components.component import Component
from llc_lightning.components.found import Found
from llc_lightning.components.hooks import has_hook_points
from llc_lightning.components.inventory import Listing, entries
from llc_lightning.components.loss import ModuleLoss, loss_fn, named_tensors
from llc_lightning.components.ports import CALL, Place, calls
from llc_lightning.components.reach import Reach, Seen, reach
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.errors import AddressError

_CHAINS = (torch.float32, torch.float64)
_SHOWN = 3


def find_measurable(
    module: nn.Module,
    spec: str | Component | Sequence[str | Component],
    data: Batch,
    *,
    activation: bool = False,
    weights: bool = False,
    loss: ModuleLoss | None = None,
) -> list[Component]:
    """Returns the components that ``spec`` names as :func:`find_components` does, without what cannot be measured.

    Words and globs leave it out, with one warning that says why; a submodule that the loss calls several times becomes
    a component for each call (``path:call0``). What is named by its own address stays.

    Args:
        module: A module with ``per_example_loss``.
        spec: What to find.
        data: Examples; a few are run.
        activation: Whether activations are to be replaced.
        weights: Whether weights are to be moved.
        loss: The module's loss, where it is at hand.

    Raises:
        AddressError: If an entry names nothing, or nothing that can be measured.
    """
    looked, loss, by_name = _Looked(module), loss or loss_fn(module), has_hook_points(module)
    if not by_name:
        looked.look(loss, data)
    named = [
        (entry, [entry] if isinstance(entry, Component) else looked.listing.named(entry)) for entry in entries(spec)
    ]
    if by_name:  # whatever else is called says nothing of these
        looked.look(loss, data, [component for _, some in named for component in some])
    found: dict[str, Component] = {}
    for entry, some in named:
        if not isinstance(entry, Component) and looked.listing.names_several(entry):
            some = looked.kept(entry, some, activation=activation, weights=weights)
        for component in some:
            found.setdefault(component.address, component)
    return list(found.values())


def without_weights(
    module: nn.Module, spec: str | Component | Sequence[str | Component], found: Sequence[Component]
) -> list[str]:
    """Returns the addresses without weights that are named one by one; words and globs leave such out by themselves.

    Args:
        module: The module.
        spec: What was asked for.
        found: What it named.
    """
    listing = Listing(module)
    several = [one for one in entries(spec) if not isinstance(one, Component) and listing.names_several(one)]
    left_out = {component.address for one in several for component in listing.named(one)}
    alone = {one.address if isinstance(one, Component) else one for one in entries(spec)}
    return [one.address for one in found if not one.weights and (one.address in alone or one.address not in left_out)]


def explained(module: nn.Module, spec: str | Component | Sequence[str | Component], data: Batch | None) -> list[Found]:
    """Returns the components that ``spec`` names with what is known of them; with examples, what a pass tells."""
    looked = _Looked(module)
    if data is not None:
        looked.look(loss_fn(module), data)
    named: dict[str, Component] = {}
    for entry in entries(spec):
        for one in [entry] if isinstance(entry, Component) else looked.listing.named(entry):
            for component in looked.by_call(one):
                named.setdefault(component.address, component)
    return [looked.found(component) for component in named.values()]


def trained(component: Component, module: nn.Module) -> Component:
    """Returns a component with those of its weights that the module trains; itself where it trains none of them."""
    names = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    moved = tuple(one for one in component.weights if one.parameter in names)
    return replace(component, weights=moved) if moved else component


class _Looked:
    """A module and what a few examples tell of it."""

    def __init__(self, module: nn.Module) -> None:
        self.listing = Listing(module)
        self._parameters = dict(module.named_parameters())
        self._reach: Reach | None = None

    def look(self, loss: ModuleLoss, data: Batch, some: Sequence[Component] | None = None) -> None:
        """Runs a few examples, and looks at the hook points of some components, or at all."""
        module, points = self.listing.module, list(self.listing.sites)
        if some is not None:
            asked = {_whole(member.point) for component in some for member in component.members}
            points = [point for point in points if point in asked]
        self._reach = reach(loss, named_tensors(module), data, points)
        if self._reach.uncalled and not has_hook_points(module):
            self.listing = Listing(module, uncalled=self._reach.uncalled)

    def by_call(self, component: Component) -> list[Component]:
        """Returns a component for each call of its hook point, where there are several."""
        number = self._seen(component.point).calls if self._reach else 1
        if component.parts or number < 2 or component.point not in self.listing.sites:
            return [component]
        behind = component.address.removeprefix(component.point)
        return [one for point in calls(component.point, number) for one in self.listing.named(f"{point}{behind}")]

    def kept(self, text: str, named: Sequence[Component], *, activation: bool, weights: bool) -> list[Component]:
        """Returns those of the components of a word or glob that can be measured, and warns of the others."""
        each = [one for component in named for one in (self.by_call(component) if activation else [component])]
        out: dict[str, list[str]] = {}
        kept: list[Component] = []
        for component in each:
            why = (self.no_ablation(component) if activation else "") or (self.no_llc(component) if weights else "")
            if why:
                out.setdefault(why, []).append(component.address)
            else:
                kept.append(component)
        if out:
            told = "; ".join(f"{_some(addresses)} ({why})" for why, addresses in out.items())
            if not kept:
                raise AddressError(f"{text!r} names nothing that can be measured: {told}.")
            warnings.warn(f"{text!r} leaves out {told}.", stacklevel=4)
        return kept

    def found(self, component: Component) -> Found:
        """Returns what is known about measuring a component."""
        seen = self._seen(component.point) if self._reach and component.point else None
        sized: Params = {name: parameter for name, parameter in self._parameters.items() if not is_lazy(parameter)}
        return Found(
            component,
            None if seen is None else seen.shape,
            sum(int(mask.sum()) for mask in component.moved(sized).values()),
            None if seen is None else seen.calls,
            self.no_ablation(component),
            self.no_llc(component),
        )

    def no_ablation(self, component: Component) -> str:
        """Returns why the activation of a component cannot be ablated; '' where it can."""
        if not component.point:
            return "it has no activation"
        reasons = [self._no_activation(member) for member in component.members]
        return next((reason for reason in reasons if reason), "")

    def _no_activation(self, member: Component) -> str:
        seen = self._seen(member.point)
        if seen.why_not or not self._reach:
            return seen.why_not
        if seen.calls > 1 and member.point in self.listing.sites:
            return f"the loss calls it {seen.calls} times; say which call, as in {calls(member.point, 1)[0]!r}"
        unknown = member.units is not None and member.most_axes is not None and len(seen.shape) > member.most_axes
        return f"nothing tells which axis of its activation of shape {seen.shape} has the units" if unknown else ""

    def no_llc(self, component: Component) -> str:
        """Returns why a component has no restricted LLC; '' where it has one."""
        if not component.weights:
            site = self.listing.sites.get(component.point)
            if site is not None and site.lazy:
                return "its parameters have no shape yet: run a batch through the module first, in __init__ or setup()"
            joint = site is not None and site.own
            return "no weights are its own alone" if joint else "it has no weights"
        names = dict.fromkeys(one.parameter for one in component.weights)
        trainable = [name for name in names if self._parameters[name].requires_grad]
        if not trainable:
            return "the module does not train its weights"
        strange = [self._parameters[name].dtype for name in trainable if self._parameters[name].dtype not in _CHAINS]
        if strange:
            return f"its weights are {strange[0]}, and chains need float32 or float64"
        unused = self._reach and all(name in self._reach.unused for name in trainable)
        return "the loss does not use its weights" if unused else ""

    def _seen(self, point: str) -> Seen:
        if self._reach is None:
            return Seen(1)
        return self._reach.points.get(_whole(point), Seen(1))


@lru_cache(maxsize=1024)  # asked of every unit of a hook point
def _whole(point: str) -> str:
    """Returns the hook point of all calls."""
    place = Place.of(point)
    return point if place.call is None else point.removesuffix(f"{CALL}{place.call}")


def _some(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return ", ".join(map(repr, addresses[:_SHOWN])) + more
