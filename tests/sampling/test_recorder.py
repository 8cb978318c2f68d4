"""What observables return at the draws that they look at."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.observables.base import Look, Observable
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.stacked import Stack
from tests.sampling.observables.looks import look_at

SEEN = look_at([[3.0, 4.0], [1.0, 2.0]])


@dataclass
class Returning:
    """Returns what it is told to, and keeps where it settled."""

    returned: Callable[[Look], object]
    every: int = 1
    name: str = "mine"
    settled: int = 0

    def settle(self, position: Stack) -> None:
        self.settled += 1

    def look(self, look: Look) -> Tensor:
        return self.returned(look)


def recorder(*observables: Observable, lanes: int = 1) -> Recorder:
    return Recorder(observables, SEEN.posterior, lanes=lanes)


def look(at: Recorder, draws: int) -> None:
    for draw in range(draws):
        at.look(draw, SEEN.position, SEEN.here, SEEN.loss, SEEN.sampler)


def test_each_looks_at_its_own_draws() -> None:
    often = Returning(lambda look: torch.full((2, 1), float(look.draw)))
    rarely = Returning(lambda look: torch.full((2, 1, 3), float(look.draw)), every=4, name="rarely")
    both = recorder(often, rarely)
    both.settle(SEEN.position)
    look(both, 6)
    found = both.observed()
    assert (often.settled, rarely.settled) == (1, 1)
    assert found["mine"].tolist() == [[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]] * 2]
    assert found["rarely"].tolist() == [[[[0.0] * 3, [4.0] * 3]] * 2]


def test_padding_is_left_out() -> None:
    none = recorder(Returning(lambda look: torch.zeros(2, 1)), lanes=0)
    look(none, 2)
    assert none.observed()["mine"].shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda look: 3.0, r"^the observable 'mine' returned 3\.0; give a tensor \[chain, lane, \.\.\.\]\.$"),
        (
            lambda look: torch.zeros(2),
            r"a tensor of shape \(2,\); give one that begins with chain and lane, here \(2, 1\)",
        ),
        (lambda look: torch.zeros(1, 2), r"a tensor of shape \(1, 2\); give one that begins with chain and lane"),
        (
            lambda look: torch.zeros(2, 1, look.draw),
            r"shape \(2, 1, 1\) after \(2, 1, 0\); give the same at every draw",
        ),
        (
            lambda look: look.position["w"].mul_(1.0)[..., 0],
            r"^the observable 'mine' changed what it looked at; let it ",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_a_sentence(returned: Callable[[Look], object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        look(recorder(Returning(returned)), 2)


def test_two_have_two_names() -> None:
    with pytest.raises(SettingError, match="two observables have the name 'mine'"):
        recorder(Returning(lambda look: 0), Returning(lambda look: 1))
