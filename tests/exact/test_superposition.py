"""The toy model of superposition: the coefficient against the rank of the Hessian at the optimal polygon."""

import pytest
import torch
from torch.func import grad

from llc_lightning.exact import superposition_coefficient
from llc_lightning.runtime.errors import SettingError
from tests.known_answers.losses import population_hessian, superposition, superposition_losses

# Columns, sides, sign of the dead biases: the loss, and the ranks of the Hessian above, below and at 0.
POLYGONS = {
    (6, 5, "negative"): (0.06874, (14, 0, 4)),
    (6, 5, "positive"): (0.06180, (17, 0, 1)),
    (6, 6, "negative"): (0.04819, (17, 0, 1)),
    (5, 5, "negative"): (0.01583, (14, 0, 1)),
    (9, 7, "negative"): (None, (20, 0, 7)),
    (9, 8, "positive"): (None, (26, 0, 1)),
}


@pytest.mark.parametrize("case", POLYGONS)
def test_the_coefficient_is_half_the_rank_of_the_hessian(case: tuple[int, int, str]) -> None:
    columns, sides, dead = case
    loss, ranks = POLYGONS[case]
    known = superposition(columns, sides, dead=dead, dtype=torch.float64)
    if loss is not None:
        assert known.loss(known.params, known.data).mean().item() == pytest.approx(loss, abs=5e-6)
    slope = grad(lambda params: known.loss(params, known.data).mean())(known.params)
    assert max(value.abs().max().item() for value in slope.values()) < 1e-8
    eigenvalues = torch.linalg.eigvalsh(population_hessian(known))
    assert ((eigenvalues > 1e-8).sum(), (eigenvalues < -1e-8).sum(), (eigenvalues.abs() <= 1e-8).sum()) == ranks
    found = superposition_coefficient(columns, sides, dead=dead)
    assert (found.value, found.multiplicity, found.dimension) == (ranks[0] / 2, 1, 3 * columns)


def test_radius_and_bias_of_the_polygons() -> None:
    for sides, radius, bias in ((5, 1.1705, -0.2823), (6, 1.3205, -0.6181)):
        known = superposition(6, sides, dtype=torch.float64)
        found = (known.params["W"][0, 0].item(), known.params["b"][0].item())
        assert found == pytest.approx((radius, bias), abs=5e-5)


@pytest.mark.parametrize(("dead", "loss"), [("negative", 0.11111), ("positive", 0.09722)])
def test_the_square(dead: str, loss: float) -> None:
    known = superposition(6, 4, dead=dead, dtype=torch.float64)
    assert known.loss(known.params, known.data).mean().item() == pytest.approx(loss, abs=5e-6)


def test_the_loss_is_the_mean_over_examples() -> None:
    draws = torch.Generator().manual_seed(0)
    w = torch.randn(2, 6, generator=draws, dtype=torch.float64)
    b = torch.randn(6, generator=draws, dtype=torch.float64) / 2
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for column, loss in enumerate(superposition_losses(w, b)):
        x = torch.zeros(len(u), 6, dtype=torch.float64)
        x[:, column] = u
        assert loss.item() == pytest.approx((x - (x @ w.T @ w + b).relu()).square().sum(1).mean().item(), abs=1e-9)


def test_a_slope_of_zero_gives_finite_losses_and_gradients() -> None:
    w, b = torch.zeros(2, 3), torch.tensor([0.5, 0.0, -0.5])
    # Of the outputs only the first is not 0, at 1/2.
    assert superposition_losses(w, b).tolist() == pytest.approx([1 / 3 - 1 / 2 + 1 / 4, 1 / 3 + 1 / 4, 1 / 3 + 1 / 4])
    slope = grad(lambda bias: superposition_losses(w, bias).sum())(b)
    assert slope.tolist() == pytest.approx([2.0, -1.0, 0.0])


@pytest.mark.parametrize(
    ("columns", "sides", "dead", "sentence"),
    [
        (6, 4, "negative", r"sides is 4; with 6 columns the coefficient is known from 5 to 6 sides\."),
        (6, 7, "negative", r"sides is 7; with 6 columns the coefficient is known from 5 to 6 sides\."),
        (9, 9, "negative", r"sides is 9; with 9 columns the coefficient is known from 5 to 8 sides\."),
        (4, 4, "negative", r"columns is 4; give an integer of at least 5\."),
    ],
)
def test_what_is_not_known_is_refused(columns: int, sides: int, dead: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=f"^{sentence}$"):
        superposition_coefficient(columns, sides, dead=dead)
