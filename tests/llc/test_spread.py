"""The variance that the noise of minibatches is told by, beside the literal one."""

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.spread import Mean, Spread
from llc_lightning.sampling.stacked import Stack

CHAINS, ROWS, COUNT, N = 3, 24, 20, 40


def weighed(vectors: Stack, factor: Stack, chain: int) -> Tensor:
    """Returns the vectors of one chain times its factor, [row, lane, weight]."""
    own = [
        value[:COUNT][chain::CHAINS] * (factor[name] if len(factor[name]) == 1 else factor[name][chain, None])
        for name, value in vectors.items()
    ]
    return torch.cat([value.double().flatten(2) for value in own], 2)


@pytest.fixture(params=[(torch.float32, True), (torch.float64, True), (torch.float64, False)])
def given(request: pytest.FixtureRequest) -> tuple[Stack, Stack]:
    dtype, alike = request.param
    stream = torch.Generator().manual_seed(0)
    shapes = {"a": (2, 5), "b": (2, 3, 4), "long": (2, 5000)}
    vectors = {name: 3 + torch.randn(ROWS, *shape, generator=stream, dtype=dtype) for name, shape in shapes.items()}
    chains = 1 if alike else CHAINS
    factor = {name: torch.rand(chains, *shape, generator=stream, dtype=dtype) for name, shape in shapes.items()}
    return vectors, factor


def added(vectors: Stack, factor: Stack, rows: int, counted: Tensor) -> Spread:
    spread, there = Spread(factor, CHAINS, N), torch.arange(ROWS) < COUNT
    for start in range(0, COUNT, rows):
        some = slice(start, start + rows)
        spread.add({name: value[some].clone() for name, value in vectors.items()}, there[some], counted[some])
    return spread


@pytest.mark.parametrize("rows", [CHAINS, 4 * CHAINS])
def test_it_is_that_of_every_weight_summed(given: tuple[Stack, Stack], rows: int) -> None:
    counted = (torch.arange(ROWS) < COUNT)[:, None].expand(ROWS, 2)
    literal = torch.stack([weighed(*given, chain).var(0).sum(1) for chain in range(CHAINS)]).mean(0) * (1 - 1 / N)
    torch.testing.assert_close(added(*given, rows, counted).variance(), literal, rtol=1e-5, atol=0)


@pytest.mark.parametrize("rows", [CHAINS, 4 * CHAINS])
def test_one_that_does_not_count_on_a_lane_is_told_by_itself(given: tuple[Stack, Stack], rows: int) -> None:
    vectors, factor = given
    counted = (torch.arange(ROWS) < COUNT)[:, None].repeat(1, 2)
    counted[7, 1] = False  # of chain 1
    spread = added(vectors, factor, rows, counted)
    together = added(vectors, factor, rows, (torch.arange(ROWS) < COUNT)[:, None].expand(ROWS, 2))
    assert spread.variance()[0] == together.variance()[0]
    of_chain = weighed(vectors, factor, 1)[:, 1]
    others = of_chain[torch.arange(len(of_chain)) != 2]
    alone = others.var(0).sum() * len(others) / len(of_chain)
    expected = together.variance()[1] + (alone - of_chain.var(0).sum()) * (1 - 1 / N) / CHAINS
    torch.testing.assert_close(spread.variance()[1], expected, rtol=1e-5, atol=0)
    only = torch.zeros(CHAINS, 2, dtype=torch.bool)
    only[1, 1] = True
    squares = spread.about_mean({name: value[6:9].clone() for name, value in vectors.items()}, only)
    torch.testing.assert_close(squares[1, 1], (of_chain[2] - others.mean(0)).square().sum(), rtol=1e-4, atol=0)
    assert squares.count_nonzero() == 1


@pytest.mark.parametrize("first", [False, True])
def test_how_much_those_that_do_not_count_differ_is_nothing_to_the_others(first: bool) -> None:
    rows = torch.zeros(8, 1, 1)
    rows[0 if first else 5] = 1e3
    spread = Spread({"a": torch.ones(1, 1, 1)}, 1, N)
    spread.add({"a": rows}, torch.ones(8, dtype=torch.bool), rows[:, 0] == 0)
    assert spread.variance() == 0


def test_vectors_that_are_the_same_have_none_however_long_they_are() -> None:
    row = 1e6 * torch.rand(CHAINS, 1, 7, generator=torch.Generator().manual_seed(0))
    spread, all_of_them = Spread({"a": torch.ones(1, 1, 7)}, CHAINS, N), torch.ones(CHAINS, 1, dtype=torch.bool)
    for _ in range(5):
        spread.add({"a": row.clone()}, all_of_them[:, 0], all_of_them)
    assert torch.equal(spread.variance(), torch.zeros(1, dtype=torch.float64))


def test_a_mean_has_the_relative_error_of_those_that_count() -> None:
    values = torch.tensor([[1.0, 2.0], [2.0, 100.0], [6.0, 4.0]])
    counted = torch.tensor([[True, True], [True, False], [True, True]])
    mean = Mean()
    mean.add(values[:1], counted[:1])
    assert torch.equal(mean.relative_error(), torch.ones(2, dtype=torch.float64))
    mean.add(values[1:], counted[1:])
    some = (values[:, 0], values[[0, 2], 1])
    expected = torch.stack([one.std() / len(one) ** 0.5 / one.mean() for one in some]).double()
    torch.testing.assert_close(mean.relative_error(), expected, rtol=1e-6, atol=0)
