"""On the examples: the loss, and by how much it rises without a component."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity("loss", unit=LOSS_UNIT, definition="Mean loss over the examples at the weights of the step.")
register_quantity(
    "ablation_effect",
    unit=LOSS_UNIT,
    definition="Mean loss with the component ablated minus the mean loss without.",
)
register_quantity(
    "attribution",
    unit=LOSS_UNIT,
    definition="What the gradient of the loss at the component's activation says of its ablation effect by the method: "
    "(value - activation) times gradient, mean over the examples.",
    source="attribution patching: Nanda 2023; Syed et al. 2023, arXiv:2310.10348",
)
