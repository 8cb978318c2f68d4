"""A sample of what other searches find beside optimal constants, and the count over many components."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks import optimal
from benchmarks.optimal import beyond, verdicts
from benchmarks.optimal_nets import net


@pytest.mark.parametrize(("name", "kl"), [("regression", False), ("residual", True)])
def test_nothing_is_better_than_optimal(name: str, kl: bool) -> None:
    whole = net(name)
    some = replace(whole, components=whole.components[1:4])
    found = list(verdicts(some, kl=kl, steps=30))
    assert [one.effect.component for one in found] == [part.address for part in some.components]
    assert all(one.fitted[0] <= one.fitted[1] for one in found)
    assert all(one.plain_fitted <= 1e-6 for one in found)
    assert not any(beyond([size for one in found for size in one.plain.values()]))


def test_a_better_constant_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(*_: object) -> Tensor:
        return torch.full((24,), 0.0)

    monkeypatch.setattr(optimal, "_constant", mean)  # zero in the place of the best
    whole = net("regression")
    (found,) = verdicts(replace(whole, components=whole.components[10:11]), kl=False, steps=30)
    assert found.fitted[0] > found.fitted[1]


def test_one_of_many_must_be_further_off_than_one_alone() -> None:
    assert beyond([2.5]) == [True]
    assert not any(beyond([2.5] + 99 * [0.0]))
    assert beyond([4.0] + 99 * [0.0]) == [True] + 99 * [False]
