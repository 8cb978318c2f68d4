"""Second moments of losses over the posterior: what its draws know of examples, tasks and components."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity(
    "functional_variance",
    unit="1",
    definition="n_beta^2 times the mean over watched examples of the variance of the example's loss under the "
    "posterior over the weights in params_moved: 2 n_beta times the estimator of this name.",
    source="Watanabe 2010, arXiv:1004.2316",
)
register_quantity(
    "susceptibility",
    unit=f"({LOSS_UNIT})^2",
    definition="-Cov(L, l - L) under the posterior over the weights in params_moved, with the mean loss l of the "
    "examples that count for the task in the column loss: positive where these would fall with the rest, were the "
    "component freed. Shift-invariant, without a baseline.",
    source="Baker et al. 2025, arXiv:2504.18274; linear response: Elliott and Murfet 2026, arXiv:2605.07980",
)
register_quantity(
    "response",
    unit=f"({LOSS_UNIT})^4",
    definition="Mean square over watched examples of the susceptibility to each, under the posterior over the weights "
    "in params_moved: how far the component's freedom tells examples apart. Of products of two chains, so that noise "
    "leaves it 0 on average.",
)
register_quantity(
    "loss_gain",
    unit=LOSS_UNIT,
    definition="E[l(w) - l(w*)] under the posterior over the weights in params_moved, with the mean loss l of the "
    "watched examples that count for the task in the column loss.",
)
register_quantity(
    "posterior_effect",
    unit=LOSS_UNIT,
    definition="E[L_a(w) - L(w)] over the draws of the whole model's chains, on the watched examples: the ablation "
    "effect of a component on average over the posterior, with constants and donors as they are at w*.",
)
register_quantity(
    "ablated_covariance",
    unit=f"({LOSS_UNIT})^2",
    definition="Cov(L, L_a) over the same draws: how far the loss and the loss without the component rise together.",
)
