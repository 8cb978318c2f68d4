"""What a spec names."""

import random

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.listing import find_components
from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS
from tests.components.nets import MLP, Declared, Shared, Tied, Wrapped, weights

WORDS = {entry.facts.word for _, entry in KINDS.items()} - {""}
HOOKS = ["net.hook_one", "net.hook_two", "net.hook_out"]
NAMES = sorted([*WORDS, *HOOKS, *weights(Wrapped())])
TOLD = f"Use one of {len(NAMES)} names, among them: {', '.join(NAMES[:20])}."


def addresses(module: nn.Module, *spec: str) -> list[str]:
    return [component.address for component in find_components(module, spec)]


def counts(module: nn.Module, *spec: str) -> dict[str, Tensor]:
    """Returns how many of the components move each entry of each parameter."""
    params = weights(module)
    total = {name: torch.zeros_like(value, dtype=torch.int64) for name, value in params.items()}
    for component in find_components(module, spec):
        for name, mask in component.moved(params).items():
            total[name] += mask
    return total


def test_a_neuron_moves_its_row_its_bias_and_its_column() -> None:
    (neuron,) = find_components(Wrapped(), "net.hook_one[3]")
    slices = (
        WeightSlice("net.W_in.weight", 0, (3,)),
        WeightSlice("net.W_in.bias", 0, (3,)),
        WeightSlice("net.W_mid.weight", 1, (3,), reads=True),
    )
    assert neuron == Component("net.hook_one[3]", "neuron", "net.hook_one", (3,), -1, slices)


def test_a_layer_moves_what_makes_it() -> None:
    (layer,) = find_components(Wrapped(), "net.hook_one")
    slices = (WeightSlice("net.W_in.weight"), WeightSlice("net.W_in.bias"))
    assert layer == Component("net.hook_one", "layer", "net.hook_one", None, -1, slices)


def test_a_set_moves_what_its_units_move() -> None:
    net = Declared()
    both, three, one = find_components(net, ["hook_one[3,1]", "hook_one[3]", "hook_one[1]"])
    assert (both.kind, both.units) == ("set", (3, 1))
    params = weights(net)
    for name, mask in both.moved(params).items():
        assert torch.equal(mask, three.moved(params)[name] | one.moved(params)[name])


@pytest.mark.parametrize("module", [MLP(), Declared()])
def test_layers_partition_the_parameters(module: nn.Module) -> None:
    for name, total in counts(module, "layers").items():
        assert total.eq(1).all(), name


def test_neurons_of_neighbouring_layers_overlap_in_the_weights_between_them() -> None:
    total = counts(Declared(), "neurons")
    assert {name: set(count.flatten().tolist()) for name, count in total.items()} == {
        "W_in.weight": {1},
        "W_in.bias": {1},
        "W_mid.weight": {2},
        "W_mid.bias": {1},
        "W_out.weight": {1},
        "W_out.bias": {0},
    }


def test_units_of_undeclared_layers_have_a_row_and_a_bias() -> None:
    net = MLP()
    neurons = find_components(net, "neurons")
    assert [neuron.address for neuron in neurons] == [
        *(f"first[{i}]" for i in range(5)),
        *(f"second[{i}]" for i in range(3)),
    ]
    logits = find_components(net, "logits")
    assert [(logit.address, logit.kind) for logit in logits] == [("last[0]", "output"), ("last[1]", "output")]
    assert {neuron.kind for neuron in neurons} == {"neuron_in"}
    assert neurons[6].weights == (WeightSlice("second.weight", 0, (1,)), WeightSlice("second.bias", 0, (1,)))
    assert logits[0].weights == (WeightSlice("last.weight", 0, (0,)),)
    for name, total in counts(net, "neurons", "logits").items():
        assert total.eq(1).all(), name


def test_channels_are_units_of_a_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    channels = find_components(net, "neurons")
    assert channels == find_components(net, "channels")
    assert [(channel.address, channel.unit_axis) for channel in channels] == [(f"0[{i}]", -3) for i in range(3)]
    moved = channels[1].moved(weights(net))
    assert moved["0.weight"].sum() == 18
    assert moved["0.weight"][1].all()


def test_heads_lie_on_their_own_axis() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_V = nn.Parameter(torch.zeros(2, 8, 4))
            self.W_O = nn.Parameter(torch.zeros(2, 4, 8))
            self.hook_z = nn.Identity()

        def weight_axes(self) -> dict[str, WeightAxes]:
            return {
                "hook_z": WeightAxes((("W_V", 0),), outgoing=(("W_O", 0),), unit="head", unit_axis=-2),
            }

    heads = find_components(Attention(), "heads")
    assert [(head.address, head.kind, head.unit_axis) for head in heads] == [
        ("hook_z[0]", "head", -2),
        ("hook_z[1]", "head", -2),
    ]
    assert heads[0].unit_mask(torch.zeros(5, 2, 4)).tolist() == [[True], [False]]
    assert {name: int(mask.sum()) for name, mask in heads[0].moved(weights(Attention())).items()} == {
        "W_V": 32,
        "W_O": 32,
    }


def test_the_whole_model_is_what_is_trained() -> None:
    net = MLP()
    net.second.requires_grad_(False)
    (whole,) = find_components(net, "all")
    assert whole == Component(
        "all", "all", weights=(WeightSlice("first.weight"), WeightSlice("first.bias"), WeightSlice("last.weight"))
    )


def test_parameters() -> None:
    found = find_components(MLP(), "parameters")
    assert [part.address for part in found] == [
        *("first.weight", "first.bias", "second.weight", "second.bias", "last.weight"),
    ]
    assert found[1] == Component("first.bias", "parameter", weights=(WeightSlice("first.bias"),))
    assert find_components(MLP(), "first.bias") == [found[1]]


def test_tied_weights_are_moved_once() -> None:
    net = Tied()
    assert addresses(net, "parameters") == ["embed.weight", "mix.weight", "mix.bias"]
    (read,) = find_components(net, "read")
    assert set(read.moved(weights(net))) == {"embed.weight"}
    (row,) = find_components(net, "read[6]")
    assert row.moved(weights(net))["embed.weight"].sum(1).tolist() == [0, 0, 0, 0, 0, 0, 4]


def test_a_shared_submodule_answers_to_each_of_its_names() -> None:
    net = Shared()
    assert addresses(net, "layers") == ["up", "read"]
    up, down, unit = find_components(net, ["up", "down", "down[1]"])
    assert (down.address, down.point, down.weights) == ("down", "up", up.weights)
    assert (unit.address, unit.point, unit.units) == ("down[1]", "up", (1,))


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("net.*", ["net.hook_one", "net.hook_two", "net.hook_out"]),
        ("*two", ["net.hook_two"]),
        ("net.hook_o??", ["net.hook_one", "net.hook_out"]),
        ("net.hook_two[*]", ["net.hook_two[0]", "net.hook_two[1]", "net.hook_two[2]"]),
        ("net.*[0]", ["net.hook_one[0]", "net.hook_two[0]", "net.hook_out[0]"]),
        ("*.hook_t*[2,0]", ["net.hook_two[2,0]"]),
        ("*out[*]", ["net.hook_out[0]", "net.hook_out[1]"]),
    ],
)
def test_globs(glob: str, expected: list[str]) -> None:
    assert addresses(Wrapped(), glob) == expected


def test_every_component_comes_once_in_the_order_given() -> None:
    found = addresses(Wrapped(), "net.hook_two[1]", "net.hook_two", "layers", "net.hook_two[*]", "net.hook_two[1]")
    assert found == [
        *("net.hook_two[1]", "net.hook_two", "net.hook_one", "net.hook_out", "net.hook_two[0]", "net.hook_two[2]"),
    ]


def test_no_spec_names_nothing() -> None:
    assert find_components(MLP(), []) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "net.hook_ome",
            "unknown component 'net.hook_ome'; did you mean 'net.hook_one' or 'net.hook_two' or 'net.hook_out'? "
            f"{TOLD}",
        ),
        (
            "neuron",
            f"unknown component 'neuron'; did you mean 'neurons'? {TOLD}",
        ),
        (
            "net.hook_one[2,5]",
            "'net.hook_one[2,5]' names unit 5, but 'net.hook_one' has 5 units; they go from net.hook_one[0] to "
            "net.hook_one[4].",
        ),
        (
            "net.hook_one[-1]",
            "cannot read the address 'net.hook_one[-1]'; write a hook point such as 'net.hook_hidden', or units of it "
            "such as 'net.hook_hidden[7]' or 'net.hook_hidden[3,5]': whole numbers from 0, without spaces or leading "
            "zeros; positions of a sequence follow as in 'blocks.0.hook_resid_post@3' or '@-1'. The nearest here: "
            "net.hook_one, net.hook_two, net.hook_out.",
        ),
        (
            "heads",
            "'heads' matches no component of this module; its hook points are: net.hook_one, net.hook_two, "
            "net.hook_out; name one, or its units, such as 'net.hook_one[*]'.",
        ),
        (
            "other.*",
            "'other.*' matches no component of this module; its hook points are: net.hook_one, net.hook_two, "
            "net.hook_out; name one, or its units, such as 'net.hook_one[*]'.",
        ),
        (
            "net.*[0:3]",
            "cannot read the glob 'net.*[0:3]'; write one over hook points such as 'net.*', over their units such as "
            "'net.*[*]', or over some of them such as 'net.*[3,5]'.",
        ),
        (
            "net.*[4]",
            "'net.hook_two[4]' names unit 4, but 'net.hook_two' has 3 units; they go from net.hook_two[0] to "
            "net.hook_two[2].",
        ),
    ],
)
def test_what_names_nothing_is_told_with_what_is_near(text: str, message: str) -> None:
    with pytest.raises(AddressError) as raised:
        find_components(Wrapped(), text)
    assert str(raised.value) == message


def test_a_module_without_hook_points() -> None:
    net = nn.Linear(2, 2)
    assert addresses(net, "all", "parameters") == ["all", "weight", "bias"]
    with pytest.raises(AddressError) as raised:
        find_components(net, "layers")
    assert str(raised.value) == "'layers' matches no component of this module; its hook points are: none."


def test_units_of_a_point_that_does_not_tell_how_many() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    (unit,) = find_components(net, "1[7]")
    assert unit == Component("1[7]", "unit", "1", (7,))
    with pytest.raises(AddressError) as raised:
        find_components(net, "1[*]")
    assert str(raised.value) == (
        "'1' does not tell how many units it has; name them, such as 1[0], or declare their weights with weight_axes()."
    )


def test_a_word_wins_over_a_submodule_of_its_name() -> None:
    net = nn.ModuleDict({"layers": nn.Linear(2, 2)})
    assert addresses(net, "layers[1]", "layers") == ["layers[1]", "layers"]
    net = nn.ModuleDict({"neurons": nn.Linear(2, 1), "other": nn.Linear(2, 1)})
    assert addresses(net, "neurons", "logits") == ["neurons[0]", "other[0]"]


def test_any_text_names_components_or_is_an_address_error() -> None:
    draw = random.Random(0)  # noqa: S311
    pieces = [
        "net",
        "hook_one",
        "hook_two",
        ".",
        "[",
        "]",
        "*",
        "?",
        "0",
        "3",
        "99",
        ",",
        "-",
        ":",
        " ",
        "all",
        "é",
        "!",
    ]
    module, named = Wrapped(), 0
    for _ in range(2000):
        text = "".join(draw.choices(pieces, k=draw.randint(0, 6)))
        try:
            named += bool(find_components(module, text))
        except AddressError:
            continue
    assert 20 < named < 1980
