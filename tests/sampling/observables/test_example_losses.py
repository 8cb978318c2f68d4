"""The losses of single examples."""

import torch

from llc_lightning.sampling.observables.example_losses import ExampleLosses
from tests.sampling.observables.looks import DATA, look_at


def test_they_are_of_the_same_examples_whatever_the_minibatch() -> None:
    observable = ExampleLosses(1, DATA[[0, 3]], torch.tensor([1.0, 2.0]))
    looked = observable.look(look_at([[3.0, 4.0], [0.0, 0.0]], batches=[[[1], [2]]]))
    assert looked.tolist() == [[[12.5 + 3 - 1, 12.5 - 12 - 2]], [[-1.0, -2.0]]]
