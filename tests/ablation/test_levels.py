"""Every method at every level on three families of networks, against one hook and one forward pass each."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from llc_lightning.ablation.engine.base import METHODS, Method, WeightMethod, method_of
from llc_lightning.ablation.engine.blocks import fold_of
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.replacing import Fitted
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.procedures.weight_edit import weight_edit
from llc_lightning.components.component import Component
from llc_lightning.components.directions import direction
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.models.cis import CISModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.ablation.nets import Circuits, literal_losses, values_of, values_of_constants

N = 40
RESIDUAL = "net.blocks.1.hook_resid_pre"


class Channels(nn.Module):
    """A convolutional net with batch norm and dropout that declares its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.drop = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.hook_maps = HookPoint()
        self.two, self.read = nn.Conv2d(4, 3, 3), nn.Linear(3, 5)
        self.hook_logits = HookPoint()

    def weight_axes(self) -> dict[str, WeightAxes]:
        maps = WeightAxes((("one.weight", 0),), (("one.bias", 0),), (("two.weight", 1),), unit="channel", unit_axis=-3)
        return {"hook_maps": maps}

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        maps = self.hook_maps(self.drop(self.norm(self.one(batch["image"])).relu()))
        logits = self.hook_logits(self.read(self.two(maps).relu().mean((-2, -1))))
        return F.cross_entropy(logits, batch["label"], reduction="none")


@dataclass(frozen=True)
class Family:
    """A net in training, examples and their partners, and parts of it at all levels that it has."""

    module: nn.Module
    data: Batch
    partners: Batch
    parts: list[Component]


def mlp() -> Family:
    module = CISModel(size=3, width=5)
    x, y = CISData(size=3, active=1.5).analysis_set(N)
    names = ["net.hook_hidden[1]", "net.hook_hidden[0,3]", "net.hook_hidden", "net.hook_hidden[2]+net.hook_out[1]"]
    parts = [*find_components(module, [*names, "pairs:net.hook_out[*]", "net.hook_out[2]"])]
    return Family(module, (x, y), (x.flip(0), y), [*parts, direction("probe", "net.hook_hidden", torch.randn(2, 5))])


def cnn() -> Family:
    stream, module = torch.Generator().manual_seed(2), Channels()
    image = torch.randn(N, 1, 7, 7, generator=stream)
    data = {"image": image, "label": torch.arange(N) % 5}
    parts = find_components(module, ["hook_maps[2]", "hook_maps[0,1]", "hook_maps", "hook_logits"])
    return Family(module, data, {**data, "image": -image}, parts)


def transformer() -> Family:
    module = TransformerModel(7, 6, d_model=8, d_mlp=6, norm="layer", act="gelu")
    stream = torch.Generator().manual_seed(3)
    with torch.no_grad():  # heads that matter
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    tokens = torch.randint(0, 7, (N, 6), generator=stream)
    targets = torch.cat([tokens[:, 1:], torch.full((N, 1), NO_TARGET)], dim=1)
    attn, mlp = "net.blocks.1.attn", "net.blocks.0.mlp"
    heads = [f"{attn}.hook_{point}[1]" for point in ("q", "k", "v", "z")]
    stream_parts = [f"{RESIDUAL}{at}" for at in ("", "@3", "@-2,0", "[5]@4")]
    sets = [f"net.blocks.0.attn.hook_z[1]+{attn}.hook_z[0]", f"{mlp}.hook_post[0,5]"]
    whole = [f"{attn}.hook_z", "net.blocks.1.hook_attn_out", "net.blocks.0.hook_mlp_out", "net.hook_embed"]
    parts = find_components(module, [f"{mlp}.hook_post[2]", *heads, *stream_parts, *sets, *whole])
    probe = direction("probe", RESIDUAL, torch.randn(2, 8))
    return Family(module, (tokens, targets), (tokens.flip(0), targets), [*parts, probe])


FAMILIES = {"mlp": mlp, "cnn": cnn, "transformer": transformer}
LEVELS = {
    "mlp": {"neuron", "set", "pair", "layer", "output", "direction"},
    "cnn": {"channel", "set", "layer"},
    "transformer": {"neuron", "head", "position", "set", "layer", "residual", "direction", "unit"},
}


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a family."""
    return request.param


def methods_of(*, whole: bool) -> list[Method]:
    """Every method of activations, fitted ones with few steps; those that mix units, or the others."""
    known = [(name, entry) for name, entry in METHODS.items() if not issubclass(entry.item, WeightMethod)]
    names = [name for name, entry in known if entry.facts.whole == whole]
    return [method_of(f"{name}(steps=2)" if issubclass(METHODS.get(name).item, Fitted) else name) for name in names]


def test_every_method_at_every_level_is_what_one_hook_and_one_pass_do(name: str) -> None:
    torch.manual_seed(0)
    family = FAMILIES[name]()
    module, data = family.module.train(), family.data
    assert {part.kind for part in family.parts} == LEVELS[name]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    loss, params = loss_fn(module), snapshot_params(module)
    whole = [part for part in family.parts if not part.parts and part.units is None and part.basis is None]
    for parts, methods in ((family.parts, methods_of(whole=False)), (whole, methods_of(whole=True))):
        found = sweep(loss, params, data, parts, methods, seed=1, counterfactual=family.partners)
        effects = [one for one in found if one.quantity == "ablation_effect"]
        pairs = [(part, method) for part in parts for method in methods]
        for (part, method), effect in zip(pairs, effects, strict=True):
            assert (effect.component, effect.kind, effect.method) == (part.address, part.kind, method.name)
            assert effect.status in ("ok", "too-few-examples", "not-converged", "not-converged+too-few-examples")
            assert effect.vmapped
            expected = literal_effect(family, part, method, effect)
            assert effect.value == pytest.approx(expected, abs=1e-5), (part.address, method.name)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training and not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def literal_effect(family: Family, part: Component, method: Method, effect: Effect) -> float:
    """Returns the effect by hooks, on the examples that it is scored on where the method is fitted."""
    module, data = family.module, family.data
    if isinstance(method, Fitted):
        folds = fold_of(N, seed=1)
        values = values_of_constants(part, [constant[folds] for constant in effect.constants])
        clean, ablated = literal_losses(module, data, part, values)
        return float((ablated[0] - clean).mean())

    def partners(point: str) -> Tensor:
        return loss_fn(module).activations(snapshot_params(module), family.partners, [point])[point]

    clean, ablated = literal_losses(module, data, part, values_of(method, data, seed=1, partners=partners))
    return float((ablated - clean).mean())


def test_what_lies_outside_of_the_activation() -> None:
    family = transformer()
    loss, params = loss_fn(family.module), snapshot_params(family.module)
    with pytest.raises(AddressError, match="names positions 30, but the activation of"):
        sweep(loss, params, family.data, find_components(family.module, f"{RESIDUAL}@30"), "zero", seed=0)
    with pytest.raises(SettingError, match="the directions of 'probe' have 3 coordinates"):
        sweep(loss, params, family.data, [direction("probe", "net.hook_embed", torch.randn(3))], "zero", seed=0)


EDITED = {
    "mlp": ["net.hook_hidden[1]", "net.hook_hidden[0,3]", "net.hook_hidden"],
    "cnn": ["hook_maps[2]", "hook_maps[0,1]", "hook_maps"],
    "transformer": ["net.blocks.0.mlp.hook_post[2]", "net.blocks.1.attn.hook_z[1]", "net.blocks.0.mlp.hook_post[0,5]"],
}
"""What declared weights read: its constant ablations are edits of these."""


@torch.no_grad()
@pytest.mark.parametrize("method", ["zero", "mean(positions=pooled)", "optimal(positions=pooled,steps=5)"])
def test_constants_are_weight_edits(name: str, method: str) -> None:
    family = FAMILIES[name]()
    module, data = family.module, family.data
    loss, params = loss_fn(module), snapshot_params(module)
    for part in find_components(module, EDITED[name]):
        effect = sweep(loss, params, data, [part], method, seed=0, per_example=True)[1]
        assert effect.per_example is not None
        activation = loss.activations(params, data, [part.point])[part.point].movedim(part.unit_axis, 0)
        mean = activation.flatten(1, -2 if part.kind == "head" else -1).mean(1)
        constant = torch.zeros_like(mean) if method == "zero" else mean
        constant = constant if part.units is None else constant[list(part.units)]
        folds = fold_of(N, seed=0)
        for fold in range(2):
            if effect.constants:  # the same for all positions
                fitted = effect.constants[0][fold][None].movedim(part.unit_axis, 0)
                constant = fitted.reshape(len(constant), -1, *mean.shape[1:])[:, 0]
            edited = loss(weight_edit(module, params, part, constant), data) - loss(params, data)
            here = folds == fold
            torch.testing.assert_close(effect.per_example[here], edited[here], atol=1e-5, rtol=1e-4)


def test_pairs_are_all_pairs() -> None:
    module = Circuits()
    pairs = find_components(module, "pairs:hook_hidden[*]")
    assert len(pairs) == 10
    assert (pairs[0].address, pairs[0].kind, pairs[0].units) == ("hook_hidden[0]+hook_hidden[1]", "pair", (0, 1))
    across = find_components(module, "hook_hidden[0]+hook_out[2]")[0]
    assert [part.point for part in across.members] == ["hook_hidden", "hook_out"]
    with pytest.raises(AddressError, match="names a unit twice"):
        find_components(module, "hook_hidden[0]+hook_hidden[0,1]")
