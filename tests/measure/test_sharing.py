"""What is dealt to processes, and put together again."""

from collections import Counter
from dataclasses import replace

import pytest

from llc_lightning.components.component import Component
from llc_lightning.measure.measurements import Plan, measure, measurement_of
from llc_lightning.measure.sharing import Piece, by_component, dealt
from llc_lightning.runtime.workers import Workers
from tests.measure.small import ABLATED_LLC, ABLATION, CIRCUIT, LLC, POSTERIOR, Stage, alone, snapshot
from tests.measure.test_measurements import plain, same

PLANS = [LLC, ABLATION, ABLATED_LLC, POSTERIOR, CIRCUIT]


def parts(*addresses: str) -> tuple[Component, ...]:
    return tuple(Component(address, "neuron") for address in addresses)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_every_piece_is_dealt_once(n: int) -> None:
    pieces = [Piece(some, (rung,)) for some in (parts("a"), parts("b", "c"), parts("d")) for rung in (1.0, 2.0, 3.0)]
    shares = [dealt(pieces, Workers(rank, n)) for rank in range(n)]
    found = [(name, rung) for share in shares for each in share for name in each.addresses for rung in each.n_beta]
    assert len(set(found)) == len(found) == 4 * 3


def test_neighbours_are_measured_together() -> None:
    pieces = [Piece(some, (rung,)) for some in (parts("a", "b"), parts("c")) for rung in (1.0, 2.0)]
    assert dealt(pieces, Workers()) == [Piece(parts("a", "b", "c"), (1.0, 2.0))]
    three = [dealt(pieces, Workers(rank, 3)) for rank in range(3)]
    assert three == [
        [Piece(parts("a", "b"), (1.0,))],
        [Piece(parts("a", "b"), (2.0,))],
        [Piece(parts("c"), (1.0, 2.0))],
    ]


def test_what_was_measured_comes_in_the_order_of_the_components() -> None:
    assert by_component([("b", 1), ("a", 2), ("b", 3)], parts("a", "b")) == [[2], [1, 3]]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
def test_a_batch_of_chains_and_a_whole_model_are_one_processs_work(plan: Plan) -> None:
    kind, at = measurement_of(plan), snapshot()
    components = plan.components_of(at.loss.module, at.data)
    pieces = kind.pieces(plan, at, components)
    together = [each.addresses for each in pieces]
    neurons = tuple(component.address for component in components if component.kind == "neuron")
    if plan.kind in ("llc", "posterior"):
        assert neurons in together
        assert together[0] == ("all",)
    else:
        assert all(len(addresses) == 1 for addresses in together)


def dealt_sizes(sizes: dict[str, int], processes: int) -> list[dict[str, int]]:
    pieces = [Piece(parts(f"{name}[{i}]"), shares=name) for name, size in sizes.items() for i in range(size)]
    shares = [
        [one.address for each in dealt(pieces, Workers(r, processes)) for one in each.components]
        for r in range(processes)
    ]
    assert [name for share in shares for name in share] == [name for each in pieces for name in each.addresses]
    return [dict(Counter(name.partition("[")[0] for name in share)) for share in shares]


def test_what_shares_costs_stays_with_one_process_where_the_longest_share_is_not_much_longer() -> None:
    assert dealt_sizes({"a": 32, "b": 1, "c": 1}, 2) == [{"a": 32}, {"b": 1, "c": 1}]
    assert dealt_sizes({"a": 64, "b": 64, "c": 1, "d": 1}, 2) == [{"a": 64}, {"b": 64, "c": 1, "d": 1}]
    assert dealt_sizes({"a": 60, "b": 1}, 2) == [{"a": 30}, {"a": 30, "b": 1}]
    assert dealt_sizes({"a": 100}, 3) == [{"a": 33}, {"a": 33}, {"a": 34}]


@pytest.mark.parametrize("sizes", [{"a": 4}, {"a": 8}, {"a": 4, "b": 4}, {"a": 2, "b": 9}, {"a": 1, "b": 1, "c": 14}])
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 8, 16])
def test_no_process_is_idle_where_there_is_work_for_all(sizes: dict[str, int], processes: int) -> None:
    shares = dealt_sizes(sizes, processes)
    assert sum(not share for share in shares) == max(processes - sum(sizes.values()), 0)


@pytest.mark.parametrize("plan", [replace(ABLATED_LLC, n_beta=(30.0, 100.0)), POSTERIOR], ids=lambda plan: plan.kind)
@pytest.mark.parametrize("n", [3, 9])
def test_more_processes_than_pieces_give_the_same(plan: Plan, n: int) -> None:
    first = Stage(n).play(lambda workers: measure(plan, snapshot(), workers=workers))[0]
    assert same(first, alone(plan))


def test_what_fails_at_one_rung_fails_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, estimate = measurement_of(LLC), measurement_of(LLC).measure

    def fails(plan, snapshot, components, **more):  # noqa: ANN001, ANN003, ANN202
        if plan.n_beta == LLC.n_beta[1:] and "hook_out" in [component.address for component in components]:
            raise FloatingPointError("broken")
        return estimate(plan, snapshot, components, **more)

    monkeypatch.setattr(kind, "measure", fails)
    rows = Stage(2).play(lambda workers: measure(LLC, snapshot(), workers=workers, on_error="skip"))[0].rows
    broken = [row for row in rows if row.status == "error"]
    assert {(row.component, row.n_beta) for row in broken} == {("hook_out", rung) for rung in LLC.n_beta}
    others = [row for row in alone(LLC).rows if row.component != "hook_out"]
    assert plain([row for row in rows if row.component != "hook_out"]) == plain(others)
