"""On the examples: the loss, and by how much it rises without a component."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity("loss", unit=LOSS_UNIT, definition="Mean loss over the examples at the weights of the step.")
register_quantity(
    "ablation_effect",
    unit=LOSS_UNIT,
    definition="Mean loss with the component ablated minus the mean loss without.",
)
