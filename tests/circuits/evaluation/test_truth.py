"""Scores against the truth."""

import pytest
from scipy import stats

from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.truth import overlap_p, scored
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.ranking import auroc, average_precision
from tests.circuits.nets import net, question


def test_exact_effects_tell_the_true_edges_of_the_hand_built_net() -> None:
    asked, (model, _) = question("hand_built"), net("hand_built")
    found = [one for one in edge_scores(asked, "exact") if "unreachable" not in one.status]
    scores = {Edge.parse(one.component): one.value for one in found}
    values, labels = scored(asked.graph, model.ground_truth(edges=True), scores)
    # All but the edges of positions, two of which are true.
    assert (len(labels), sum(labels)) == (106 - 25, 5)
    assert auroc(values, labels) == average_precision(values, labels) == 1.0


def test_the_best_of_several_counts_where_one_is_true() -> None:
    graph = question("layer").graph
    truth = {
        "net.blocks.0.attn.hook_z[0] -> net.blocks.1.attn.hook_?[1]": "x",
        "net.hook_embed -> *post": "",
        "head": "y",
    }
    scores = {edge: float(at) for at, edge in enumerate(graph.select([*truth][:2]))}
    assert scored(graph, truth, scores) == ([2.0, 3.0], [True, False])
    with pytest.raises(DataError, match="0 of the 1 edges with a score are known to be true"):
        scored(graph, {"net.hook_embed -> *post": ""}, scores)


def test_overlap_is_hypergeometric() -> None:
    for found, circuit, true, edges in ((5, 5, 5, 81), (2, 5, 7, 40), (0, 3, 4, 9), (3, 8, 4, 9)):
        expected = stats.hypergeom.sf(found - 1, edges, true, circuit)
        assert overlap_p(found, circuit, true, edges) == pytest.approx(expected, rel=1e-9)
