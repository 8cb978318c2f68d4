"""Which observables there are, and how often they look."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.observables.base import (
    OBSERVABLES,
    Look,
    Observable,
    Stateless,
    apart,
    asked_for,
    recorded_every,
    spared_every,
)
from llc_lightning.sampling.observables.distance import SquaredDistance


@dataclass(frozen=True)
class Excess(Stateless):
    """A user's own."""

    name: str = "mine"
    every: int = 1

    def look(self, look: Look) -> Tensor:
        return look.here.excess


class Bare:
    """Has no look."""

    name, every = "bare", 1


@pytest.mark.parametrize(("draws", "every", "spared"), [(1, 1, 1), (60, 3, 15), (250, 10, 60), (2000, 10, 500)])
def test_there_are_up_to_25_looks_and_then_every_tenth_draw(draws: int, every: int, spared: int) -> None:
    assert recorded_every(draws) == every
    assert spared_every(draws) == spared


@pytest.mark.parametrize("name", OBSERVABLES.names())
def test_a_registered_one_is_called_what_it_is_registered_as(name: str) -> None:
    (made,) = asked_for([name], 250)
    assert isinstance(made, Observable)
    assert (made.name, made.every) == (name, 60 if OBSERVABLES.get(name).facts.costly else 10)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Excess, r"^the observable 'ours' is made as Excess\(name=10, every=1\); register what makes of a number of "),
        (lambda every: Excess(every=every), r"is made as Excess\(name='mine', every=10\); .* here 10, an object with "),
        (lambda every: Excess("ours"), r"is made as Excess\(name='ours', every=1\); .* the name 'ours', that number "),
        (lambda every: Bare(), r"is made as <.*Bare.*>; .* settle\(position\) and look\(look\)\.$"),
        (lambda: Excess("ours"), r"^the observable 'ours' cannot be made with how many draws apart it looks: .* alone"),
    ],
)
def test_a_registered_one_that_is_made_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, made: Any, said: str
) -> None:
    monkeypatch.setattr(OBSERVABLES, "_known", dict(OBSERVABLES._entries))
    OBSERVABLES.register("ours", summary="a user's own", costly=False)(made)
    with pytest.raises(SettingError, match=said):
        asked_for(["ours"], 250)


def test_they_are_asked_for_by_name_or_as_themselves() -> None:
    mine = Excess()
    assert asked_for(["squared_distance", mine], 250) == [SquaredDistance(10), mine]


@pytest.mark.parametrize(
    ("observe", "said"),
    [
        ("squared_distance", r"^observe is 'squared_distance'; give a list of observables, or of names of .*\.$"),
        (Excess(), r"^observe is Excess\(.*\); give a list of observables, or of names of registered ones\.$"),
        (["squared_distanse"], r"unknown observable 'squared_distanse'; .*squared_distance"),
        ([3.0], r"^observe has 3\.0, which is no observable; give an object with name, every, settle\(position\) and "),
        ([Bare()], r"which is no observable; give an object with name, every, .* or one of the names .*gradient_check"),
        ([Excess], r"which is no observable"),
        ([Excess(every=0)], r"^the observable 'mine' looks every 0 draws; give an integer of at least 1\.$"),
        ([Excess(), Excess(every=2)], r"^two observables have the name 'mine'; give one of them another name\.$"),
    ],
)
def test_what_is_none_is_refused_with_a_sentence(observe: object, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        asked_for(observe, 250)


def test_parts_lie_as_if_they_were_alone() -> None:
    first, second = apart(torch.arange(6.0).view(3, 2))
    assert (first.tolist(), second.tolist()) == ([0.0, 2.0, 4.0], [1.0, 3.0, 5.0])
    assert first.is_contiguous()
    assert second.is_contiguous()
