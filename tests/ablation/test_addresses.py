"""What addresses mean where a name alone could mislead: heads of patterns, positions, sets over several points."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.components.listing import find_components
from llc_lightning.models.position_losses import sequence_losses
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import AddressError

TRANSFORMER = TransformerModel(d_vocab=9, n_ctx=6, n_layers=2, n_heads=3, d_model=12)
TOKENS = torch.randint(9, (20, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["hook_pattern", "hook_attn_scores", "hook_z"])
def test_a_unit_of_what_attention_computes_is_a_head(name: str) -> None:
    point = f"net.blocks.0.attn.{name}"
    (one,) = find_components(TRANSFORMER, f"{point}[1]")
    assert one.kind == "head"
    effect = ablation_effects(TRANSFORMER, (TOKENS, TOKENS), f"{point}[1]", "zero")["value"].iloc[0]

    def without(values: Tensor, hook: object) -> Tensor:
        cut = values.clone()
        cut[:, :, 1] = 0
        return cut

    def head(values: Tensor, hook: object) -> Tensor:
        return without(values.transpose(1, 2), hook).transpose(1, 2) if name != "hook_z" else without(values, hook)

    net: Any = TRANSFORMER.net
    with torch.no_grad():
        plain = sequence_losses(net(TOKENS), TOKENS)
        ablated = sequence_losses(net.run_with_hooks(TOKENS, fwd_hooks=[(point.removeprefix("net."), head)]), TOKENS)
    assert effect == pytest.approx(float((ablated - plain).mean()), abs=1e-6)


def test_positions_are_refused_where_several_axes_could_be_meant() -> None:
    with pytest.raises(AddressError, match=r"names positions 2, .*with no axis of positions"):
        ablation_effects(TRANSFORMER, (TOKENS, TOKENS), "net.blocks.0.attn.hook_pattern@2", "zero")

    class Images(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU()

        def per_example_loss(self, batch: tuple[Tensor]) -> Tensor:
            return self.act(self.conv(batch[0])).square().mean((1, 2, 3))

    with pytest.raises(AddressError, match=r"'act@2' names positions, .*several axes that could be meant; give the"):
        ablation_effects(Images(), (torch.randn(8, 1, 6, 6),), "act@2", "zero")


def test_units_of_one_point_join_beside_those_of_another() -> None:
    first, second = (f"net.blocks.{layer}.attn.hook_z" for layer in (0, 1))
    (joined,) = find_components(TRANSFORMER, f"{first}[0]+{first}[1]+{second}[0]")
    assert [part.units for part in joined.members] == [(0, 1), (0,)]
    table = ablation_effects(
        TRANSFORMER, (TOKENS, TOKENS), [f"{first}[0]+{first}[1]+{second}[0]", f"{first}[0,1]+{second}[0]"], "zero"
    )
    values = table.query("loss == 'train'")["value"].tolist()
    assert values[0] == values[1]
    with pytest.raises(AddressError, match=r"takes .* apart in two ways; of one hook point, join units at the same"):
        find_components(TRANSFORMER, f"{first}[0]@1+{first}[1]@2")


def test_a_transformer_of_the_zoo_tells_its_logits() -> None:
    table = ablation_effects(TRANSFORMER, (TOKENS, TOKENS), "heads", "zero", metrics="kl")
    divergences = table.query("loss == 'metric:kl'")["value"]
    assert len(divergences) == 6
    assert (divergences > 0).all()
