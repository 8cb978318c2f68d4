"""Indirect objects: where the names are, and which one is asked for."""

import pytest
import torch

from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.data.sequences.ioi import IndirectObject
from llc_lightning.runtime.errors import SettingError


def test_the_name_that_comes_once_is_asked_for_at_the_end() -> None:
    task = IndirectObject()
    inputs, targets = task.sample(500, torch.Generator().manual_seed(0))
    places, labels = task.places(inputs), task.labels((inputs, targets))
    for row in range(500):
        tokens = inputs[row].tolist()
        named = [place for place, token in enumerate(tokens) if token < 12]
        assert len(named) == 3
        (other,) = [place for place in named if tokens.count(tokens[place]) == 1]
        first, again = [place for place in named if place != other]
        assert [int(places[name][row]) for name in ("S1", "S2", "IO")] == [first, again, other]
        assert again == max(named)
        told = (tokens[other], tokens[first], int(other < first))
        assert tuple(int(labels[name][row]) for name in ("answer", "subject", "order")) == told
        assert tokens[-1] == 24
        assert targets[row].tolist() == [NO_TARGET] * 11 + [tokens[other]]
    assert set(places["S2"].tolist()) == set(range(2, 11))
    assert 0.4 < float((places["IO"] < places["S1"]).double().mean()) < 0.6


def test_the_logit_difference_is_that_of_the_two_names() -> None:
    task = IndirectObject()
    inputs, targets = task.sample(20, torch.Generator().manual_seed(0))
    outputs = torch.randn(20, 12, 25)
    found = task.metrics(outputs, (inputs, targets))["logit_difference"]
    for row in range(20):
        subject = int(inputs[row, task.places(inputs)["S1"][row]])
        expected = outputs[row, -1, targets[row, -1]] - outputs[row, -1, subject]
        assert found[row].item() == pytest.approx(expected.item())


def test_refuses_settings() -> None:
    with pytest.raises(SettingError, match="positions is 3; give an integer of at least 4"):
        IndirectObject(positions=3)
    with pytest.raises(SettingError, match="names is 1; give an integer of at least 2"):
        IndirectObject(names=1)
