"""Which hook points a module has, and which weights make their units."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from llc_lightning.components.hooks import HookSite, WeightAxes, hook_sites, submodules
from llc_lightning.components.names import Known
from llc_lightning.runtime.errors import AddressError
from tests.components.nets import MLP, Declared, Shared, Tied, Wrapped


def test_declared_points_start_at_the_module_that_was_asked() -> None:
    sites = hook_sites(Wrapped())
    assert list(sites) == ["net.hook_one", "net.hook_two", "net.hook_out"]
    axes = WeightAxes((("net.W_in.weight", 0),), (("net.W_in.bias", 0),), (("net.W_mid.weight", 1),))
    assert sites["net.hook_one"] == HookSite("net.hook_one", axes, -1, 5)
    assert [site.unit for site in sites.values()] == ["neuron", "neuron", "output"]
    assert list(hook_sites(Declared())) == ["hook_one", "hook_two", "hook_out"]


def test_without_hook_points_every_submodule_is_one_and_linear_layers_have_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 4, bias=False)))
    sites = hook_sites(net)
    assert list(sites) == ["0", "1", "2", "2.0"]
    assert sites["0"] == HookSite("0", WeightAxes((("0.weight", 0),), (("0.bias", 0),), unit="neuron_in"), -1, 2)
    assert sites["2.0"] == HookSite("2.0", WeightAxes((("2.0.weight", 0),), unit="output"), -1, 4)
    assert sites["1"] == HookSite("1", most_axes=2)
    assert sites["1"].unit == "unit"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv1d(2, 3, 4), (5, 2, 9)), (nn.Conv2d(2, 3, 4), (5, 2, 9, 9)), (nn.Conv3d(2, 3, 2), (5, 2, 3, 3, 3))],
)
def test_channels_of_a_convolution(layer: nn.Module, shape: tuple[int, ...]) -> None:
    site = hook_sites(nn.Sequential(layer))["0"]
    output = layer(torch.zeros(shape))
    assert (site.width, output.shape[site.unit_axis], output.ndim + site.unit_axis) == (3, 3, 1)
    assert site.axes is not None
    assert site.axes.incoming == (("0.weight", 0),)
    assert site.axes.bias == (("0.bias", 0),)


def test_layers_of_other_kinds_have_their_own_weights() -> None:
    sites = hook_sites(nn.Sequential(nn.BatchNorm1d(3), nn.Embedding(5, 3), nn.GRU(3, 2), nn.ReLU()))
    assert [len(site.weights) for site in sites.values()] == [2, 1, 4, 0]
    assert [site.width for site in sites.values()] == [3, 3, 2, None]
    assert [(rows.parameter, rows.axis, rows.blocks) for rows in sites["2"].rows] == [
        ("2.weight_ih_l0", 0, 3),
        ("2.weight_hh_l0", 0, 3),
        ("2.bias_ih_l0", 0, 3),
        ("2.bias_hh_l0", 0, 3),
    ]


def test_a_parametrised_weight_is_no_parameter() -> None:
    sites = hook_sites(nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 2)))
    assert sites["0"].axes is None
    assert [rows.parameter for rows in sites["0"].rows] == [
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
        "0.bias",
    ]
    assert sites["1"].axes is not None


def test_tied_weights_go_by_the_name_under_which_they_are_sampled() -> None:
    axes = hook_sites(Tied())["read"].axes
    assert axes is not None
    assert axes.incoming == (("embed.weight", 0),)


def test_a_declared_tied_weight_goes_by_its_first_name() -> None:
    class Declaring(Tied):
        def weight_axes(self) -> dict[str, WeightAxes]:
            return {"mix": WeightAxes((("mix.weight", 0),), outgoing=(("read.weight", 1),))}

    axes = hook_sites(Declaring())["mix"].axes
    assert axes is not None
    assert axes.outgoing == (("embed.weight", 1),)


def test_a_point_may_be_declared_by_any_name_of_a_shared_submodule() -> None:
    class Declaring(Shared):
        def weight_axes(self) -> dict[str, WeightAxes]:
            return {"down": WeightAxes((("up.weight", 0),))}

    assert list(hook_sites(Declaring())) == ["down"]


def test_hook_points_of_transformer_lens() -> None:
    from transformer_lens import HookedRootModule
    from transformer_lens.hook_points import HookPoint

    class Net(HookedRootModule):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.hook_a = HookPoint()
            self.inner = nn.ModuleDict({"hook_b": HookPoint()})
            self.setup()

    assert hook_sites(Wrapped(Net())) == {
        path: HookSite(path, known=Known(located=False), most_axes=2) for path in ("net.hook_a", "net.inner.hook_b")
    }


def test_the_demo_net() -> None:
    from llc_lightning.models.cis_net import CISNet

    sites = hook_sites(CISNet(6, 5, 3))
    assert {path: (site.unit, site.width) for path, site in sites.items()} == {
        "hook_hidden": ("neuron", 5),
        "hook_out": ("output", 3),
    }


def test_a_module_with_no_submodule_has_no_hook_point() -> None:
    assert hook_sites(nn.Linear(2, 2)) == {}


def test_submodules_by_their_first_or_by_every_name() -> None:
    net = Shared()
    assert list(submodules(net)) == ["", "up", "read"]
    assert list(submodules(net, every_name=True)) == ["", "up", "down", "read"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"hook_on": WeightAxes((("W_in.weight", 0),))},
            "Broken.weight_axes() names 'net.hook_on', which the module lacks; name one of its submodules.",
        ),
        (
            {"hook_one": WeightAxes((("W_in.weigth", 0),))},
            "Broken.weight_axes() names 'net.W_in.weigth', which the module lacks; name one of its parameters.",
        ),
        (
            {"hook_one": WeightAxes((("W_in.weight", 2),))},
            "Broken.weight_axes() names axis 2 of 'net.W_in.weight', which has shape (5, 4); name one it has.",
        ),
        (
            {"hook_one": WeightAxes((("W_in.weight", 0),), (("W_mid.bias", 0),))},
            "Broken.weight_axes() gives 'net.hook_one' axes of the lengths [3, 5]; give at least one axis, and only "
            "axes that have one entry for each unit.",
        ),
        (
            {"hook_one": WeightAxes(())},
            "Broken.weight_axes() gives 'net.hook_one' axes of the lengths []; give at least one axis, and only axes "
            "that have one entry for each unit.",
        ),
        (
            {"hook_one": WeightAxes((("W_in.weight", 0),), unit_axis=1)},
            "Broken.weight_axes() gives 'net.hook_one' the unit_axis 1; count from the end: -1.",
        ),
    ],
)
def test_a_wrong_declaration_is_told(declared: dict[str, WeightAxes], message: str) -> None:
    class Broken(Declared):
        def weight_axes(self) -> dict[str, WeightAxes]:
            return declared

    with pytest.raises(AddressError) as raised:
        hook_sites(Wrapped(Broken()))
    assert str(raised.value) == message


def test_an_mlp_is_walked_in_the_order_of_registration() -> None:
    assert list(hook_sites(MLP())) == ["first", "second", "last"]
