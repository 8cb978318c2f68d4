"""Around the weights of ablated models: what the loss without a component still constrains, and what it recovers."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity(
    "llc_ablated",
    unit="1",
    definition="Local learning coefficient of L_a, the loss with the component ablated, around w~: its minimum that "
    "L-BFGS reaches from the trained weights while the component's own stay. Without a method: of the loss itself, "
    "re-optimised in the same way, the control.",
)
register_quantity(
    "llc_shift",
    unit="1",
    definition="llc_ablated of a component minus that of the control, paired draw by draw: how the ablation changes "
    "what the loss constrains.",
)
register_quantity(
    "recovery_gap",
    unit=LOSS_UNIT,
    definition="R = L_a(w*) - L_a(w_g), the part of the ablated loss that the other weights make good near w*: w_g is "
    "the minimum of L_a + gamma / (2 n_beta) |w - w*|^2, the mode of the posterior around the trained weights w*.",
)
register_quantity(
    "recovery_gap_plain",
    unit=LOSS_UNIT,
    definition="L_a(w*) - L_a(w~): as recovery_gap, without the pull towards the trained weights.",
)
register_quantity(
    "llc_unrecovered",
    unit="1",
    definition="n_beta (E[L_a(w)] - L_a(w*)) around the trained weights w*, at which L_a has no minimum, by chains "
    "that start at the posterior's mode: at equilibrium llc_ablated - n_beta recovery_gap.",
)
register_quantity(
    "recovery_closure",
    unit="1",
    definition="llc_unrecovered - (llc_ablated - n_beta recovery_gap), paired draw by draw: 0 where the chains are at "
    "equilibrium and the loss is curved alike where both posteriors lie.",
)
register_quantity(
    "llc_complement",
    unit="1",
    definition="Local learning coefficient of the loss while the component's weights are held, around the same "
    "re-optimised weights as that of the control.",
)
register_quantity(
    "complement_shift",
    unit="1",
    definition="llc_complement of a component minus that of the control, paired draw by draw: what its weights add "
    "to the coefficient, with the sign turned.",
)
register_quantity(
    "llc_joint",
    unit="1",
    definition="As llc_ablated, with the constant that takes the component's place as one more weight, re-optimised "
    "and sampled with the others: the counterpart of optimal ablation.",
)
register_quantity(
    "joint_shift",
    unit="1",
    definition="llc_joint of a component minus llc_ablated of the control, paired draw by draw.",
)
register_quantity(
    "recovery_gap_joint",
    unit=LOSS_UNIT,
    definition="As recovery_gap_plain, with the constant that takes the component's place re-optimised as well.",
)
