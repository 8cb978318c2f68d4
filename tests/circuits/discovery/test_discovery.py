"""One contract for every way to find circuits, whoever registers it."""

from dataclasses import fields, replace

import pytest
import torch

from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery, find_circuit
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import net, question


def quick(name: str) -> Discovery:
    """Returns a way to find circuits that takes few steps."""
    kind = DISCOVERIES.get(name).item
    few = {"steps": 2, "samples": 2} if "steps" in {one.name for one in fields(kind)} else {}
    return kind(**few)


@pytest.mark.parametrize("name", DISCOVERIES.names())
def test_a_circuit_is_edges_that_lead_on_and_says_how_it_was_found(name: str) -> None:
    asked, (model, _) = question("layer"), net("layer")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = find_circuit(asked, quick(name))
    assert found == find_circuit(asked, quick(name))  # nothing is drawn from global streams
    assert Circuit.from_json(found.to_json()) == found
    assert found.method.startswith(name)
    assert (found.donor, found.loss, found.of) == ("resample(draws=1)", "train", len(asked.graph.edges))
    assert set(found.edges) <= set(asked.graph.edges)
    assert {edge.reader for edge in found.edges} <= asked.graph.heard(found.edges)
    assert found.search
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["acdc(threshold=0)", "path_patching(threshold=-1)", "ugs(price=0)", "top(edges=0)",
                                  "subnetwork_probing(price=0)", "edge_pruning(edges=0)", "ugs(rate=0)"])  # fmt: skip
def test_settings_that_find_nothing_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"(threshold|price|edges|rate) is (-1|0)"):
        find_circuit(question("layer"), name)


@pytest.mark.parametrize("name", ["acdc", "path_patching", "top(edges=5)", "greedy(edges=5)"])
def test_the_circuit_that_was_built_is_found(name: str) -> None:
    found, (model, _) = find_circuit(question("hand_built"), name), net("hand_built")
    truth = {edge for edge, role in model.ground_truth(edges=True).items() if role and " -> " in edge}
    moved = {edge for edge in truth if "hook_pos_embed" not in edge}  # donors keep positions
    assert {str(edge) for edge in found.edges} == moved


@pytest.mark.parametrize("name", ["acdc", "ugs(steps=1)"])
def test_metrics_of_which_more_is_better_are_not_kept_small(name: str) -> None:
    with pytest.raises(SettingError, match="'accuracy' is not known to be the better the smaller it is"):
        find_circuit(question("layer", metric="accuracy"), name)
    assert find_circuit(question("layer", metric="accuracy"), "top(edges=5)").scored


@pytest.mark.parametrize("name", ["ugs", "edge_pruning", "subnetwork_probing"])
def test_a_loss_that_is_no_number_is_told_instead_of_an_empty_circuit(name: str) -> None:
    asked = question("layer")
    broken = replace(asked, params={key: one * float("nan") for key, one in asked.params.items()})
    runs = MaskedRuns(Subject(asked))
    runs.subject.question = broken
    with pytest.raises(SettingError, match="the loss under masks is no finite number in step 1 of 2"):
        quick(name).find(runs)
