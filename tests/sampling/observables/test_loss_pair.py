"""The loss on two minibatches."""

from llc_lightning.sampling.observables.base import apart
from llc_lightning.sampling.observables.loss_pair import LossPair
from tests.sampling.observables.looks import look_at


def test_they_are_that_of_the_step_and_another() -> None:
    here, there = apart(LossPair(1).look(look_at([[3.0, 4.0], [1.0, 2.0]], batches=[[[0], [2]], [[1], [3]]])))
    assert here.flatten().tolist() == [12.5 + 3, 2.5 + 6]
    assert there.flatten().tolist() == [12.5 - 3, 2.5 - 6]


def test_with_all_examples_they_are_one() -> None:
    here, there = apart(LossPair(1).look(look_at([[3.0, 4.0]])))
    assert here.item() == there.item() == 12.5
