"""Connections of a network, and the circuits that searches make of them."""

from llc_lightning.results.quantities import LOSS_UNIT, register_quantity

register_quantity(
    "edge_effect",
    unit=LOSS_UNIT,
    definition="Mean loss where the edge's reader alone hears the donor in the sender's place minus the mean loss "
    "without, or a score that stands for it.",
    source="Goldowsky-Dill et al. 2023, arXiv:2304.05969",
)
register_quantity("edge_score", unit="1", definition="A score of an edge that stands for no effect, such as a norm.")
register_quantity(
    "circuit_edge",
    unit=LOSS_UNIT,
    definition="What a search says of an edge that it keeps: by how much the loss rises without it, or, with the unit "
    "1 in its row, a probability that it learned or a score that stands for no effect.",
)
register_quantity(
    "edge_share",
    unit="1",
    definition="Share of the circuits found on examples drawn anew with replacement that hold the edge; with the "
    "standard error of two more circuits that hold it and two that do not.",
    source="Agresti and Coull 1998, doi:10.1080/00031305.1998.10480550",
)
register_quantity(
    "circuit_resamples",
    unit="1",
    definition="Number of circuits found on examples drawn anew; an edge of none of them has the share 0.",
)
register_quantity("circuit_edges", unit="1", definition="Number of edges of the circuit that a search finds.")
register_quantity(
    "circuit_faithfulness",
    unit="1",
    definition="(m(circuit) - m(none)) / (m(all) - m(none)) of the circuit that a search finds, with the mean loss or "
    "metric m where all other edges hear the donor: 1 where it does what the network does.",
    source="Miller et al. 2024, arXiv:2407.08734",
)
