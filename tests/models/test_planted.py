"""Planted nets: what they compute, that hiding changes nothing, and that ablation finds what was planted."""

import copy
import pickle
from itertools import product
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.planted import BLOCKS, PlantedModel
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator

FUNCTIONS = {"xor": lambda bits: bits[0] ^ bits[1], "and": all, "parity": lambda bits: sum(bits) % 2}


@pytest.fixture(scope="module")
def model() -> PlantedModel:
    return PlantedModel()


@pytest.fixture(scope="module")
def examples(model: PlantedModel) -> tuple[Tensor, Tensor]:
    return model.sample(1024, generator(0))


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computes_its_function_on_every_input(name: str) -> None:
    for bits in product((0, 1), repeat=BLOCKS[name].n):
        assert BLOCKS[name](torch.tensor(float(sum(bits)))).item() == FUNCTIONS[name](bits)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", BLOCKS)
def test_so_does_its_net_hidden_or_not(name: str, hidden: bool) -> None:
    model = PlantedModel([name, "xor"], permute=hidden, rotate=hidden, seed=3)
    x = torch.tensor(list(product((0.0, 1.0), repeat=model.n_inputs)))
    own = x[:, : BLOCKS[name].n].int().tolist()
    wanted = torch.tensor([float(FUNCTIONS[name](bits)) for bits in own])
    assert torch.allclose(model(x)[:, 0], wanted, atol=1e-5)


def test_the_loss_is_zero_and_that_of_always_zero_is_the_trivial_one(
    model: PlantedModel, examples: tuple[Tensor, Tensor]
) -> None:
    assert model.per_example_loss(examples).max() < 1e-9
    assert model.per_task_loss(examples)[0].shape == (1024, len(model.task_names))
    assert model.trivial_loss == (1 / 2 + 1 / 4 + 1 / 2 + 1 / 2) / 4
    _, y = PlantedModel(probability=0.3).sample(200_000, generator(1))
    assert y.mean().item() == pytest.approx(PlantedModel(probability=0.3).trivial_loss, rel=0.02)


def test_permutation_and_rotation_change_weights_but_neither_losses_nor_effects(
    examples: tuple[Tensor, Tensor],
) -> None:
    plain, hidden = PlantedModel(permute=False, rotate=False), PlantedModel()
    assert list(plain.ground_truth().values()) != list(hidden.ground_truth().values())
    assert sorted(plain.roles) == sorted(hidden.roles)
    assert (plain.net.W_in.weight == 0).double().mean() > 0.5
    assert not (hidden.net.W_in.weight == 0).any()
    tables = [ablation_effects(one, examples, methods="zero").query("loss == 'train'") for one in (plain, hidden)]
    for table, one in zip(tables, (plain, hidden), strict=True):
        table.insert(0, "role", list(one.ground_truth().values()))
    found = [sorted(zip(table["role"], table["value"], strict=True)) for table in tables]
    assert [role for role, _ in found[0]] == [role for role, _ in found[1]]
    assert [value for _, value in found[0]] == pytest.approx([value for _, value in found[1]], abs=1e-5)


def test_ablation_sees_each_neuron_in_its_own_circuit_and_nothing_in_the_dead_and_unrelated(
    model: PlantedModel, examples: tuple[Tensor, Tensor]
) -> None:
    table = ablation_effects(model, examples, methods="zero")
    effects = table.query("loss != 'train'").pivot_table(index="component", columns="loss", values="value")
    seen = {role: 0 for role in model.roles}
    for address, role in model.ground_truth().items():
        row = effects.loc[address]
        mattering = [name for name, value in row.items() if abs(value) > 1e-5]
        seen[role] += 1
        if role.startswith("cancelling"):
            assert mattering == ["circuit:00"]
        else:
            assert mattering == ([] if role in ("dead", "unrelated") else [role])
    assert seen == {
        **{"circuit:00": 4, "circuit:01": 2, "circuit:02": 6, "circuit:03": 4},
        **{"dead": 2, "cancelling:00": 2, "unrelated": 4},
    }


def test_a_cancelling_pair_matters_singly_and_not_together(
    model: PlantedModel, examples: tuple[Tensor, Tensor]
) -> None:
    pair = [neuron for neuron, role in enumerate(model.roles) if role == "cancelling:00"]
    spec = [*(f"net.hook_hidden[{neuron}]" for neuron in pair), f"net.hook_hidden[{pair[0]},{pair[1]}]"]
    one, other, both = ablation_effects(model, examples, spec, "zero").query("loss == 'train'")["value"]
    assert min(one, other) > 0.05
    assert abs(both) < 1e-9


def test_one_dead_neuron_never_fires_and_the_other_is_never_read(
    model: PlantedModel, examples: tuple[Tensor, Tensor]
) -> None:
    _, cache = model.net.run_with_cache(examples[0])
    first, second = sorted(
        (neuron for neuron, role in enumerate(model.roles) if role == "dead"),
        key=lambda neuron: float(cache["hook_hidden"][:, neuron].abs().sum()),
    )
    assert not cache["hook_hidden"][:, first].any()
    assert model.net.W_out.weight[:, first].any()
    assert cache["hook_hidden"][:, second].any()
    assert not model.net.W_out.weight[:, second].any()


def test_truth_names_every_neuron(model: PlantedModel) -> None:
    assert list(model.ground_truth()) == [component.address for component in find_components(model, "neurons")]


def test_seeds_decide_everything(examples: tuple[Tensor, Tensor]) -> None:
    before = torch.get_rng_state()
    one, again, other = PlantedModel(seed=1), PlantedModel(seed=1), PlantedModel(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.net.W_in.weight, other.net.W_in.weight)
    assert other.per_example_loss(examples).max() < 1e-9


def test_torch_can_do_everything_with_it(model: PlantedModel, examples: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    loss, params = loss_fn(model), snapshot_params(model)
    changed = {name: value * 1.1 for name, value in params.items()}
    expected = loss(changed, examples)
    assert expected.mean() > 1e-3
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
        assert torch.equal(loss_fn(other)(changed, examples), expected)
    stacked = {name: torch.stack((params[name], changed[name])) for name, _ in model.named_parameters()}
    both = torch.func.vmap(torch.func.grad(lambda p: loss(p, examples).mean()))(stacked)
    assert all(torch.isfinite(gradient).all() for gradient in both.values())
    writer = L.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    writer.strategy.connect(model)
    writer.save_checkpoint(tmp_path / "planted.ckpt")
    again = PlantedModel.load_from_checkpoint(tmp_path / "planted.ckpt", weights_only=True)
    assert torch.equal(loss_fn(again)(changed, examples), expected)
    assert again.ground_truth() == model.ground_truth()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"blocks": []}, "blocks is empty"),
        ({"blocks": ["xro"]}, "unknown block 'xro'; did you mean 'xor'"),
        ({"unrelated": "nad"}, "unknown block 'nad'"),
        ({"copies": 0}, "copies is 0"),
        ({"dead": -1}, "dead is -1"),
        ({"cancelling": -1}, "cancelling is -1"),
        ({"probability": 1.0}, "probability is 1.0"),
    ],
)
def test_refuses_what_cannot_be_built(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        PlantedModel(**settings)
