"""Accuracies: the training metric, and the quantities with their standard errors."""

import math
import pickle

import pytest
import torch

from llc_lightning.data.tasks import make_task
from llc_lightning.models.accuracy import TaskAccuracy, accuracy_quantities

TASK = make_task("xor", size=3)


def example(*targets: int) -> torch.Tensor:
    return torch.tensor([targets], dtype=torch.int8)


def test_the_metric_averages_circuits_and_not_examples() -> None:
    metric = TaskAccuracy(TASK)
    x = torch.zeros(1, 6, dtype=torch.int8)
    for target in (example(1, 0, 0), example(1, 0, 0), example(-1, 0, 0), example(0, -1, 0)):
        metric.update(torch.tensor([[0.5, 0.5, 0.5]]), x, target)
    assert metric.compute().item() == pytest.approx((2 / 3 + 0) / 2)
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()  # noqa: S301
    metric.reset()
    metric.update(torch.tensor([[0.5, 0.5, 0.5]]), x, example(1, 1, 1))
    assert metric.compute() == 1.0


def test_the_metric_leaves_out_inactive_circuits_that_happen_to_be_correct() -> None:
    metric = TaskAccuracy(make_task("relu", size=2))
    x = torch.tensor([[0.9, 0.0], [0.0, 0.1]])
    metric.update(torch.zeros(2, 2), x, x.relu())
    assert metric.compute() == 0.5


def test_the_metric_adds_up_batches() -> None:
    task = make_task("xor", size=8, active=4.0)
    x, y = task.sample(100, torch.Generator().manual_seed(0))
    outputs = torch.randn(100, 8)
    whole, parts = TaskAccuracy(task), TaskAccuracy(task)
    whole.update(outputs, x, y)
    for rows in (slice(0, 30), slice(30, 100)):
        parts.update(outputs[rows], x[rows], y[rows])
    assert torch.equal(whole.compute(), parts.compute())


def quantities(hits: list[int], counts: list[int], n: int) -> dict[tuple[str, str], tuple[float, float, int]]:
    active = torch.zeros(n, len(hits), dtype=torch.bool)
    correct = torch.ones(n, len(hits), dtype=torch.bool)
    for circuit, (hit, count) in enumerate(zip(hits, counts, strict=True)):
        active[:count, circuit] = True
        correct[:count, circuit] = torch.arange(count) < hit
    found = accuracy_quantities(make_task("xor", size=len(hits)), correct, active)
    return {(row.quantity, row.loss): (row.value, row.stderr, row.n) for row in found}


def test_quantities_count_where_active_and_carry_errors() -> None:
    rows = quantities([100, 50, 960], [100, 100, 1000], 2000)
    assert rows["sign_accuracy", "circuit:00"] == (1.0, pytest.approx(math.sqrt(102 * 2 / 104**3)), 100)
    assert rows["sign_accuracy", "circuit:01"] == (0.5, pytest.approx(0.5 / math.sqrt(104)), 100)
    value, stderr, n = rows["sign_accuracy", "train"]
    assert (value, n) == (pytest.approx((1 + 0.5 + 0.96) / 3), 2000)
    errors = [rows["sign_accuracy", f"circuit:0{i}"][1] for i in range(3)]
    assert stderr == pytest.approx(math.hypot(*errors) / 3)


def test_the_number_solved_is_uncertain_only_near_the_threshold() -> None:
    value, stderr, _ = quantities([1000, 0, 500], [1000] * 3, 1000)["circuits_solved", "train"]
    assert value == 1
    assert stderr < 1e-3
    value, stderr, _ = quantities([950, 951, 949], [1000] * 3, 1000)["circuits_solved", "train"]
    assert value == 1
    assert stderr == pytest.approx(math.sqrt(3 * 0.25), rel=0.05)


def test_a_circuit_that_is_never_active_has_no_accuracy() -> None:
    rows = quantities([5, 0], [5, 0], 10)
    assert ("sign_accuracy", "circuit:01") not in rows
    assert rows["sign_accuracy", "train"][0] == 1.0
    assert quantities([0], [0], 10) == {}
