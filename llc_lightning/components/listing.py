"""From what a user writes (addresses, globs, words) to the components of a module."""

from collections.abc import Sequence
from typing import Literal, overload

from torch import nn

from llc_lightning.components.component import Component
from llc_lightning.components.found import Found
from llc_lightning.components.inventory import Listing, entries
from llc_lightning.components.measurable import explained
from llc_lightning.runtime.batches import Batch


@overload
def find_components(
    module: nn.Module | Listing, spec: str | Component | Sequence[str | Component]
) -> list[Component]: ...
@overload
def find_components(
    module: nn.Module,
    spec: str | Component | Sequence[str | Component],
    *,
    explain: Literal[True],
    data: Batch | None = None,
) -> list[Found]: ...
def find_components(
    module: nn.Module | Listing,
    spec: str | Component | Sequence[str | Component],
    *,
    explain: bool = False,
    data: Batch | None = None,
) -> list[Component] | list[Found]:
    """Returns the components that ``spec`` names, each once, in the order given and then in the module's own order.

    Args:
        module: Any module, or what is known of it; its paths start at the module itself.
        spec: One or several of: an address (``net.hook_hidden[7]``, or ``net.hook_hidden[3,5]`` for a set of units), a
            parameter's name, a glob over hook points (``net.*``, and ``net.*[*]`` for each of their units), or one of
            the words of the registered kinds: ``all`` (the whole model), ``layers`` (all units of one hook point, with
            the weights and bias that make them), ``neurons``, ``channels``, ``heads``, ``parameters``. A word wins over
            a submodule of the same name. Behind a point or its units ``@3``, ``@-1`` or ``@0,1`` takes positions of a
            sequence; ``point{file.npy}`` takes directions (:mod:`~llc_lightning.components.kinds.direction`);
            ``one+other`` takes parts together, also of different points; ``pairs:SPEC`` takes every two of what SPEC
            names; ``SPEC:in`` takes the weights alone that make what it names, ``SPEC:out`` those that read it.
            A component stands for itself.
        explain: Whether to return a :class:`~llc_lightning.components.found.Found` of each: its shape, the number
            of its weights, how often the loss calls it, and why it cannot be ablated or has no restricted LLC.
        data: Examples, of which ``explain`` runs a few: without them it is not known what the loss calls.

    Raises:
        AddressError: If an entry names nothing; the message names the nearest addresses.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> [component.address for component in find_components(net, ["layers", "0[1]", "2.bias"])]
        ['0', '2', '0[1]', '2.bias']
    """
    listing = module if isinstance(module, Listing) else Listing(module)
    if explain:
        return explained(listing.module, spec, data)
    found: dict[str, Component] = {}
    for entry in entries(spec):
        for component in [entry] if isinstance(entry, Component) else listing.named(entry):
            found.setdefault(component.address, component)
    return list(found.values())
