"""Every method at every level on three families of networks, against one hook and one forward pass each."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from llc_lightning.ablation.base import METHODS, method_of
from llc_lightning.ablation.fitted import Fitted
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.weight_edit import weight_edit
from llc_lightning.components.component import Component
from llc_lightning.components.direction import direction
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import AddressError, SettingError
from llc_lightning.runtime.types import Batch
from tests.ablation.induction import Induction, sequences
from tests.ablation.nets import Circuits, circuits_data


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

    def counterfactual(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, "image": -batch["image"]}


class Sequences(Induction):
    def counterfactual(self, batch: Tensor) -> Tensor:
        return batch.flip(0)


class Paired(Circuits):
    def counterfactual(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0].flip(0), batch[1]


def images(n: int) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(2)
    return {"image": torch.randn(n, 1, 7, 7, generator=stream), "label": torch.arange(n) % 5}


FAMILIES: dict[str, tuple[type[nn.Module], Batch, list[str]]] = {
    "mlp": (
        Paired, circuits_data(40), ["hook_hidden[1]", "hook_hidden[0,3]", "hook_hidden", "hook_hidden[2]+hook_out[1]"],
    ),
    "cnn": (Channels, images(40), ["hook_maps[2]", "hook_maps[0,1]", "hook_maps"]),
    "transformer": (
        Sequences,
        sequences(40),
        [
            *("blocks.0.attn.hook_z[1]", "blocks.1.attn.hook_q[2]", "blocks.1.attn.hook_k[2]"),
            "blocks.1.attn.hook_v[2]",
            *("hook_embed", "blocks.1.hook_resid_pre@3", "blocks.1.hook_resid_pre@-2,0", "blocks.0.hook_attn_out"),
            *("blocks.1.hook_resid_pre[41]@5", "blocks.0.attn.hook_z[1]+blocks.1.attn.hook_z[2]"),
        ],
    ),
}  # fmt: skip
LEVELS = {
    *("neuron", "set", "layer", "channel", "head", "attention", "embedding", "position", "direction", "residual"),
    *("mlp", "pair", "output", "unit"),
}


def parts_of(name: str) -> tuple[nn.Module, Batch, list[Component]]:
    make, data, addresses = FAMILIES[name]
    torch.manual_seed(0)
    module = make()
    parts = find_components(module, addresses)
    if name != "cnn":
        point, width = ("hook_hidden", 5) if name == "mlp" else ("blocks.1.hook_resid_pre", 88)
        parts.append(direction("probe", point, torch.randn(2, width)))
    return module, data, parts


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_runs_at_every_level_alone_as_in_batches(family: str) -> None:
    module, data, parts = parts_of(family)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    loss, params = loss_fn(module), snapshot_params(module)
    mixing = [name for name, entry in METHODS.items() if entry.metadata["whole"]]
    for some, names in ((parts, [name for name in METHODS.names() if name not in mixing]), (_whole(parts), mixing)):
        methods = [
            method_of(f"{name}(steps=2)" if issubclass(METHODS.get(name).item, Fitted) else name) for name in names
        ]
        found = [one for one in sweep(loss, params, data, some, methods, seed=1) if one.quantity == "ablation_effect"]
        asked = {(part.address, way.name) for part in some for way in methods}
        assert {(one.component, one.method) for one in found} == asked
        assert {one.status for one in found} == {"ok"}
        assert {part.kind for part in some} <= LEVELS
        single = [
            sweep(loss, params, data, [part], method, seed=1, chunk=1)[1] for part in some[::5] for method in methods
        ]
        by_key = {(one.component, one.method): one.value for one in found}
        for one in single:
            assert one.value == pytest.approx(by_key[one.component, one.method], abs=1e-5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training and not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def _whole(parts: list[Component]) -> list[Component]:
    return [part for part in parts if not part.parts and part.units is None and part.basis is None]


@torch.no_grad()
def test_positions_and_directions_replace_what_they_say() -> None:
    module, data, _ = parts_of("transformer")
    loss, params = loss_fn(module), snapshot_params(module)
    vectors = torch.randn(2, 88)
    parts = [
        *find_components(module, ["blocks.1.hook_resid_pre[41]@5,-1", "blocks.1.hook_resid_pre@2"]),
        direction("probe", "blocks.1.hook_resid_pre", vectors),
    ]
    found = sweep(loss, params, data, parts, "zero", seed=0)

    def literal(change: object) -> float:
        handle = module.get_submodule("blocks.1.hook_resid_pre").register_forward_hook(lambda *a: change(a[2].clone()))
        ablated = module.per_example_loss(data)
        handle.remove()
        return float((ablated - module.per_example_loss(data)).mean())

    def one(h: Tensor) -> Tensor:
        h[:, [5, -1], 41] = 0
        return h

    def two(h: Tensor) -> Tensor:
        h[:, 2] = 0
        return h

    def three(h: Tensor) -> Tensor:
        return h - h @ torch.linalg.pinv(vectors) @ vectors

    for effect, change in zip(found[1:], (one, two, three), strict=True):
        assert effect.value == pytest.approx(literal(change), abs=1e-5)
    with pytest.raises(AddressError, match="names positions 30, but the activation of"):
        sweep(loss, params, data, find_components(module, "blocks.1.hook_resid_pre@30"), "zero", seed=0)
    with pytest.raises(SettingError, match="the directions of 'probe' have 3 coordinates"):
        sweep(loss, params, data, [direction("probe", "hook_embed", torch.randn(3))], "zero", seed=0)


@torch.no_grad()
@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("method", ["zero", "mean(positions=pooled)", "optimal(positions=pooled,steps=5)"])
def test_constants_are_weight_edits(family: str, method: str) -> None:
    module, data, parts = parts_of(family)
    loss, params = loss_fn(module), snapshot_params(module)
    for part in parts[:2]:
        effect = sweep(loss, params, data, [part], method, seed=0, per_example=True)[1]
        assert effect.per_example is not None
        activation = loss.activations(params, data, [part.point])[part.point]
        units = list(part.units or ())
        chosen = activation.movedim(part.unit_axis, -1)[..., units].flatten(0, -2)
        constant = torch.zeros(len(units)) if method == "zero" else chosen.mean(0)
        if effect.constants:
            constant = effect.constants[0].movedim(part.unit_axis, -1).reshape(-1, len(units))[0]
        edited = loss(weight_edit(module, params, part, constant), data) - loss(params, data)
        held = effect.per_example.isfinite()
        torch.testing.assert_close(effect.per_example[held], edited[held], atol=1e-5, rtol=1e-4)


def test_pairs_are_all_pairs() -> None:
    module = Circuits()
    pairs = find_components(module, "pairs:hook_hidden[*]")
    assert len(pairs) == 10
    assert (pairs[0].address, pairs[0].kind, pairs[0].units) == ("hook_hidden[0]+hook_hidden[1]", "pair", (0, 1))
    across = find_components(module, "hook_hidden[0]+hook_out[2]")[0]
    assert [part.point for part in across.members] == ["hook_hidden", "hook_out"]
    with pytest.raises(AddressError, match="names a unit twice"):
        find_components(module, "hook_hidden[0]+hook_hidden[0,1]")
