"""Stacked losses and gradients against full tensors behind masks, one chain after the other."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule

from llc_lightning.runtime.batches import Params, chunks
from llc_lightning.runtime.graph_split import SplitGraph
from llc_lightning.sampling import stacked as stacked_module
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import Graphs, Stack, StackedLoss
from tests.sampling.nets import (
    Attention,
    Case,
    Composed,
    Images,
    Masks,
    Perceptron,
    Sequences,
    Tokens,
    around,
    case,
    literal,
    mask,
    scattered,
)

CHAINS = 3
# Attention has no batching rule on CPU: torch loops over it, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")
Lanes = Callable[[Params], tuple[Masks | None, ...]]


def whole(params: Params) -> tuple[None]:
    return (None,)


def layer(*names: str) -> Lanes:
    return lambda params: (({name: mask(params, name) for name in names}),)


def neurons(*units: int) -> Lanes:
    return lambda params: tuple(
        {
            "first.weight": mask(params, "first.weight", unit),
            "first.bias": mask(params, "first.bias", unit),
            "second.weight": mask(params, "second.weight", slice(None), unit),
        }
        for unit in units
    )


def pairs(params: Params) -> tuple[Masks, ...]:
    return tuple({"first.weight": mask(params, "first.weight", list(units))} for units in ((0, 2), (1, 3)))


def row_and_another_bias(params: Params) -> tuple[Masks, ...]:
    return tuple(
        {"first.weight": mask(params, "first.weight", row), "first.bias": mask(params, "first.bias", bias)}
        for row, bias in ((0, 2), (1, 1))
    )


def bias_alone(params: Params) -> tuple[Masks, ...]:
    return ({"first.bias": mask(params, "first.bias", 1)}, {"first.bias": mask(params, "first.bias", 3)})


def column_and_bias(params: Params) -> tuple[Masks, ...]:
    return (
        {"second.weight": mask(params, "second.weight", slice(None), 1), "second.bias": mask(params, "second.bias", 1)},
    )


def some_entries(params: Params) -> tuple[Masks, ...]:
    return scattered(params, 0, 3), scattered(params, 1, 3)


def rows_of(*names: str) -> Lanes:
    return lambda params: tuple({name: mask(params, name, row) for name in names} for row in (0, 2))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Lanes]] = {
    "whole": (Perceptron, (5,), whole),
    "layer": (Perceptron, (5,), layer("first.weight", "first.bias")),
    "neurons": (Perceptron, (5,), neurons(0, 2, 3)),
    "one neuron": (Perceptron, (5,), neurons(1)),
    "pairs of rows": (Perceptron, (5,), pairs),
    "a row and the bias of another": (Perceptron, (5,), row_and_another_bias),
    "a bias alone": (Perceptron, (5,), bias_alone),
    "a column and a bias": (Perceptron, (5,), column_and_bias),
    "scattered entries": (Perceptron, (5,), some_entries),
    "neurons on sequences": (Sequences, (6, 5), neurons(0, 3)),
    "gains of a norm": (Sequences, (6, 5), rows_of("norm.weight", "norm.bias")),
    "whole on sequences": (Sequences, (6, 5), whole),
    "whole on images": (Images, (2, 5, 5), whole),
    "channels": (Images, (2, 5, 5), rows_of("conv.weight", "conv.bias")),
    "scattered entries on images": (Images, (2, 5, 5), some_entries),
    "whole on tokens": (Tokens, (6,), whole),
    "rows of a tied embedding": (Tokens, (6,), rows_of("embed.weight")),
    "rows of a tied embedding with the bias": (Tokens, (6,), rows_of("embed.weight", "read.bias")),
    "columns of a tied embedding": (
        Tokens,
        (6,),
        lambda p: ({"embed.weight": mask(p, "embed.weight", slice(None), 1)},),
    ),
    "rows of attention": (Attention, (3, 4), rows_of("attention.in_proj_weight", "attention.in_proj_bias")),
    "scattered entries on tokens": (Tokens, (6,), some_entries),
    "rows of composed weights": (Composed, (4,), rows_of("first.weight", "first.bias")),
    "neurons of composed weights": (Composed, (4,), neurons(0, 3)),
    "entries of a learned input": (Composed, (4,), rows_of("start", "first.weight")),
}


def chain_lane(stack: Stack, chain: int, lane: int) -> Params:
    return {name: value[chain, lane] for name, value in stack.items()}


def assert_meets_literal(given: Case, tolerance: float, *, per_chain: bool, vmapped: bool = True) -> None:
    stacked = StackedLoss(given.loss, given.params, given.moved())
    position = around(stacked.start(CHAINS))
    before = {name: value.clone() for name, value in given.params.items()}
    batch, baseline = given.batch, given.loss(given.params, given.batch)
    if per_chain:
        chosen = torch.randint(len(batch), (CHAINS, 4), generator=torch.Generator().manual_seed(2))
        batch, baseline = batch[chosen], baseline[chosen]
    excess, gradient = stacked.excess_and_gradient(position, batch, baseline, per_chain=per_chain)
    for chain in range(CHAINS):
        here = (batch[chain], baseline[chain]) if per_chain else (batch, baseline)
        for lane, masks in enumerate(given.lanes):
            expected, slopes = literal(given.loss, given.params, masks, chain_lane(position, chain, lane), *here)
            assert torch.allclose(excess[chain, lane], expected, rtol=tolerance, atol=tolerance)
            assert list(slopes) == list(gradient)
            for name, slope in slopes.items():
                assert torch.allclose(gradient[name][chain, lane], slope, rtol=tolerance, atol=tolerance), name
    assert stacked.vmapped == vmapped
    assert all(torch.equal(value, before[name]) for name, value in given.params.items())


@pytest.mark.parametrize("name", NETS)
def test_gradients_equal_those_of_full_tensors_behind_masks(name: str) -> None:
    make, shape, lanes = NETS[name]
    assert_meets_literal(case(make, shape, lanes), 1e-12, per_chain=True)


@pytest.mark.parametrize("name", ["whole", "neurons", "scattered entries", "channels", "rows of a tied embedding"])
def test_so_they_do_with_one_batch_for_all_chains_and_in_single_precision(name: str) -> None:
    make, shape, lanes = NETS[name]
    assert_meets_literal(case(make, shape, lanes), 1e-12, per_chain=False)
    assert_meets_literal(case(make, shape, lanes, dtype=torch.float32), 2e-6, per_chain=True)


def test_a_graph_that_fails_when_it_is_tried_is_not_used_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(graph: GraphModule) -> GraphModule:
        failing = Graph()
        leaves = [failing.placeholder(f"leaf{i}") for i, _ in enumerate(graph.graph.find_nodes(op="placeholder"))]
        failing.output(failing.call_method("view", (leaves[0], 10**6)))
        return GraphModule(graph, failing)

    monkeypatch.setattr(stacked_module, "reusing", broken)
    assert_meets_literal(case(*NETS["neurons"]), 1e-12, per_chain=True)
    assert capfd.readouterr() == ("", "")


class Branching(Perceptron):
    """A net whose forward pass asks for a value, which vmap refuses."""

    def per_example_loss(self, x: Tensor) -> Tensor:
        losses = super().per_example_loss(x)
        return losses if losses.sum() > 0 else -losses


@pytest.mark.parametrize("lanes", [whole, neurons(0, 2)], ids=["whole", "neurons"])
@pytest.mark.parametrize("per_chain", [True, False])
def test_what_vmap_refuses_runs_one_by_one_with_the_same_values(lanes: Lanes, *, per_chain: bool) -> None:
    assert_meets_literal(case(Branching, (5,), lanes), 1e-12, per_chain=per_chain, vmapped=False)


def test_an_error_of_the_loss_itself_is_raised_as_it_is() -> None:
    def wrong(params: Params, batch: Tensor) -> Tensor:
        raise ZeroDivisionError("the loss cannot do this")

    params = {"w": torch.zeros(2)}
    stacked = StackedLoss(wrong, params, [moved_entries(params, None)])
    with pytest.raises(ZeroDivisionError, match="the loss cannot do this"):
        stacked.excess_and_gradient(stacked.start(2), torch.zeros(3), torch.zeros(3), per_chain=False)


@pytest.mark.parametrize("name", ["whole", "layer", "neurons", "scattered entries", "rows of a tied embedding"])
def test_hessian_products_equal_those_of_the_dense_hessian(name: str) -> None:
    make, shape, lanes = NETS[name]
    given = case(make, shape, lanes)
    stacked = StackedLoss(given.loss, given.params, given.moved())
    position, vector = around(stacked.start(2)), around(stacked.start(2), seed=5)
    product = stacked.hessian(position, given.batch)(vector)
    for chain in range(2):
        for lane, masks in enumerate(given.lanes):
            at, along = chain_lane(position, chain, lane), chain_lane(vector, chain, lane)

            def slope(at: Params, masks: Masks | None = masks) -> Tensor:
                slopes = literal(given.loss, given.params, masks, at, given.batch, torch.zeros(1))[1]
                return torch.cat([value.flatten() for value in slopes.values()])

            step = 1e-6
            ahead, behind = (slope({name: at[name] + sign * step * along[name] for name in at}) for sign in (1, -1))
            mine = torch.cat([product[name][chain, lane].flatten() for name in at])
            assert torch.allclose(mine, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)


class Wide(Perceptron):
    """Of which most rows are more weights than lanes are stacked of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(50, 100), nn.Linear(100, 3)


def most_rows(params: Params) -> tuple[Masks, ...]:
    return ({"first.weight": mask(params, "first.weight", list(range(90)))},)


@pytest.mark.parametrize("n", [9, 256, 300, 700])
def test_products_of_a_lane_alone_are_traced_where_they_are_many_with_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    monkeypatch.setattr(stacked_module, "_OFTEN", 2)
    given = case(Wide, (50,), most_rows)
    batch = torch.randn(n, 50, dtype=given.batch.dtype, generator=torch.Generator().manual_seed(n))
    graphs = Graphs()
    sizes = Counter(block.stop - block.start for block in chunks(n, stacked_module._SLICED_BLOCK))
    assert sizes.total() == -(-n // 256)
    per_position = 1 if sizes.total() <= stacked_module._KEPT else 2  # of more, each vector asks
    stacked = StackedLoss(given.loss, given.params, given.moved(), graphs=graphs)
    assert stacked.width == 1
    position, vector = around(stacked.start(1)), around(stacked.start(1), seed=5)
    found: list[Tensor] = []
    for asked in range(1, 5):
        product = stacked.hessian(position, batch)
        found += [product(vector)["first.weight"], product(vector)["first.weight"]]
        assert len(graphs.split) == sum(asked * per_position * count > 2 for count in sizes.values())
    assert all(torch.equal(one, found[0]) for one in found)


def test_products_of_whole_tensors_are_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked_module, "_OFTEN", 0)
    given = case(*NETS["whole"])
    graphs = Graphs()
    stacked = StackedLoss(given.loss, given.params, given.moved(), graphs=graphs)
    stacked.hessian(stacked.start(1), given.batch)(stacked.start(1))
    assert not graphs


def test_sliced_lanes_are_padded_to_whole_tiles_and_whole_tensors_are_not() -> None:
    def widths(count: int, lanes: Lanes) -> tuple[int, int]:
        given = case(Perceptron, (5,), lanes)
        stacked = StackedLoss(given.loss, given.params, given.moved() * count)
        return stacked.lanes, stacked.width

    assert widths(1, neurons(0)) == (1, 32)
    assert widths(32, neurons(0)) == (32, 32)
    assert widths(33, neurons(0)) == (33, 64)
    assert widths(3, whole) == (3, 3)


def test_every_chain_starts_at_the_centre() -> None:
    given = case(Perceptron, (5,), neurons(1, 3))
    start = StackedLoss(given.loss, given.params, given.moved()).start(2)
    for chain in range(2):
        assert torch.equal(start["first.weight"][chain, 0, 0], given.params["first.weight"][1])
        assert torch.equal(start["second.weight"][chain, 1, :, 0], given.params["second.weight"][:, 3])
    start["first.bias"][0].zero_()
    assert start["first.bias"][1].any()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("first", ["gradient", "excess"])
def test_the_excess_alone_is_that_beside_the_gradient(name: str, first: str) -> None:
    given = case(*NETS[name])
    stacked = StackedLoss(given.loss, given.params, given.moved())
    batch = torch.stack([given.batch.roll(chain, 0) for chain in range(CHAINS)])
    at, baseline = around(stacked.start(CHAINS)), torch.randn(batch.shape[:2])

    def both() -> Tensor:
        return stacked.excess_and_gradient(at, batch, baseline, per_chain=True)[0]

    def alone() -> Tensor:
        return stacked.excess(at, batch, baseline, per_chain=True)

    found = (both(), alone()) if first == "gradient" else (alone(), both())
    assert torch.equal(*found)
    assert torch.equal(both(), found[0])


def test_lanes_of_one_layout_share_what_is_prepared_and_nothing_else() -> None:
    graphs = Graphs()
    for units in ((0, 1), (2, 3)):
        given = case(Perceptron, (5,), neurons(*units))
        own, sharing = (StackedLoss(given.loss, given.params, given.moved(), **how) for how in ({}, {"graphs": graphs}))
        at, baseline = around(own.start(2)), torch.zeros(len(given.batch))
        expected, found = (s.excess_and_gradient(at, given.batch, baseline, per_chain=False) for s in (own, sharing))
        assert torch.equal(expected[0], found[0])
        assert all(torch.equal(expected[1][name], value) for name, value in found[1].items())
    assert len(graphs) == 1


@pytest.mark.parametrize("name", NETS)
def test_losses_of_a_shared_batch_are_the_same_bits_at_every_position(name: str) -> None:
    given = case(*NETS[name], dtype=torch.float32, examples=40)
    stacked = StackedLoss(given.loss, given.params, given.moved())
    batches = given.batch[:20], given.batch[20:]
    for seed in range(3):
        at = around(stacked.start(CHAINS), seed=seed)
        for batch in batches:
            expected = stacked.losses(at, batch, per_chain=False)
            assert torch.equal(stacked.losses_of_shared(at, batch), expected)


def test_what_a_shared_batch_decides_is_computed_once_unless_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    given = case(*NETS["neurons"])
    prepared: list[object] = []
    prepare = SplitGraph.prepare
    monkeypatch.setattr(SplitGraph, "prepare", lambda graph, fixed: (prepared.append(fixed), prepare(graph, fixed))[1])

    def looks(most: int) -> int:
        monkeypatch.setattr(stacked_module, "_MOST_KEPT", most)
        stacked, before = StackedLoss(given.loss, given.params, given.moved(), graphs=graphs), len(prepared)
        for seed in range(4):
            at = around(stacked.start(CHAINS), seed=seed)
            found = stacked.losses_of_shared(at, given.batch)
            assert torch.equal(found, stacked.losses(at, given.batch, per_chain=False))
        (kept,) = stacked._shared.values()
        assert (kept is None) is (most == 0)
        return len(prepared) - before

    graphs = Graphs()
    assert looks(1 << 20) == 2  # a trial when it is traced, and then for these lanes
    assert looks(1 << 20) == 1
    assert looks(0) == 1


@pytest.mark.parametrize("lanes", [whole, neurons(0, 2)], ids=["whole", "neurons"])
def test_a_shared_batch_that_vmap_refuses_runs_one_by_one(lanes: Lanes) -> None:
    given = case(Branching, (5,), lanes)
    stacked = StackedLoss(given.loss, given.params, given.moved())
    at = around(stacked.start(CHAINS))
    found = stacked.losses_of_shared(at, given.batch)
    assert torch.equal(found, stacked.losses(at, given.batch, per_chain=False))
    assert not stacked.vmapped


@pytest.mark.parametrize("name", NETS)
def test_a_shared_batch_may_be_asked_for_by_other_chains_and_be_written_to(name: str) -> None:
    given = case(*NETS[name], dtype=torch.float32)
    batch = given.batch.clone()
    stacked = StackedLoss(given.loss, given.params, given.moved())
    at = around(stacked.start(CHAINS))
    for some in (at, {key: value[:1] for key, value in at.items()}):
        assert torch.equal(stacked.losses_of_shared(some, batch), stacked.losses(some, batch, per_chain=False))
    batch.copy_(batch.flip(0))
    assert torch.equal(stacked.losses_of_shared(at, batch), stacked.losses(at, batch, per_chain=False))


def test_shared_batches_are_kept_while_chains_run_and_no_more_than_a_few() -> None:
    given, graphs = case(*NETS["neurons"]), Graphs()
    stacked = StackedLoss(given.loss, given.params, given.moved(), graphs=graphs)
    at = around(stacked.start(CHAINS))
    gone: list[weakref.ref[Tensor]] = []
    for _ in range(9):
        batch = given.batch.clone()
        stacked.losses_of_shared(at, batch)
        gone.append(weakref.ref(batch))
        del batch
    assert sum(batch() is not None for batch in gone) == len(stacked._shared) == stacked_module._MOST_BATCHES
    stacked.forget()
    assert all(batch() is None for batch in gone)
    # What is traced is kept from call to call, and must not keep the lanes with it.
    lanes = weakref.ref(stacked)
    del stacked
    gc.collect()
    assert len(graphs.split) == 1
    assert lanes() is None
