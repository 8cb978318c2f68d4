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
    "the first power": (lambda x, y: x.exp().pow(1.0) * 2, ["aten::exp", "aten::mul.Tensor"]),
    "a sign that a sum can take": (
        lambda x, y: [p := -x.exp() * x, p.sum(-1)][1],
        ["aten::exp", "aten::mul.Tensor", "aten::sum.dim_IntList", "aten::neg"],
    ),
    "signs that are needed": (
        lambda x, y: [p := -x.exp(), (p * x).sum(-1) + p.sum(-1)][1],
        ["aten::exp", "aten::neg", "aten::mul.Tensor", *["aten::sum.dim_IntList"] * 2, "aten::add.Tensor"],
    ),
    "the sign of a square, which has none": (
        lambda x, y: [n := -x.exp(), (n * n).sum(-1)][1],
        ["aten::exp", "aten::neg", "aten::mul.Tensor", "aten::sum.dim_IntList"],
    ),
    "the sign of what is squared": (
        lambda x, y: [m := -x.exp() * x, (m * m).sum(-1)][1],
        ["aten::exp", "aten::neg", *["aten::mul.Tensor"] * 2, "aten::sum.dim_IntList"],
    ),
    "a power of every second number": (
        lambda x, y: (x[:, ::2] ** 1).reshape(-1).exp(),
        ["aten::slice.Tensor", "aten::pow.Tensor_Scalar", "aten::view", "aten::exp"],
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


def test_numbers_without_a_sign_wrap_round_before_they_are_summed() -> None:
    ones = torch.ones(2, 5, dtype=torch.uint8)
    assert traced(lambda x: (-x).sum(-1), ones)(ones).tolist() == [5 * 255] * 2


def test_a_sum_of_what_is_negated_is_of_as_much() -> None:
    graph = traced(lambda x: (-x.exp() * x).sum(-1), X)
    negative = next(node for node in graph.graph.nodes if node.target is torch.ops.aten.neg.default)
    assert negative.meta["val"].shape == X.shape[:-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-torch.inf, 0.0, -0.0, 1.5, torch.nan])
def test_what_a_small_mask_hides_is_hidden_by_bits(value: float, dtype: torch.dtype) -> None:
    scores = torch.randn(9, 6, 6).to(dtype)
    scores[0, 0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1)

    def hidden(x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return x.masked_fill(mask, value), (x * 2).masked_fill(mask, value).exp(), x.mT.masked_fill(mask, value)

    graph = reusing(traced(hidden, scores, mask))
    before, bits = scores.clone(), torch.int32 if dtype == torch.float32 else torch.int64
    for found, expected in zip(graph(scores, mask), hidden(scores, mask), strict=True):
        assert torch.equal(found.contiguous().view(bits), expected.contiguous().view(bits))
    assert torch.equal(scores.view(bits), before.view(bits))
    assert sum("masked_fill" in str(node.target) for node in graph.graph.nodes) == 1


@pytest.mark.parametrize("kind", [torch.int64, torch.float16])
def test_other_numbers_are_hidden_as_they_are(kind: torch.dtype) -> None:
    numbers, mask = torch.ones(9, 4).to(kind), torch.tensor([True, False, False, True])

    def hidden(x: Tensor, mask: Tensor) -> Tensor:
        return x.masked_fill(mask, 3)

    assert torch.equal(reusing(traced(hidden, numbers, mask))(numbers, mask), hidden(numbers, mask))


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


@pytest.mark.parametrize("power", [2, 3.0, X.abs()], ids=["integer", "number", "tensor"])
def test_a_power_takes_the_place_of_what_is_not_needed_any_more(power: float | Tensor) -> None:
    def powers(x: Tensor, y: Tensor) -> Tensor:
        return ((x - y.mT).exp() ** power).sum(-1) + (2**x).sum(-1)

    graph = reusing(traced(powers, X, Y))
    assert [node.target for node in graph.graph.nodes if "pow" in str(node.target)] == [
        "pow_",
        torch.ops.aten.pow.Scalar,
    ]
    before = X.clone()
    assert torch.equal(graph(X, Y), powers(X, Y))
    assert torch.equal(before, X)


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
