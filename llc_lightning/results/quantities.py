"""What can be measured: every quantity with its unit and definition."""

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


QUANTITIES: Registry[Quantity, NoFacts] = Registry("quantity", NoFacts)


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


def unit_of(quantity: str) -> str:
    """Returns the unit of a quantity; 'unit not registered' for one that nothing imported registers.

    Example:
        >>> unit_of("ablation_effect")
        'nats per example'
    """
    return QUANTITIES.get(quantity).item.unit if quantity in QUANTITIES else "unit not registered"


register_quantity("loss", unit="nats per example", definition="Mean loss over the examples at the weights of the step.")
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
    "ablation_effect",
    unit="nats per example",
    definition="Mean loss with the component ablated minus the mean loss without.",
)
register_quantity(
    "grad_norm",
    unit="nats per example per unit of weight",
    definition="Euclidean norm of the gradient of the mean loss in the weights of the component.",
)
register_quantity("weight_norm", unit="1", definition="Euclidean norm of the weights of the component.")
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
    unit="nats per example",
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
