"""What every registered ablation method promises; a new one is tested by being registered."""

from pathlib import Path

import pytest
import torch

import llc_lightning.ablation
from llc_lightning.ablation.engine.base import METHODS, Activations, Method, MethodFacts, Shared, entry_of, method_of
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.fitted import Fitted
from llc_lightning.runtime.errors import DataError

ROOT = Path(__file__).parents[2]
SHAPES = [(5,), (3, 4), (2, 3, 3)]
SHARED = [name for name, entry in METHODS.items() if issubclass(entry.item, Shared)]
OPTIONS = [
    "mean(positions=pooled)", "mean(label=class)", "mean(positions=pooled,label=class)", "noise(scale=0.5,draws=2)",
    "resample(positions=own)", "resample(positions=pooled)", "resample(label=class)", "project(rank=2)",
    "resample(draws=2,positions=own,label=class)",
]  # fmt: skip


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


def test_every_method_is_shared_or_fitted() -> None:
    assert all(issubclass(entry.item, (Shared, Fitted)) for _, entry in METHODS.items())
    assert [method_of(method_of(text).name) for text in OPTIONS] == [method_of(text) for text in OPTIONS]


def test_has_a_file_and_a_test_file_of_its_name(any_method: Method) -> None:
    assert type(any_method).__module__ == f"llc_lightning.ablation.methods.{any_method.name}"
    assert (ROOT / "tests" / "ablation" / "methods" / f"test_{any_method.name}.py").is_file()
    assert getattr(llc_lightning.ablation, type(any_method).__name__) is type(any_method)


def test_facts_are_complete(any_method: Method) -> None:
    entry = METHODS.get(any_method.name)
    assert entry.summary
    assert entry.source
    assert entry.facts.draws == any_method.draws
    with pytest.raises(AttributeError):
        entry.facts.draws = 9  # type: ignore[misc]


def test_is_a_frozen_value(any_method: Method) -> None:
    assert any_method == type(any_method)()
    assert hash(any_method) == hash(type(any_method)())
    with pytest.raises(AttributeError):
        any_method.draws = 7  # type: ignore[misc]


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
    if torch.Size(shape).numel() < 4 and isinstance(method, llc_lightning.ablation.Project):
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


def test_a_single_example_works_or_says_what_is_missing(method: Method) -> None:
    one = torch.randn(1, 4), Blocks.of(torch.arange(1))
    if isinstance(method, llc_lightning.ablation.Resample):
        with pytest.raises(
            DataError, match=r"takes the activation of another example.*, and none has one; give more\."
        ):
            values(method, *one)
    else:
        assert values(method, *one).isfinite().all()
