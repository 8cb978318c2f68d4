"""A traced graph in two parts, of which the second writes over what nothing needs any more."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.graph import first_result, reusing, traced
from llc_lightning.runtime.graph_split import SplitGraph


def forward(fixed: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    weight = fixed["weight"].exp()  # depends on what is fixed alone
    hidden = torch.nn.functional.gelu(x @ weight + fixed["bias"])
    return (hidden - 1).square().mean(-1), hidden


FIXED, X = {"weight": torch.randn(4, 3), "bias": torch.randn(3)}, torch.randn(5, 4)


def operations(graph: torch.fx.GraphModule) -> list[str]:
    """Returns the names of what a graph does, whether it calls an operation or a tensor's method."""
    called = [node.target for node in graph.graph.nodes if node.op in ("call_function", "call_method")]
    return [target if isinstance(target, str) else target.overloadpacket.__name__ for target in called]


def test_both_parts_together_are_the_function() -> None:
    graph = SplitGraph(forward, FIXED, X)
    prepared = graph.prepare(FIXED)
    for x in (X, torch.randn(5, 4)):
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                found = graph(prepared, [x])
            assert all(torch.equal(one, other) for one, other in zip(found, forward(FIXED, x), strict=True))


def test_gradients_flow_through_the_second_part() -> None:
    graph = SplitGraph(forward, FIXED, X)
    x = X.clone().requires_grad_()
    graph(graph.prepare(FIXED), [x])[0].sum().backward()
    own = X.clone().requires_grad_()
    forward(FIXED, own)[0].sum().backward()
    torch.testing.assert_close(x.grad, own.grad)


CASES: dict[str, tuple[Any, list[str]]] = {
    "a chain": (lambda x, y: ((x @ y).relu() * 2).exp(), ["relu_", "mul_", "exp_"]),
    "the second of a sum": (lambda x, y: x + x @ y, ["add_"]),
    "a square": (lambda x, y: (x - y) * (x - y), ["mul_"]),
    "through a view": (lambda x, y: (x @ y).view(9).sigmoid(), ["sigmoid_"]),
    "an argument": (lambda x, y: x.relu() + y.view(9).view(3, 3).neg(), ["add_"]),
    "needed later": (lambda x, y: [h := x @ y, h.relu()][1] + h, ["add_"]),
    "needed through a view": (lambda x, y: [h := x @ y, h.relu()][1] + h.view(9).view(3, 3), ["add_"]),
    "a result of its own": (lambda x, y: [h := x @ y, h.relu()], []),
    "expanded": (lambda x, y: (x @ y).sum(0).expand(3, 3) + y, []),
    "before it is expanded": (lambda x, y: (x @ y).sum(0).expand(3, 3).relu(), ["relu_"]),
    "expanded, through a view": (
        lambda x, y: (x @ y).sum(0).expand(3, 3).exp().view(9) * y.view(9),
        ["exp_", "mul_"],
    ),
    "turned": (lambda x, y: [h := x @ y, h + h.mT][1], []),
    "another type": (lambda x, y: ((x @ y) > 0).double() * 2.0, ["mul_"]),
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
    assert [name for name in operations(graph) if name.endswith("_")] == written
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
    assert operations(graph) == ["mm"]
