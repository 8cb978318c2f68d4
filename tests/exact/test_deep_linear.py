"""Deep linear networks, against a table and against the older formula for two layers."""

from fractions import Fraction
from itertools import pairwise, product

import pytest
import torch

from llc_lightning.exact import deep_linear_coefficient, reduced_rank_coefficient
from llc_lightning.runtime.errors import SettingError
from tests.known_answers.losses import deep_linear, population_hessian

COEFFICIENTS = {
    ((1, 1, 1, 1), 0): (Fraction(1, 2), 3),
    ((2, 2, 2, 2), 0): (Fraction(3, 2), 3),
    ((2, 2, 2, 2), 1): (2, 3),
    ((2, 2, 2, 2), 2): (2, 1),
    ((3, 1, 1, 2), 0): (Fraction(1, 2), 1),
    ((5, 5, 5, 5), 0): (Fraction(17, 2), 3),
    ((5, 5, 5, 5), 3): (12, 3),
    ((6, 4, 5), 2): (12, 2),
}


@pytest.mark.parametrize("case", COEFFICIENTS)
def test_the_table(case: tuple[tuple[int, ...], int]) -> None:
    widths, rank = case
    found = deep_linear_coefficient(widths, rank=rank)
    assert (found.value, found.multiplicity) == COEFFICIENTS[case]
    assert found.dimension == sum(below * above for below, above in pairwise(widths))


def test_two_layers_have_the_coefficient_and_the_multiplicity_of_reduced_rank_regression() -> None:
    cases = 0
    for widths in product(range(1, 9), repeat=3):
        for rank in range(min(widths) + 1):
            assert deep_linear_coefficient(widths, rank=rank) == reduced_rank_coefficient(*widths, rank=rank)
            cases += 1
    assert cases == 1808


def test_one_layer_is_regular() -> None:
    for rank in range(3):
        found = deep_linear_coefficient([2, 5], rank=rank)
        assert (found.value, found.multiplicity, found.dimension) == (5, 1, 10)


def test_the_order_of_the_layers_between_does_not_matter() -> None:
    assert deep_linear_coefficient([7, 3, 5, 4], rank=2).value == deep_linear_coefficient([7, 5, 3, 4], rank=2).value


def test_the_coefficient_is_at_most_half_the_dimension_and_rises_with_the_rank() -> None:
    for widths in product(range(1, 5), repeat=4):
        found = [deep_linear_coefficient(widths, rank=rank) for rank in range(min(widths) + 1)]
        values = [one.value for one in found]
        assert values == sorted(values)
        assert 0 < values[0] <= values[-1] <= Fraction(found[0].dimension, 2)


def test_what_the_rank_fixes_is_regular_and_the_rest_is_a_network_of_rank_zero() -> None:
    known = deep_linear((6, 4, 5), 2)
    assert known.loss(known.params, known.data).item() < 1e-12
    first, second = known.params["1"], known.params["2"]
    assert torch.allclose(first @ first.T, second.T @ second, atol=1e-6), "balanced"
    assert torch.linalg.svdvals(second @ first)[:3].tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)
    eigenvalues = torch.linalg.eigvalsh(population_hessian(known))
    regular = int((eigenvalues > 1e-6).sum())
    assert regular == 2 * (6 + 5 - 2)
    rest = deep_linear_coefficient([4, 2, 3], rank=0)
    found = deep_linear_coefficient([6, 4, 5], rank=2)
    assert (found.value, found.multiplicity) == (Fraction(regular, 2) + rest.value, rest.multiplicity)


@pytest.mark.parametrize(
    ("widths", "rank", "sentence"),
    [
        ([3], 0, r"there are 1 widths; give at least 2, of the input and of the output\."),
        ([3, 0, 2], 0, r"a width is 0; give an integer of at least 1\."),
        ([3, 2, 2], -1, r"rank is -1; give an integer of at least 0\."),
        ([3, 2, 4], 3, r"rank is 3; it can be at most the smallest width, 2\."),
    ],
)
def test_what_is_wrong_is_said(widths: list[int], rank: int, sentence: str) -> None:
    with pytest.raises(SettingError, match=f"^{sentence}$"):
        deep_linear_coefficient(widths, rank=rank)
