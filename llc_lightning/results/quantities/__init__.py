"""What can be measured: every quantity with its unit and definition, a file for those that belong together.

Being a file here is enough for quantities to be known wherever stored rows are read, without what measures them.
"""

from dataclasses import dataclass

from llc_lightning.runtime.registry import NoFacts, Registry


@dataclass(frozen=True)
class Quantity:
    """One kind of measured value."""

    name: str
    unit: str
    """The unit of its values; '1' for pure numbers."""
    definition: str
    """What the values are, in one sentence."""


LOSS_UNIT = "unit of the loss"
"""In the unit of a quantity, what stands for the unit of the loss that a row is about, which the module tells."""

QUANTITIES: Registry[Quantity, NoFacts] = Registry("quantity", NoFacts, rooms=("llc_lightning.results.quantities",))
"""All quantities by name."""


def unit_of(quantity: str) -> str:
    """Returns the unit of a quantity; 'unit not registered' for one that nothing imported registers.

    Example:
        >>> from llc_lightning.results.quantities import unit_of
        >>> unit_of("ablation_effect")
        'unit of the loss'
    """
    return QUANTITIES.get(quantity).item.unit if quantity in QUANTITIES else "unit not registered"


def unit_in(quantity: str, loss_unit: str) -> str:
    """Returns the unit of a quantity where the loss is counted in ``loss_unit``; '' leaves that open.

    Example:
        >>> unit_in("grad_norm", "nats per token")
        'nats per token per unit of weight'
    """
    return unit_of(quantity).replace(LOSS_UNIT, loss_unit or LOSS_UNIT)


def register_quantity(name: str, *, unit: str, definition: str, source: str = "") -> Quantity:
    """Enters a quantity, so that rows of it can be made.

    Args:
        name: The word in the column ``quantity``.
        unit: The unit of its values; '1' for pure numbers.
        definition: What the values are, in one sentence.
        source: Authors, year and arXiv id of the paper that defines it.

    Raises:
        SettingError: If the name is empty or taken.
    """
    enter = QUANTITIES.register(name, summary=definition, source=source)
    return enter(Quantity(name, unit, definition))
