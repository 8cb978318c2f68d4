"""A component's weights as matrices."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.weights import Weight, WeightReader
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import snapshot_params
from llc_lightning.models.transformer import TransformerModel
from tests.ablation.nets import Circuits, Images, circuits_data


def weights(module: nn.Module, address: str) -> dict[str, Weight]:
    reader = WeightReader(module, snapshot_params(module))
    (component,) = find_components(module, address)
    return {weight.slice.parameter: weight for weight in reader.weights(component)}


def test_forms() -> None:
    kernel = weights(Images(), "conv")
    assert (kernel["conv.weight"].form, kernel["conv.bias"].form) == ((1, 3, 18), None)
    assert weights(Images(), "conv[1]")["conv.weight"].form == (1, 1, 18)
    head = weights(TransformerModel(7, 6, d_model=8, d_mlp=6, n_heads=2), "net.blocks.0.attn.hook_z[1]")
    assert {name.rpartition(".")[2]: one.form for name, one in head.items()} == {
        **dict.fromkeys(("W_Q", "W_K", "W_V"), (1, 8, 4)),
        "W_O": (1, 4, 8),
        **dict.fromkeys(("b_Q", "b_K", "b_V")),
    }
    assert [one.rank for one in weights(Circuits(), "hook_hidden[2]").values()] == [1, 0, 1]


def test_units_of_one_hook_point_are_read_together() -> None:
    module = Circuits()
    joined, listed = (weights(module, address) for address in ("hook_hidden[3]+hook_hidden[1]", "hook_hidden[1,3]"))
    for name, weight in listed.items():
        assert joined[name].slice == weight.slice
        assert torch.equal(joined[name].values, weight.values)
    assert torch.equal(listed["W_out.weight"].values, module.W_out.weight[:, [1, 3]])


def test_writing_touches_the_entries_alone() -> None:
    module = Circuits()
    weight = weights(module, "hook_hidden[1,3]")["W_out.weight"]
    edited = weight.parameter.clone()
    weight.write(edited, torch.zeros(3, 2))
    assert torch.equal(edited[:, [0, 2, 4]], module.W_out.weight[:, [0, 2, 4]])
    assert not edited[:, [1, 3]].any()


class Tied(nn.Module):
    """Uses one layer twice, under two names, and reads by its matrix, which a third module holds; trains no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = nn.Linear(6, 6)
        self.read = nn.Linear(6, 6, bias=False)
        self.read.weight = self.first.weight
        self.first.bias.requires_grad_(False)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.read(self.again(self.first(batch)) + 1).add(self.first.bias).square().mean(-1)


@torch.no_grad()
@pytest.mark.parametrize("address", ["first.weight", "first", "all"])
def test_shared_weights_are_edited_once_and_everywhere(address: str) -> None:
    module, batch = Tied(), circuits_data(70)[0]
    table = ablation_effects(module, batch, address, "weight_zero")
    # The bias belongs to the layer, and not to all, which is what is trained.
    left = torch.zeros(6) if address == "first" else module.first.bias
    expected = left.square().mean() - module.per_example_loss(batch).mean()
    assert list(table["value"]) == pytest.approx([float(expected)], abs=1e-6)
