"""Planted directions: nothing is lost when they are hidden, and ablation finds what each is about."""

from dataclasses import replace

import pytest
import torch

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.components.listing import find_components
from llc_lightning.data.directions import DIRECTIONS
from llc_lightning.models.direction_model import DirectionModel
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_answers_what_its_neurons_say_however_it_is_hidden(direction: str) -> None:
    one, other = DirectionModel(direction), DirectionModel(direction, seed=1)
    x, y = one.direction.examples()
    for model in (one, other):
        answers = model(x) if model.direction.loss == "square" else model(x).sigmoid()
        assert torch.allclose(answers, y, atol=1e-5)
    assert sorted(one.ground_truth().values()) == sorted(other.ground_truth().values())
    assert list(one.ground_truth()) == [component.address for component in find_components(one, "neurons")]
    assert not any(torch.equal(a, b) for a, b in zip(one.net.W_in, other.net.W_in, strict=True))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_is_at_a_minimum_and_stays_there(direction: str) -> None:
    model = DirectionModel(direction).double()
    x = model.direction.examples()[0].double()
    batch = x, model.direction.labels(x)
    loss = model.training_step(batch, 0)
    loss.backward()
    assert all(parameter.grad.abs().max() < 1e-5 for parameter in model.parameters())
    before = [parameter.clone() for parameter in model.parameters()]
    model.configure_optimizers().step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_examples_are_the_law_that_samples_follow() -> None:
    model = DirectionModel("simple_important")
    x, _ = model.direction.examples()
    drawn, answers = model.direction.sample(20_000, generator(0))
    assert x.sum(dim=1).eq(1).all()
    assert torch.allclose(x.mean(dim=0), drawn.mean(dim=0), atol=0.02)
    assert model.trivial_loss == pytest.approx(float(answers.square().mean()), rel=0.05)
    assert DirectionModel("saturated").trivial_loss == pytest.approx(0.6931472)


def test_a_role_names_its_neurons_together() -> None:
    model = DirectionModel("redundant", seed=2)
    (readers,) = find_components(model, model.at("reader"))
    assert readers.units == (0, 1) or len(readers.parts) == 2
    with pytest.raises(SettingError, match="unknown role 'raeder'; did you mean 'reader'"):
        model.at("raeder")


ALONE = {
    # Ablating these roles does nothing by these methods, alone; together with the others it does.
    "backup": (("primary", "backup"), ("zero", "optimal"), True),
    "redundant": (("twin", "other twin"), ("zero", "optimal"), True),
    "dead_large": (("dead",), ("zero", "mean", "resample", "optimal"), False),
    "constrained_unused": (("unused",), ("zero", "mean", "resample", "optimal"), False),
    "decoy": (("decoy",), ("zero", "mean", "resample", "optimal"), False),
    "zero_misleads": (("constant",), ("mean", "resample", "optimal"), False),
    "mean_misleads": (("two-valued",), ("zero", "resample", "optimal"), False),
    "resample_misleads": (("witness",), ("zero", "mean", "optimal"), False),
}


@pytest.mark.filterwarnings("ignore")  # of copies among examples
@pytest.mark.parametrize("direction", ALONE)
def test_ablation_is_blind_where_it_must_be_and_nowhere_else(direction: str) -> None:
    model = DirectionModel(direction, seed=1).double()
    roles, blind, jointly = ALONE[direction]
    x = model.direction.sample(512, generator(0))[0].double()
    batch = x, model.direction.labels(x)
    places = [*(model.at(role) for role in roles), model.at(*roles)]
    table = ablation_effects(model, batch, list(dict.fromkeys(places)), ["zero", "mean", "resample", "optimal"])
    effects = table.set_index(["component", "method"])["value"]
    for place in places[: len(roles)]:
        for method in blind:
            assert abs(effects[place, method]) < 1e-9
    if jointly:
        assert effects[places[-1], "zero"] > 0.2
    for method in {"zero", "mean", "resample"} - set(blind):
        assert effects[places[0], method] > 0.01


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_matters_is_what_the_answer_hears_of(direction: str) -> None:
    model = DirectionModel(direction, seed=3)
    roles = model.ground_truth()
    assert model.matters().keys() == roles.keys()
    x, y = model.direction.examples()
    idle = [unit for unit in model.direction.units if not unit.matters]
    assert {unit.role for unit in idle} == {role for place, role in roles.items() if not model.matters()[place]}
    without = replace(model.direction, units=tuple(unit for unit in model.direction.units if unit.matters))
    apart = y - without.labels(x)  # a constant may be missing, and nothing else
    assert (apart - apart[0]).abs().max() < 1e-6


def test_a_pair_cancels() -> None:
    model = DirectionModel("cancelling").double()
    x = model.direction.sample(512, generator(0))[0].double()
    batch = x, model.direction.labels(x)
    one, other, both = ablation_effects(model, batch, [model.at("plus"), model.at("minus"), model.at("plus", "minus")])[
        "value"
    ]
    assert one == pytest.approx(other)
    assert one > 0.005
    assert abs(both) < 1e-12


def test_refuses_an_unknown_direction() -> None:
    with pytest.raises(SettingError, match="unknown direction 'back_up'; did you mean 'backup'"):
        DirectionModel("back_up")
