"""Around the weights: learning coefficients, and what belongs to them."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity(
    "llc",
    unit="1",
    definition="Local learning coefficient n_beta E[L(w) - L(w*)] under the tempered posterior localised at w*, over "
    "the weights in params_moved.",
    source="Lau et al. 2023, arXiv:2308.12108; restricted to components: Wang et al. 2024, arXiv:2410.02984",
)
register_quantity(
    "llc_recorded",
    unit="1",
    definition="n_beta E[L_task(w) - L_task(w*)] under the posterior of the training loss, with the task in the column "
    "loss; recorded along the chains of the llc.",
    source="Data-refined: Wang et al. 2024, arXiv:2410.02984; on the joint loss, since w* is no minimum of a task's",
)
register_quantity(
    "llc_slope",
    unit="1",
    definition="(E_1[L] - E_2[L]) / (1 / n_beta_1 - 1 / n_beta_2) between two neighbouring rungs of a ladder, of which "
    "n_beta is the upper; the coefficient between them, without the loss of w*.",
    source="Watanabe 2013, arXiv:1208.6338",
)
register_quantity(
    "llc_correction",
    unit="1",
    definition="The shift of the llc that comes from w* not being a minimum, to second order; llc + llc_correction is "
    "the value around the minimum.",
)
register_quantity(
    "grad_norm",
    unit=f"{LOSS_UNIT} per unit of weight",
    definition="Euclidean norm of the gradient of the mean loss in the weights of the component.",
)
register_quantity("weight_norm", unit="unit of weight", definition="Euclidean norm of the weights of the component.")
