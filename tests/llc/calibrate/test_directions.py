"""How many directions count at a resolution."""

import pytest
import torch

from llc_lightning.exact import quadratic_value
from llc_lightning.llc.calibrate.directions import directions
from llc_lightning.llc.settings import Resolution
from tests.known_answers.losses import quadratic

CURVATURE = (1.0, 0.5, 0.1, 0.01, 0.0)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 30.0])
def test_they_are_twice_the_value_of_a_quadratic(gamma: float) -> None:
    known = quadratic(CURVATURE)
    found = directions(known.loss, known.params, known.data, None, seed=0)
    assert found.dimension == 5
    exact = 2 * quadratic_value(CURVATURE, n_beta=100.0, gamma=gamma) if gamma else 4.0
    assert found.counted(Resolution(100.0, gamma)) == pytest.approx(exact, rel=1e-5)


def test_of_some_weights_only_those_count() -> None:
    known = quadratic(CURVATURE)
    ((name, weights),) = known.params.items()
    moved = {name: torch.arange(weights.numel()) < 2}
    found = directions(known.loss, known.params, known.data, moved, seed=0)
    assert found.counted(Resolution(100.0, 1.0)) == pytest.approx(100 / 101 + 50 / 51, rel=1e-5)
