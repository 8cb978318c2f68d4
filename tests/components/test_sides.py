"""One side of a component: what makes it, what reads it."""

import pytest
import torch
from torch import nn

from llc_lightning.components.component import WeightSlice
from llc_lightning.components.listing import find_components
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError
from tests.components.nets import MLP, Declared, weights


def transformer() -> nn.Module:
    return TransformerModel(d_vocab=8, n_ctx=8, n_layers=1, n_heads=2, d_model=8)


@pytest.mark.parametrize(
    ("module", "word"), [(Declared(), "neurons"), (transformer(), "heads"), (Declared(), "hook_one[3,1]")]
)
def test_both_sides_partition_a_component(module: nn.Module, word: str) -> None:
    params = weights(module)
    found = zip(*(find_components(module, f"{word}{side}") for side in ("", ":in", ":out")), strict=True)
    for whole, made, read in found:
        assert (made.address, read.address) == (f"{whole.address}:in", f"{whole.address}:out")
        assert (made.kind, read.kind, made.point) == ("incoming", "outgoing", "")
        sides = [one.moved(params) for one in (made, read)]
        for name, mask in whole.moved(params).items():
            each = [side[name] if name in side else torch.zeros_like(mask) for side in sides]
            assert torch.equal(mask, each[0] ^ each[1]), name


def test_a_heads_output_is_what_reads_it() -> None:
    (made, *_), (read, *_) = (find_components(transformer(), f"heads:{side}") for side in ("in", "out"))
    last = [[one.parameter.rpartition(".")[2] for one in side.weights] for side in (made, read)]
    assert last == [["W_Q", "W_K", "W_V", "b_Q", "b_K", "b_V"], ["W_O"]]
    (torch_head, _) = find_components(nn.Sequential(nn.MultiheadAttention(8, 2)), "heads:out")
    assert torch_head.weights == (WeightSlice("0.out_proj.weight", 1, (0, 1, 2, 3), reads=True),)


def test_a_whole_hook_point_has_sides() -> None:
    made, read = find_components(Declared(), ["hook_one:in", "hook_one:out"])
    assert [one.parameter for one in made.weights] == ["W_in.weight", "W_in.bias"]
    assert read.weights == (WeightSlice("W_mid.weight", reads=True),)


def test_sides_of_what_is_joined() -> None:
    addresses = [
        one.address for one in find_components(Declared(), ["hook_one[0]+hook_two[1]:in", "pairs:neurons:out"])
    ]
    assert addresses[0] == "hook_one[0]+hook_two[1]:in"
    assert "hook_one[0]+hook_one[1]:out" in addresses


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("all:in", "'all' is weights alone, which have no sides"),
        ("first.weight:out", "'first.weight' is weights alone, which have no sides"),
        ("first[0]:out", "nothing tells which weights read 'first[0]'"),
        ("first[0]:in+first[1]", "'first[0]:in' cannot be part of a set"),
        ("first[99]:in", "names unit 99"),
    ],
)
def test_what_has_no_side_is_refused(spec: str, told: str) -> None:
    with pytest.raises(AddressError) as refused:
        find_components(MLP(), spec)
    assert told in str(refused.value)
