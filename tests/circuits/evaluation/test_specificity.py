"""Circuits on each other's tasks: faithful on their own, and on others no more than random ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.evaluation.specificity import specificity
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import AddressError, SettingError

TASKS = {"left": (1.0, 0.0), "right": (0.0, 1.0)}
"""Which of two outputs is asked for."""


class Apart(nn.Module):
    """Copies two inputs to two outputs, each by one weight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.copy = nn.Linear(2, 2, bias=False)
        self.copy.weight.data = torch.eye(2)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, asked = batch
        return ((self.copy(inputs) - inputs) * asked).square().sum(-1)


def runs(tasks: Mapping[str, Sequence[float]] = TASKS) -> dict[str, MaskedRuns]:
    """Returns the net on the two tasks."""
    module, inputs = Apart(), torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    graph, loss, params = Graph.of(module), loss_fn(module), snapshot_params(module)
    batches = {name: (inputs, torch.tensor(asked).expand(32, 2).contiguous()) for name, asked in tasks.items()}
    return {
        name: MaskedRuns(Subject(Question.of(loss, params, batch, graph, "resample(draws=1)", seed=0)))
        for name, batch in batches.items()
    }


CIRCUITS = {
    "left": [Edge("copy:input[0]", "copy[0]")],
    "right": [Edge("copy:input[0]", "copy[1]"), Edge("copy:input[1]", "copy[1]")],
}


def test_a_circuit_does_all_of_its_own_task_and_nothing_of_another() -> None:
    found = {(one.found_on, one.judged_on): one for one in specificity(runs(), CIRCUITS, seed=0, count=50)}
    assert list(found) == [(a, b) for a in CIRCUITS for b in TASKS]
    for (circuit, task), one in found.items():
        assert one.found.value == pytest.approx(float(circuit == task), abs=1e-6)
        assert one.own.value == pytest.approx(1.0, abs=1e-6)
        assert one.status == "ok"
        # Of one edge among four a random circuit does all or nothing, and one in four does all.
        assert {round(value, 6) for value in one.random} == {0.0, 1.0}
        assert 0.1 < sum(one.random) / 50 < (0.4 if circuit == "left" else 0.7)
        assert one.against_random.test == "sufficiency"
    assert found["left", "right"].against_random.p == 1.0
    assert found["left", "left"].against_random.p < 1.0


def test_values_are_those_of_one_circuit_alone_and_random_ones_those_of_the_seed() -> None:
    every = runs()
    found = specificity(every, CIRCUITS, seed=0, count=5)
    assert found[1].found == faithfulness(every["right"], CIRCUITS["left"])
    assert found[1].own == faithfulness(every["right"], CIRCUITS["right"])
    assert specificity(every, CIRCUITS, seed=0, count=5) == found
    assert specificity(every, CIRCUITS, seed=1, count=5)[0].random != found[0].random


def test_a_task_without_a_gap_is_told_and_leaves_the_others() -> None:
    tasks = {**TASKS, "nothing": (0.0, 0.0)}
    found = {(one.found_on, one.judged_on): one for one in
             specificity(runs(tasks), {**CIRCUITS, "nothing": CIRCUITS["left"]}, seed=0, count=5)}  # fmt: skip
    assert found["left", "left"].status == "ok"
    assert found["left", "left"].found.value == pytest.approx(1.0, abs=1e-6)
    assert found["nothing", "left"].status == "ok"
    for name in tasks:
        one = found[name, "nothing"]
        assert (one.status, one.random_status) == ("no-gap", "no-gap")
        assert math.isnan(one.found.value)
        assert math.isnan(one.against_random.p)


def test_random_circuits_without_a_value_leave_it_open_which_are_beaten() -> None:
    (one, *_) = specificity(runs(), CIRCUITS, seed=0, count=5)
    lost = replace(one, random=(*one.random, math.nan), random_status="nan-loss")
    assert lost.status == "nan-loss"
    assert math.isnan(lost.against_random.p)
    assert not lost.against_random.is_rejected


def test_what_cannot_be_compared_is_told_in_a_sentence() -> None:
    every = runs()
    with pytest.raises(SettingError, match="runs of left, right and circuits of left; give both for the same tasks"):
        specificity(every, {"left": CIRCUITS["left"]}, seed=0)
    with pytest.raises(AddressError, match=r"circuit of 'right' has the edge 'copy:input\[0\] -> copy\[2\]', which"):
        specificity(every, CIRCUITS | {"right": [Edge("copy:input[0]", "copy[2]")]}, seed=0)
