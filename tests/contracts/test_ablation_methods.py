"""What every registered ablation method promises; a new one is tested by being registered."""

from pathlib import Path

import pytest
import torch

import llc_lightning.ablation
from llc_lightning.ablation.base import METHODS, Method
from llc_lightning.ablation.blocks import Blocks

ROOT = Path(__file__).parents[2]
SHAPES = [(5,), (3, 4), (2, 3, 3)]


@pytest.fixture(params=METHODS.names())
def method(request: pytest.FixtureRequest) -> Method:
    """Each method with its default settings."""
    return METHODS.get(request.param).item()


def values(method: Method, reference: torch.Tensor, blocks: Blocks, seed: int = 0) -> torch.Tensor:
    """Returns the values on all examples."""
    found = list(method.values(reference, blocks.rows, seed=seed))
    assert len(found) == len(blocks)
    return torch.cat([part.expand(-1, blocks.size, *part.shape[2:]) for part in found], dim=1)[:, : blocks.n]


def test_has_a_file_and_a_test_file_of_its_name(method: Method) -> None:
    assert type(method).__module__ == f"llc_lightning.ablation.{method.name}"
    assert (ROOT / "tests" / "ablation" / f"test_{method.name}.py").is_file()
    assert getattr(llc_lightning.ablation, type(method).__name__) is type(method)


def test_metadata_are_complete(method: Method) -> None:
    entry = METHODS.get(method.name)
    assert entry.summary
    assert entry.source
    assert set(entry.metadata) == {"constant", "needs_reference", "draws"}
    assert entry.metadata["draws"] == method.draws
    with pytest.raises(TypeError):
        entry.metadata["draws"] = 9  # type: ignore[index]


def test_is_a_frozen_value(method: Method) -> None:
    assert method == type(method)()
    assert hash(method) == hash(type(method)())
    with pytest.raises(AttributeError):
        method.draws = 7  # type: ignore[misc]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types(method: Method, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    blocks = Blocks.of(torch.arange(70), 64)
    constant = METHODS.get(method.name).metadata["constant"]
    for value in method.values(torch.randn(70, *shape).to(dtype), blocks.rows, seed=0):
        assert value.shape == (method.draws, 1 if constant else 64, *shape)
        assert value.dtype == dtype
        assert value.isfinite().all()


def test_random_numbers_come_from_the_seed_alone(method: Method) -> None:
    blocks, reference = Blocks.of(torch.arange(70), 64), torch.randn(70, 4)
    state = torch.get_rng_state()
    one, again, other = (values(method, reference, blocks, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert torch.equal(one, other) == METHODS.get(method.name).metadata["constant"]


def test_draws_differ(method: Method) -> None:
    found = values(method, torch.randn(70, 4), Blocks.of(torch.arange(70)))
    for draw in range(1, len(found)):
        assert not torch.equal(found[draw], found[0])


def test_needs_what_it_says(method: Method) -> None:
    blocks, reference = Blocks.of(torch.arange(70)), torch.randn(70, 4)
    if METHODS.get(method.name).metadata["needs_reference"]:
        assert not torch.equal(values(method, reference, blocks), values(method, reference * 2, blocks))
    else:
        assert torch.equal(values(method, reference, blocks), values(method, reference[:1], blocks))


def test_reference_is_not_written_to(method: Method) -> None:
    reference = torch.randn(70, 4)
    before = reference.clone()
    values(method, reference, Blocks.of(torch.arange(70)))
    assert torch.equal(reference, before)


def test_a_nan_in_one_unit_does_not_reach_the_others(method: Method) -> None:
    reference = torch.randn(70, 4)
    broken = reference.clone()
    broken[3, 2] = float("nan")
    blocks, others = Blocks.of(torch.arange(70)), [0, 1, 3]
    assert torch.equal(values(method, broken, blocks)[..., others], values(method, reference, blocks)[..., others])


def test_a_single_example_works(method: Method) -> None:
    assert values(method, torch.randn(1, 4), Blocks.of(torch.arange(1))).isfinite().all()
