"""The virial with a diagonal that is known."""

import torch

from llc_lightning.sampling.observables.base import apart
from llc_lightning.sampling.observables.virial import Virial
from llc_lightning.sampling.stacked import Stack
from tests.sampling.observables.looks import look_at


def test_a_chain_without_curvature_is_blind_and_its_diagonal_is_1() -> None:
    """The energy is ``7/2 |w|^2``, so that the virial is 7 times the weighted sum of squares."""
    settled: list[Stack] = []

    def weights(position: Stack) -> Stack:
        settled.append(position)
        return {"w": torch.tensor([[[0.5, 0.25]], [[0.0, 0.0]]])}

    look = look_at([[3.0, 4.0], [1.0, 2.0]])
    observable = Virial(1, weights)
    observable.settle(look.position)
    virial, trace, blind = apart(observable.look(look))
    assert settled == [look.position]
    assert virial.flatten().tolist() == [7 * (0.5 * 9 + 0.25 * 16), 7 * 5.0]
    assert trace.flatten().tolist() == [0.75, 2.0]
    assert blind.flatten().tolist() == [0.0, 1.0]
