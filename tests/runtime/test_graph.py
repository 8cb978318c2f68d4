"""Tracing a function once."""

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.graph import traced


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
