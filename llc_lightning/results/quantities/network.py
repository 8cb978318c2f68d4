"""What a network tells of itself."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity(
    "sign_accuracy", unit="1", definition="Share of the examples whose output has the sign of the target."
)
register_quantity(
    "accuracy", unit="1", definition="Share of the examples whose output is right by a measure that the task defines."
)
register_quantity(
    "circuits_solved",
    unit="circuits",
    definition="Number of circuits whose accuracy exceeds 0.95; with the method 'dedicated', the number that as many "
    "neurons can serve without sharing any.",
)
register_quantity(
    "baseline_loss",
    unit=LOSS_UNIT,
    definition="Mean loss of a simple predictor on the same examples; the column method names the predictor.",
)
register_quantity(
    "attention_score",
    unit="1",
    definition="Mean attention of a head where the column method says: previous_token, to the token before; "
    "duplicate_token, to earlier tokens that are the same; induction, to the tokens that followed those.",
    source="Olsson et al. 2022, arXiv:2209.11895",
)
register_quantity(
    "fourier_share",
    unit="1",
    definition="Share of the variance of the embedded numbers of a cycle that its five strongest frequencies hold.",
    source="Nanda et al. 2023, arXiv:2301.05217",
)
