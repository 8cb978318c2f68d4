"""The connections of a network: which of them make its computation."""

from llc_lightning.circuits.base import SCORES, Question, Score, edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.composition import Composition, compositions
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery, find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import Faithfulness, faithfulness
from llc_lightning.circuits.evaluation.specificity import Transfer, specificity
from llc_lightning.circuits.exact import edge_effects
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.stability import Stability, consensus, matched, over_examples, over_orders
from llc_lightning.circuits.weights import circuit_address
from llc_lightning.runtime.registry import register_all

register_all("llc_lightning.circuits.scores")
register_all("llc_lightning.circuits.discovery")

__all__ = [
    "DISCOVERIES",
    "SCORES",
    "Circuit",
    "Composition",
    "Discovery",
    "Edge",
    "Faithfulness",
    "Graph",
    "MaskedRuns",
    "Question",
    "Score",
    "Stability",
    "Subject",
    "Transfer",
    "circuit_address",
    "compositions",
    "consensus",
    "edge_effects",
    "edge_scores",
    "faithfulness",
    "find_circuit",
    "matched",
    "over_examples",
    "over_orders",
    "specificity",
]
