"""What a traced graph does otherwise than the function: less, and with the same numbers."""

import linecache
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx import graph_module

from llc_lightning.runtime.graph import first_result, reusing, traced
from llc_lightning.runtime.graph_split import SplitGraph

X, Y = torch.randn(3, 8, 5), torch.randn(3, 5, 8)

CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], list[str]]] = {
    "doubled before it is expanded": (
        lambda x, y: [p := x[:, :, :1].expand(3, 8, 5) * x, p + p][1],
        ["aten::slice.Tensor", "aten::add.Tensor", "aten::expand", "aten::mul.Tensor"],
    ),
    "doubled twice": (
        lambda x, y: [p := x[:, :, :1].expand(3, 8, 5) * x, q := (p + p) * x.exp(), q + q][2],
        ["aten::slice.Tensor", "aten::exp", *["aten::add.Tensor"] * 2, "aten::expand", *["aten::mul.Tensor"] * 2],
    ),
    "doubled, and needed as it is": (
        lambda x, y: [p := x[:, :, :1].expand(3, 8, 5) * x, (p + p) / p.exp()][1],
        ["aten::slice.Tensor", "aten::expand", "aten::mul.Tensor", "aten::add.Tensor", "aten::exp", "aten::div.Tensor"],
    ),
    "nothing smaller to double": (lambda x, y: [p := x * x, p + p][1], ["aten::mul.Tensor", "aten::add.Tensor"]),
    "a product of a column and a row": (
        lambda x, y: torch.bmm(x[:, :, :1], y[:, :1]),
        [*["aten::slice.Tensor"] * 2, "aten::mul.Tensor"],
    ),
    "a function of what is expanded": (
        lambda x, y: x[:, :, :1].expand(3, 8, 5).exp().reshape(24, 5),
        ["aten::slice.Tensor", "aten::exp", "aten::expand", "aten::reshape"],
    ),
}


def operations(graph: torch.fx.GraphModule) -> list[str]:
    return [node.target.name() for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("case", CASES)
def test_less_is_done_with_the_same_bits(case: str) -> None:
    function, expected = CASES[case]
    graph = traced(function, X, Y)
    assert sorted(operations(graph)) == sorted(expected)
    assert torch.equal(graph(X, Y), function(X, Y))


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_a_product_with_few_columns_is_taken_by_rows(columns: int) -> None:
    def product(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y)

    few = Y[:, :, :columns].contiguous()
    graph = traced(product, X, few)
    assert ("aten::transpose.int" in operations(graph)) == (columns < 3)
    torch.testing.assert_close(graph(X, few), product(X, few))


def test_what_is_taken_by_rows_may_be_viewed() -> None:
    def rows(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([torch.bmm(x, y), torch.bmm(x, -y)], 1).sum(0) + torch.bmm(x, y).view(-1)[:1]

    few = Y[:, :, :2].contiguous()
    assert torch.allclose(traced(rows, X, few)(X, few), rows(X, few))


def test_torch_keeps_no_source_of_a_graph() -> None:
    loader = graph_module._loader
    before, lines = set(loader.eval_cache), set(linecache.cache)
    graphs = [traced(lambda x: (x.exp() + 1).sum(), X)]
    graphs += [reusing(graphs[0]), first_result(traced(lambda x: (x, x.exp()), X))]
    split = SplitGraph(lambda x, y: (x[0].exp() + y[0],), [X], [X])
    assert set(loader.eval_cache) == before
    assert {name for name in set(linecache.cache) - lines if "eval_with_key" in str(name)} == set()
    assert loader.next_id > 0, "torch lists them elsewhere now"
    assert torch.equal(graphs[1](X), (X.exp() + 1).sum())
    assert torch.equal(split(split.prepare([X]), [X])[0], X.exp() + X)
