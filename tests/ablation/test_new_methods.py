"""A method of one's own, in one file: registered, it is offered wherever methods are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor

from llc_lightning import ablation_effects
from llc_lightning.ablation import METHODS, Weight, WeightMethod, method_of
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data

FACTS = {"constant": True, "needs_reference": False, "needs_partner": False, "whole": False, "draws": 1}


@dataclass(frozen=True)
class Scaled(WeightMethod):
    """Scales the component's weights."""

    by: float = 0.5

    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        return [self.by * weight.values for weight in weights]


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the method for one test."""
    monkeypatch.setattr(METHODS, "_known", dict(METHODS.items()))
    METHODS.register("scaled", summary="scales weights", **FACTS)(Scaled)
    yield
    assert "scaled" in METHODS


@torch.no_grad()
@pytest.mark.usefixtures("_registered")
def test_its_name_and_options_are_understood_and_measured() -> None:
    assert method_of("scaled(by=0)") == Scaled(by=0.0)
    assert [one.name for one in fields(Scaled) if one.init] == ["by"]
    module, data = Circuits(), circuits_data(70)
    table = ablation_effects(module, data, ["hook_out", "all"], ["weight_zero", "scaled(by=0)", "scaled(by=1)"])
    values = table.pivot_table(index=["component", "loss"], columns="method", values="value")
    assert (values["scaled(by=0)"] == values["weight_zero"]).all()
    assert (values["scaled(by=1)"] == 0).all()


def test_it_is_unknown_before() -> None:
    with pytest.raises(SettingError, match="unknown ablation method 'scaled'"):
        method_of("scaled")
