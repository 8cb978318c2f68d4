"""What can be measured of what a spec names."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components import measurable
from llc_lightning.components.measurable import find_measurable
from llc_lightning.components.reach import reach
from llc_lightning.runtime.errors import AddressError


class Hooked(nn.Module):
    """A layer, two hook points behind it, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        from transformer_lens.hook_points import HookPoint

        self.linear = nn.Linear(2, 2)
        self.hook_a, self.hook_b, self.hook_c = HookPoint(), HookPoint(), HookPoint()

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.hook_b(self.hook_a(self.linear(batch))).sum(-1)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The hook points that are looked at, look by look."""
    seen: list[list[str]] = []

    def noted(loss: Any, params: Any, data: Any, points: list[str]) -> Any:
        seen.append(points)
        return reach(loss, params, data, points)

    monkeypatch.setattr(measurable, "reach", noted)
    return seen


def test_of_named_hook_points_no_others_are_looked_at(looked: list[list[str]]) -> None:
    (found,) = find_measurable(Hooked(), "hook_a*", torch.ones(4, 2), activation=True)
    assert (found.address, looked) == ("hook_a", [["hook_a"]])


def test_what_is_not_called_is_left_out(looked: list[list[str]]) -> None:
    with pytest.warns(UserWarning, match=r"leaves out 'hook_c' \(the loss does not call it\)"):
        found = find_measurable(Hooked(), ["hook_b", "hook_*"], torch.ones(4, 2), activation=True)
    assert [one.address for one in found] == ["hook_b", "hook_a"]
    assert looked == [["hook_a", "hook_b", "hook_c"]]
    with pytest.raises(AddressError, match="'hook_c\\*' names nothing that can be measured"):
        find_measurable(Hooked(), "hook_c*", torch.ones(4, 2), activation=True)


def test_without_hook_points_all_of_a_module_is_looked_at(looked: list[list[str]]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 1)

        def per_example_loss(self, batch: Tensor) -> Tensor:
            return self.two(self.one(batch))[:, 0]

    (found,) = find_measurable(Net(), "one*", torch.ones(4, 2), activation=True)
    assert (found.address, looked) == ("one", [["one", "two"]])
