"""Composition of heads: by weights, on examples, and what it does, on the net that was wired by hand."""

from dataclasses import replace

import pytest
import torch

from llc_lightning.circuits.composition import Composition, compositions
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.circuits.nets import SMALL, question


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Composition]:
    """Those of the wired net by the numbers of the heads and the port."""
    every = compositions(question("hand_built"), draws=8)
    return {(f"{one.edge.sender[-2]}>{one.edge.reader[-2]}", one.port): one for one in every}


def test_the_true_composition_stands_out_in_every_view(found: dict[tuple[str, str], Composition]) -> None:
    assert len(found) == 4 * 4 * 3
    true = found["1>2", "k"]
    assert true.above_null > 10
    assert true.read > 0.5
    assert true.effect.value > 1
    assert true.edge.reader == "net.blocks.1.attn.hook_k[2]"
    decoy = found["1>0", "k"]  # reads the same and writes where nothing reads
    assert decoy.weights == pytest.approx(true.weights)
    assert decoy.effect.value == 0
    assert found["1>2", "q"].weights < true.weights
    assert found["0>2", "k"].read == pytest.approx(0, abs=1e-6)


def test_weights_are_products_of_the_heads_own_matrices(found: dict[tuple[str, str], Composition]) -> None:
    params = {name.rpartition("blocks.")[2]: one.double() for name, one in question("hand_built").params.items()}
    moved = params["0.attn.W_V"][1] @ params["0.attn.W_O"][1]
    for port, other in (("q", "k"), ("k", "q")):
        reads = params[f"1.attn.W_{port.upper()}"][3] @ params[f"1.attn.W_{other.upper()}"][3].T
        literal = (moved @ reads).norm() / (moved.norm() * reads.norm())
        assert found["1>3", port].weights == pytest.approx(float(literal))


def test_random_weights_are_the_null() -> None:
    every = compositions(question("layer"), draws=64)
    model = TransformerModel(**SMALL, seed=5)
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(generator=torch.Generator().manual_seed(weights.numel()))
    asked = replace(question("layer"), loss=loss_fn(model), params=snapshot_params(model), graph=Graph.of(model))
    random = compositions(asked, draws=64)
    assert {one.null for one in random} == {one.null for one in every}
    assert abs(sum(one.above_null for one in random) / len(random)) < 1.5


def test_what_has_no_two_heads_is_told() -> None:
    model = TransformerModel(**{**SMALL, "n_layers": 1})
    asked = replace(question("layer"), loss=loss_fn(model), params=snapshot_params(model), graph=Graph.of(model))
    with pytest.raises(AddressError, match="no two heads"):
        compositions(asked)
    with pytest.raises(SettingError, match="draws"):
        compositions(asked, draws=1)
