"""What every registered ablation method promises; a new one is tested by being registered."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

import llc_lightning.ablation
from llc_lightning.ablation import methods
from llc_lightning.ablation.engine.base import (
    METHODS,
    Activations,
    Method,
    MethodFacts,
    Shared,
    WeightMethod,
    entry_of,
    method_of,
)
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.replacing import Fitted
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.runtime.errors import AddressError, DataError, SettingError

ROOT = Path(__file__).parents[2]
SHAPES = [(5,), (3, 4), (2, 3, 3)]
SHARED = [name for name, entry in METHODS.items() if issubclass(entry.item, Shared)]
OPTIONS = [
    "mean(positions=pooled)", "mean(label=class)", "mean(positions=pooled,label=class)", "noise(scale=0.5,draws=2)",
    "resample(positions=own)", "resample(positions=pooled)", "resample(label=class)", "project(rank=2)",
    "resample(draws=2,positions=own,label=class)",
]  # fmt: skip
OF_WEIGHTS = [name for name, entry in METHODS.items() if issubclass(entry.item, WeightMethod)]
OF_WEIGHTS += ["quantise(bits=2)", "low_rank(rank=2)", "weight_noise(draws=2,scale=0.5)"]
EXPORTED = ["Counterfactual", "LowRank", "Mean", "Noise", "Optimal", "Project", "Quantise", "Resample", "WeightNoise"]
EXPORTED += ["WeightZero", "Zero"]
FACTS = {"constant": True, "needs_reference": False, "needs_partner": False, "whole": False, "draws": 1}


@pytest.fixture(params=METHODS.names())
def any_method(request: pytest.FixtureRequest) -> Method:
    """Each method with its default settings."""
    return METHODS.get(request.param).item()


@pytest.fixture(params=[*SHARED, *OPTIONS])
def method(request: pytest.FixtureRequest) -> Method:
    """Each method whose values all components share, with its default settings and with others."""
    return method_of(request.param)


def seen(reference: torch.Tensor) -> Activations:
    """What a method may look at: labels and partners follow from the activations."""
    labels = torch.arange(len(reference)) % 3
    return Activations(reference, -1, {"class": labels}, reference.flip(0) * 2)


def values(method: Method, reference: torch.Tensor, blocks: Blocks, seed: int = 0) -> torch.Tensor:
    """Returns the values on all examples."""
    found = list(method.values(seen(reference), blocks.rows, seed=seed))
    assert len(found) == len(blocks)
    return torch.cat([part.expand(-1, blocks.size, *part.shape[2:]) for part in found], dim=1)[:, : blocks.n]


def test_every_method_is_of_one_kind() -> None:
    for _, entry in METHODS.items():
        assert sum(issubclass(entry.item, kind) for kind in (Shared, Fitted, WeightMethod)) == 1
    texts = [*OPTIONS, *OF_WEIGHTS]
    assert [method_of(method_of(text).name) for text in texts] == [method_of(text) for text in texts]


def test_every_file_of_the_room_is_a_method() -> None:
    room = Path(methods.__file__).parent
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert files == {name for name, entry in METHODS.items() if entry.item.__module__.startswith(methods.__name__)}


@pytest.mark.parametrize("missing", FACTS)
def test_a_registration_with_a_fact_missing_is_refused(missing: str) -> None:
    told = {fact: value for fact, value in FACTS.items() if fact != missing}
    with pytest.raises(SettingError) as raised:
        METHODS.register("mine", summary="", **told)
    assert str(raised.value) == (
        f"the ablation method 'mine' does not say {missing}; register it with all of: {', '.join(FACTS)}."
    )
    assert "mine" not in METHODS


def test_has_a_file_and_a_test_file_of_its_name(any_method: Method) -> None:
    assert type(any_method).__module__ == f"llc_lightning.ablation.methods.{any_method.name}"
    assert (ROOT / "tests" / "ablation" / "methods" / f"test_{any_method.name}.py").is_file()
    assert getattr(import_module(type(any_method).__module__), type(any_method).__name__) is type(any_method)


@pytest.mark.parametrize("name", EXPORTED)
def test_what_came_with_the_package_is_exported(name: str) -> None:
    assert name in llc_lightning.ablation.__all__
    assert any(entry.item is getattr(llc_lightning.ablation, name) for _, entry in METHODS.items())


def test_facts_are_complete(any_method: Method) -> None:
    entry = METHODS.get(any_method.name)
    assert entry.summary
    assert entry.source
    assert entry.revision >= 1
    assert entry.facts.draws == any_method.draws
    with pytest.raises(AttributeError):
        entry.facts.draws = 9


def test_is_a_frozen_value(any_method: Method) -> None:
    assert any_method == type(any_method)()
    assert hash(any_method) == hash(type(any_method)())
    with pytest.raises(AttributeError):
        any_method.draws = 7


def facts(method: Method) -> MethodFacts:
    """What is registered about the method."""
    return entry_of(method).facts


def is_constant(method: Method) -> bool:
    """Whether all examples share one value."""
    return facts(method).constant and not method.label_names


def is_random(method: Method) -> bool:
    """Whether it draws."""
    return facts(method).draws != 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types(method: Method, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    blocks = Blocks.of(torch.arange(70), 64)
    if torch.Size(shape).numel() < 4 and facts(method).whole:
        pytest.skip("it has fewer directions")
    for value in method.values(seen(torch.randn(70, *shape).to(dtype)), blocks.rows, seed=0):
        assert value.shape == (method.draws, 1 if is_constant(method) else 64, *shape)
        assert value.dtype == dtype
        assert value.isfinite().all()


def test_random_numbers_come_from_the_seed_alone(method: Method) -> None:
    blocks, reference = Blocks.of(torch.arange(70), 64), torch.randn(70, 4)
    state = torch.get_rng_state()
    one, again, other = (values(method, reference, blocks, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (not is_random(method))


def test_draws_differ(method: Method) -> None:
    found = values(method, torch.randn(70, 4), Blocks.of(torch.arange(70)))
    for draw in range(1, len(found)):
        assert not torch.equal(found[draw], found[0])


def test_needs_what_it_says(method: Method) -> None:
    blocks, reference = Blocks.of(torch.arange(70)), torch.randn(70, 4)
    if facts(method).needs_reference:
        assert not torch.equal(values(method, reference, blocks), values(method, reference * 2, blocks))
    else:
        assert torch.equal(values(method, reference, blocks), values(method, reference[:1], blocks))


def test_reference_is_not_written_to(method: Method) -> None:
    reference = torch.randn(70, 4)
    before = reference.clone()
    values(method, reference, Blocks.of(torch.arange(70)))
    assert torch.equal(reference, before)


def test_a_nan_in_one_unit_does_not_reach_the_others(method: Method) -> None:
    if facts(method).whole:
        pytest.skip("it mixes units, and can only ablate whole hook points")
    reference = torch.randn(70, 4)
    broken = reference.clone()
    broken[3, 2] = float("nan")
    blocks, others = Blocks.of(torch.arange(70)), [0, 1, 3]
    assert torch.equal(values(method, broken, blocks)[..., others], values(method, reference, blocks)[..., others])


def test_what_does_not_count_is_not_looked_at(method: Method) -> None:
    reference = torch.randn(70, 3, 4)
    real = torch.rand(70, 3, 1, generator=torch.Generator().manual_seed(0)) > 0.3
    blocks = Blocks.of(torch.arange(70))

    def found(filling: float) -> torch.Tensor:
        activations = seen(torch.where(real, reference, filling))
        masked = replace(activations, real=real, partner_real=real.flip(0))
        parts = [part.expand(-1, blocks.size, -1, -1) for part in method.values(masked, blocks.rows, seed=0)]
        return torch.where(real, torch.cat(parts, dim=1)[:, : blocks.n], 0.0)

    torch.testing.assert_close(found(1e3), found(-1e3), rtol=0, atol=0)


def takes_others(method: Method) -> bool:
    """Whether its values are other examples' activations, so that one example has none."""
    assert isinstance(method, Shared)
    donors = method.donors(seen(torch.randn(7, 4)), seed=0)
    return donors is not None and donors.step is None


def test_a_single_example_works_or_says_what_is_missing(method: Method) -> None:
    one = torch.randn(1, 4), Blocks.of(torch.arange(1))
    if takes_others(method):
        with pytest.raises(
            DataError, match=r"takes the activation of another example.*, and none has one; give more\."
        ):
            values(method, *one)
    else:
        assert values(method, *one).isfinite().all()


@pytest.fixture(params=OF_WEIGHTS)
def of_weights(request: pytest.FixtureRequest) -> WeightMethod:
    """Each method that edits weights, with its default settings and with others."""
    method = method_of(request.param)
    assert isinstance(method, WeightMethod)
    return method


def some_weights(dtype: torch.dtype = torch.float32) -> list[Weight]:
    """A layer, a convolution, heads and biases."""
    stream = torch.Generator().manual_seed(0)
    forms = {(6, 5): (1, 6, 5), (4, 3, 2, 2): (1, 4, 12), (3, 6, 5): (3, 6, 5), (6,): None, (3, 5): None}
    values = [torch.randn(shape, generator=stream).to(dtype) for shape in forms]
    return [Weight(WeightSlice("w"), one, one, form) for one, form in zip(values, forms.values(), strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_edited_weights_have_the_form_of_the_weights(of_weights: WeightMethod, dtype: torch.dtype) -> None:
    weights = some_weights(dtype)
    before = [weight.values.clone() for weight in weights]
    edited = of_weights.edited(weights, seed=0, draw=0)
    for weight, old, new in zip(weights, before, edited, strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        assert new.isfinite().all()
        assert torch.equal(weight.values, old)
    assert not torch.equal(edited[0], before[0])


def test_edits_come_from_weights_seed_and_draw_alone(of_weights: WeightMethod) -> None:
    state = torch.get_rng_state()
    one, again, other, draw = (
        of_weights.edited(some_weights(), seed=seed, draw=draw) for seed, draw in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, one, again))
    assert torch.equal(one[0], other[0]) == torch.equal(one[0], draw[0])


def test_weights_that_are_no_numbers_reach_no_others(of_weights: WeightMethod) -> None:
    broken = some_weights()
    broken[1].values.fill_(torch.nan)
    for place, (new, expected) in enumerate(
        zip(of_weights.edited(broken, seed=0, draw=0), of_weights.edited(some_weights(), seed=0, draw=0), strict=True)
    ):
        assert place == 1 or torch.equal(new, expected)


def test_each_kind_refuses_a_component_without_its_side(any_method: Method) -> None:
    weights, activation = Component("w", "parameter", weights=(WeightSlice("w"),)), Component("h", "layer", "h")
    edits = isinstance(any_method, WeightMethod)
    any_method.check(weights if edits else activation)
    with pytest.raises(AddressError, match="has no weights of its own" if edits else "has no activation, so it cannot"):
        any_method.check(activation if edits else weights)
