"""Repeated blocks: what a sequence is, and where something is predicted."""

import math
from typing import Any

import pytest
import torch

from llc_lightning.data.sequences.base import NO_TARGET
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.runtime.errors import SettingError


def drawn(task: Induction, n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    return task.sample(n, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("begins", [False, True])
def test_a_target_is_what_followed_the_last_token_when_it_came_before(begins: bool) -> None:
    task = Induction(begins=begins)
    inputs, targets = drawn(task)
    assert inputs.shape == targets.shape == (300, 32)
    periods, known = set[int](), list[int]()
    for row, answers in zip(inputs.tolist(), targets.tolist(), strict=True):
        block = row[begins:]
        period = next((i for i, token in enumerate(block) if token in block[:i]), len(block))
        periods.add(period)
        known.append(period)
        assert len(set(block[:period])) == period
        for t, answer in enumerate(answers):
            before = [i for i in range(t) if row[i] == row[t]]
            assert answer == (row[before[-1] + 1] if before else NO_TARGET)
            if answer != NO_TARGET and t + 1 < len(row):
                assert answer == row[t + 1]
    assert periods == set(range(4, 17))
    assert {name: label.tolist() for name, label in task.labels((inputs, targets)).items()} == {"period": known}


def test_the_first_token_comes_once_where_asked() -> None:
    inputs, _ = drawn(Induction(tokens=16, positions=24, shortest=11, longest=11, begins=True))
    assert bool((inputs[:, 0] == 0).all())
    assert int(inputs[:, 1:].min()) == 1
    assert torch.equal(inputs[:, 1:13], inputs[:, 12:])
    assert Induction(tokens=16, begins=True, longest=8).baselines(0) == {"uniform": pytest.approx(math.log(15))}


def test_every_token_is_as_likely_as_any_other() -> None:
    inputs, _ = drawn(Induction(), n=4000)
    shares = torch.bincount(inputs[:, 0], minlength=32) / 4000
    assert float((shares - 1 / 32).abs().max()) < 5 * (1 / 32 / 4000) ** 0.5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tokens": 1}, "tokens is 1; give an integer of at least 2"),
        ({"longest": 31}, "shortest is 4 and longest 31; give 1 <= shortest <= longest <= 30"),
        ({"tokens": 8}, "longest 16; give 1 <= shortest <= longest <= 8"),
        ({"tokens": 8, "begins": True}, "<= 7"),
        ({"shortest": 5, "longest": 4}, "shortest is 5 and longest 4"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        Induction(**settings)
