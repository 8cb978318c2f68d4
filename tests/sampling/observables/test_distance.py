"""The squared distance from the centre."""

from llc_lightning.sampling.observables.distance import SquaredDistance
from tests.sampling.observables.looks import look_at


def test_it_is_that_of_all_weights() -> None:
    assert SquaredDistance(1).look(look_at([[3.0, 4.0], [0.0, 1.0]])).tolist() == [[25.0], [1.0]]
