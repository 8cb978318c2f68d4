"""Tracing a function once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.graph import first_result, reusing, traced


def operations(graph: torch.fx.GraphModule) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def test_equal_operations_are_done_once() -> None:
    def twice(x: Tensor, w: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return (x @ w["a"]).relu().sum(), (x @ w["a"]).relu().square()

    x, w = torch.randn(4, 3), {"a": torch.randn(3, 2)}
    graph = traced(twice, x, w)
    assert sum("mm" in name for name in operations(graph)) == 1
    assert all(torch.equal(one, other) for one, other in zip(graph(x, w), twice(x, w), strict=True))
    x = torch.randn(4, 3)
    assert all(torch.equal(one, other) for one, other in zip(graph(x, w), twice(x, w), strict=True))


def test_numbers_that_look_alike_are_not_merged() -> None:
    def function(x: Tensor) -> tuple[Tensor, ...]:
        return x * 0.0, x * -0.0, x.sum(0), x.sum(0, keepdim=True), x.clamp(1), x.clamp(-1)

    x = torch.tensor([1.0, -3.0])
    for one, other in zip(traced(function, x)(x), function(x), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.signbit(), other.signbit())


def test_writing_and_random_operations_are_left_as_they_are() -> None:
    def writes(x: Tensor) -> Tensor:
        x = x.clone()
        x.add_(1)
        x.add_(1)
        return x

    def draws(x: Tensor) -> Tensor:
        return torch.rand_like(x) - torch.rand_like(x)

    x = torch.zeros(5)
    assert traced(writes, x)(x).tolist() == [2.0] * 5
    assert traced(draws, x)(x).any()


FOLLOWS = {
    "length of a selection": lambda x: x * x[x > 0].shape[0],
    "number of nonzeros": lambda x: x * x.clamp_min(0).nonzero().shape[0],
    "number": lambda x: x * x.sum().item(),
}
BRANCHES = {
    "branch": lambda x: x * 2 if bool(x.sum() > 0) else x,
    "mean of a selection": lambda x: x * x[x > 0].sum() / len(x[x > 0]),
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_what_depends_on_the_numbers_is_not_kept_from_the_first_call(name: str) -> None:
    graph = traced(FOLLOWS[name], torch.tensor([1.0, -1.0, 2.0, 3.0]))
    other = torch.tensor([1.0, -4.0, -2.0, 3.0])
    assert torch.equal(graph(other), FOLLOWS[name](other))


@pytest.mark.parametrize("name", BRANCHES)
def test_what_would_have_to_be_kept_is_not_traced(name: str) -> None:
    with pytest.raises(RuntimeError, match="data-dependent"):
        traced(BRANCHES[name], torch.tensor([1.0, -1.0, 2.0, 3.0]))


def names(graph: torch.fx.GraphModule) -> list[str]:
    return [node.target.name() for node in graph.graph.nodes if node.op == "call_function"]


CASES: dict[str, tuple[Any, list[str]]] = {
    "a chain": (lambda x, y: ((x @ y).relu() * 2).exp(), ["aten::relu_", "aten::mul_.Tensor", "aten::exp_"]),
    "the second of a sum": (lambda x, y: x + x @ y, ["aten::add_.Tensor"]),
    "a square": (lambda x, y: (x - y) * (x - y), ["aten::mul_.Tensor"]),
    "through a view": (lambda x, y: (x @ y).view(9).sigmoid(), ["aten::sigmoid_"]),
    "an argument": (lambda x, y: x.relu() + y.view(9).view(3, 3).neg(), ["aten::add_.Tensor"]),
    "needed later": (lambda x, y: [h := x @ y, h.relu()][1] + h, ["aten::add_.Tensor"]),
    "needed through a view": (lambda x, y: [h := x @ y, h.relu()][1] + h.view(9).view(3, 3), ["aten::add_.Tensor"]),
    "a result of its own": (lambda x, y: [h := x @ y, h.relu()], []),
    "expanded": (lambda x, y: (x @ y).sum(0).expand(3, 3) + y, []),
    "before it is expanded": (lambda x, y: (x @ y).sum(0).expand(3, 3).relu(), ["aten::relu_"]),
    "expanded, through a view": (
        lambda x, y: (x @ y).sum(0).expand(3, 3).exp().view(9) * y.view(9),
        ["aten::exp_", "aten::mul_.Tensor"],
    ),
    "turned": (lambda x, y: [h := x @ y, h + h.mT][1], []),
    "another type": (lambda x, y: ((x @ y) > 0).double() * 2.0, ["aten::mul_.Tensor"]),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_nothing_needs_is_written_over(case: str) -> None:
    function, written = CASES[case]
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    kept = x.clone(), y.clone()
    graph = reusing(traced(function, x, y))
    found, expected = graph(x, y), function(x, y)
    pairs = zip(found, expected, strict=True) if isinstance(expected, list) else [(found, expected)]
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [name for name in names(graph) if name.split(".")[0].endswith("_")] == written
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def test_what_writes_or_draws_by_itself_is_left_alone() -> None:
    for function in (lambda x: x.clone().add_(1).relu() * 2, lambda x: (x * 2).relu() + torch.rand(3)):
        graph = traced(function, torch.randn(3))
        assert reusing(graph) is graph


def test_the_first_result_alone_needs_no_more_than_it_takes() -> None:
    graph = first_result(traced(lambda x, y: (x @ y, (x @ y).relu(), y.exp()), torch.randn(3, 3), torch.randn(3, 3)))
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    assert torch.equal(*graph(x, y), x @ y)
    assert names(graph) == ["aten::mm"]
