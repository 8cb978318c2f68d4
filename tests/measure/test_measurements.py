"""Measuring is a pure function, whatever the number of processes, and fails on all of them or on none."""

import math
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llc_lightning.measure.measurements import Outcome, Plan, measure, measurement_of, undealt
from llc_lightning.measure.sharing import dealt
from llc_lightning.results.schema import COLUMNS, Row, decode_details
from llc_lightning.results.traces import Trace
from llc_lightning.runtime.errors import MeasurementError
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.workers import Workers
from tests.measure.small import ABLATION, LLC, MOVED, Net, Stage, alone, snapshot

PLANS = pytest.mark.parametrize("plan", [LLC, ABLATION], ids=["llc", "ablation"])


def plain(rows: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    """Returns the rows, or some columns of them, with all their bits, NaN equal to itself."""
    values = [[getattr(row, name) for name in columns or COLUMNS] for row in rows]
    return [tuple(value.hex() if isinstance(value, float) else value for value in row) for row in values]


def bits(traces: list[Trace]) -> list[tuple[Any, ...]]:
    return [(t.component, t.n_beta, t.replicate, t.settings, t.excess.tolist(), t.loss.tolist()) for t in traces]


def same(one: Outcome, other: Outcome) -> bool:
    return plain(one.rows) == plain(other.rows) and bits(one.traces) == bits(other.traces)


@PLANS
def test_twice_the_same_bits_and_no_random_number_of_anybody_else(plan: Plan) -> None:
    first, second = snapshot(), snapshot()
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    one = measure(plan, first)
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert same(one, measure(plan, second))
    assert same(one, alone(plan))


@PLANS
def test_a_measurement_depends_on_the_weights_the_data_and_the_seed(plan: Plan) -> None:
    plan = replace(plan, components=("hook_two[1]",))
    values = plain(measure(plan, snapshot()).rows, "value")
    net = Net()
    with torch.no_grad():
        net.W_mid.weight.mul_(1.5)
    for other in (snapshot(net), snapshot(n=63), snapshot(seed=4)):
        assert values != plain(measure(plan, other).rows, "value")
    assert values == plain(measure(plan, snapshot(step=31, epoch=2, run="other/version_3")).rows, "value")


@PLANS
def test_every_row_has_its_own_key_an_error_and_a_status(plan: Plan) -> None:
    rows = alone(plan).rows
    assert len({row.key for row in rows}) == len(rows)
    for row in rows:
        assert row.status
        assert row.n_examples > 0
        assert math.isnan(row.value) or math.isfinite(row.stderr), row
        assert (row.run, row.seed, row.step, row.epoch) == ("net/version_0", 3, 30, 1)


def test_what_an_llc_plan_measures() -> None:
    rows = alone(LLC).rows
    count = {quantity: sum(row.quantity == quantity for row in rows) for quantity in {row.quantity for row in rows}}
    assert 0 < count.pop("llc_correction") <= 10
    assert count == {"loss": 1, "llc": 10, "weight_norm": 5, "grad_norm": 5, "llc_slope": 5}


def test_what_an_ablation_plan_measures() -> None:
    rows = alone(ABLATION).rows
    count = {quantity: sum(row.quantity == quantity for row in rows) for quantity in {row.quantity for row in rows}}
    assert count == {"loss": 3, "ablation_effect": 11 * 2 * 3, "sign_accuracy": 1, "circuits_solved": 1}


@PLANS
@pytest.mark.parametrize(("n", "share"), [(2, True), (13, True), (2, False)])
def test_any_number_of_processes_gives_the_same(plan: Plan, n: int, share: bool) -> None:
    first, *others = Stage(n).play(lambda workers: measure(plan, snapshot(), workers=workers, share=share))
    assert isinstance(first, Outcome), first
    assert same(first, alone(plan))
    assert all((other.rows, other.traces, other.arrays) == ([], [], None) for other in others)


def test_processes_share_batches_of_components_and_rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], tuple[float, ...]]] = []
    kind = measurement_of(LLC)
    estimate = kind.measure

    def spy(plan: Any, snapshot: Any, components: Any, **more: Any) -> Any:
        seen.append(([component.address for component in components], plan.n_beta))
        return estimate(plan, snapshot, components, **more)

    monkeypatch.setattr(kind, "measure", spy)
    Stage(2).play(lambda workers: measure(LLC, snapshot(), workers=workers))
    low, high = LLC.n_beta
    assert sorted(seen) == sorted(
        [(MOVED[:1], (low, high)), (MOVED[1:2], (low,)), (MOVED[1:2], (high,)), (MOVED[2:], (low, high))]
    )


def unable_to_deal(monkeypatch: pytest.MonkeyPatch, *ranks: int) -> Callable[..., list[Outcome]]:
    """Returns what measures on two processes, of which some cannot tell the pieces of the work."""
    kind, at_work = measurement_of(LLC), list[int]()
    pieces = kind.pieces

    def unable(*given: Any) -> Any:
        if at_work[-1] in ranks:
            raise torch.OutOfMemoryError("none left")
        return pieces(*given)

    def act(workers: Workers, **more: Any) -> Outcome:
        at_work.append(workers.rank)
        return measure(LLC, snapshot(), workers=workers, **more)

    monkeypatch.setattr(kind, "pieces", unable)
    return lambda **more: Stage(2).play(lambda workers: act(workers, **more))


def test_where_pieces_cannot_be_told_components_are_dealt_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert same(unable_to_deal(monkeypatch, 0, 1)()[0], alone(LLC))


def test_processes_that_would_deal_differently_measure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    play = unable_to_deal(monkeypatch, 1)
    one, other = play()
    assert isinstance(one, MeasurementError)
    assert str(one) == str(other)
    assert "rank 1 has other components to measure than rank 0" in str(one)
    rows = play(on_error="skip")[0].rows
    assert {row.status for row in rows} == {"error"}
    assert {row.component for row in rows} == {row.component for row in alone(LLC).rows}


@PLANS
def test_components_are_measured_the_same_alone_and_beside_others(plan: Plan) -> None:
    everything = {row.key: row for row in alone(plan).rows}
    for component in ("hook_two[1]", "hook_out"):
        for row in measure(replace(plan, components=(component,)), snapshot()).rows:
            assert plain([row]) == plain([everything[row.key]])


def test_rungs_are_measured_the_same_alone_and_beside_others() -> None:
    everything = {row.key: row for row in alone(LLC).rows}
    for row in measure(replace(LLC, n_beta=(100.0,), components=("hook_two[*]",)), snapshot()).rows:
        if row.quantity in ("llc", "llc_correction"):
            assert plain([row]) == plain([everything[row.key]])


def test_methods_are_measured_the_same_alone_and_beside_others() -> None:
    everything = {row.key: row for row in alone(ABLATION).rows}
    for row in measure(replace(ABLATION, methods=("resample",)), snapshot()).rows:
        assert plain([row]) == plain([everything[row.key]])


def test_a_replicate_has_other_settings_and_other_values() -> None:
    one, other = alone(LLC).rows, measure(LLC, snapshot(), replicate=1).rows
    assert not {row.key for row in one} & {row.key for row in other}
    assert {decode_details(row.details)["replicate"] for row in other} == {1}
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a.quantity == b.quantity == "llc"]
    assert any(a.value != b.value for a, b in pairs)
    assert [a.value for a in one if a.quantity == "loss"] == [b.value for b in other if b.quantity == "loss"]
    assert same(alone(ABLATION), measure(ABLATION, snapshot(), replicate=1))


class Broken(Net):
    """Fails where told, in the process of a rank, and only when it is measured."""

    where = "per_example_loss"

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.where == "per_example_loss":
            raise FloatingPointError("broken")
        return super().per_example_loss(batch)

    def task_quantities(self, batch: tuple[Tensor, Tensor]) -> Any:
        if self.where == "task_quantities":
            raise FloatingPointError("broken")
        return super().task_quantities(batch)


@PLANS
def test_a_failure_is_one_error(plan: Plan) -> None:
    with pytest.raises(MeasurementError) as raised:
        measure(plan, snapshot(Broken()))
    assert re.fullmatch(r"FloatingPointError: broken \(measuring .+\)", str(raised.value))
    assert isinstance(raised.value.__cause__, FloatingPointError)


@PLANS
@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_one_process_is_the_same_error_on_all(plan: Plan, rank: int) -> None:
    def act(workers: Workers) -> Outcome:
        return measure(plan, snapshot(Broken() if workers.rank == rank else Net()), workers=workers)

    outcomes = Stage(2).play(act)
    assert [type(outcome) for outcome in outcomes] == [MeasurementError] * 2
    assert str(outcomes[0]) == str(outcomes[1])
    assert re.fullmatch(rf"rank {rank}: FloatingPointError: broken \(measuring .+\)", str(outcomes[0]))


@PLANS
def test_a_skipped_failure_is_a_row_for_everything_that_was_asked_for_and_the_others_keep_theirs(plan: Plan) -> None:
    def act(workers: Workers) -> Outcome:
        net = Broken() if workers.rank == 1 else Net()
        return measure(plan, snapshot(net), workers=workers, on_error="skip")

    one, other = Stage(2).play(act)
    assert not other.rows
    measured = {row.key: row for row in alone(plan).rows}
    main = {key for key, row in measured.items() if row.quantity in ("llc", "ablation_effect") and row.loss == "train"}
    assert {row.key for row in one.rows} >= main
    failed = [row for row in one.rows if row.status == "error"]
    addresses = [component.address for component in plan.components_of(Net())]
    second = Workers(1, 2)
    pieces = dealt(undealt(plan, snapshot(), plan.components_of(Net()), second), second)
    of_rank_one = {address for piece in pieces for address in piece.addresses}
    assert {row.component or "all" for row in failed} == of_rank_one
    assert all(math.isnan(row.value) for row in failed)
    assert {row.details for row in failed} == {'{"error":"FloatingPointError: broken","replicate":0}'}
    kept = [row for row in one.rows if row.status != "error"]
    assert plain(kept) == plain([measured[row.key] for row in kept])
    assert {row.component or "all" for row in kept} >= set(addresses) - of_rank_one


@PLANS
def test_where_everything_fails_there_are_rows_of_errors_alone(plan: Plan) -> None:
    found = measure(plan, snapshot(Broken()), on_error="skip")
    assert {row.status for row in found.rows} == {"error"}
    assert not found.traces


def test_a_failure_in_the_modules_own_quantities_is_one_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "where", "task_quantities")
    for outcome in Stage(2).play(lambda workers: measure(ABLATION, snapshot(Broken()), workers=workers)):
        assert isinstance(outcome, MeasurementError)
        assert str(outcome) == "rank 0: FloatingPointError: broken"
    rows = measure(ABLATION, snapshot(Broken()), on_error="skip").rows
    assert {row.status for row in rows} == {"error"}
    assert len(rows) == 22


def test_a_row_that_cannot_be_is_one_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from llc_lightning.components.loss import TaskQuantity

    unknown = [TaskQuantity("sign_acuracy", 1.0, 0.1, 5)]
    monkeypatch.setattr(Net, "task_quantities", lambda self, batch: unknown)
    with pytest.raises(MeasurementError, match="unknown quantity 'sign_acuracy'; did you mean 'sign_accuracy'"):
        measure(ABLATION, snapshot())


@PLANS
def test_an_unknown_component_is_an_error_and_leaves_no_row_when_skipped(plan: Plan) -> None:
    plan = replace(plan, components=("hook_thre",))
    with pytest.raises(MeasurementError, match="unknown component 'hook_thre'; did you mean"):
        measure(plan, snapshot())
    assert measure(plan, snapshot(), on_error="skip").rows == []


def test_more_examples_than_there_are() -> None:
    with pytest.raises(MeasurementError) as raised:
        measure(replace(ABLATION, examples=65), snapshot())
    assert str(raised.value) == "examples is 65, but there are 64 to measure on; give at most that, or null for all."


class Shown:
    """Remembers the tasks that it is to show."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, int]] = []

    @contextmanager
    def task(self, description: str, total: int) -> Generator[Advance]:
        done = 0

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal done
            done += n

        yield advance
        self.tasks.append((description, total, done))


def test_progress_ends_where_it_was_to_end() -> None:
    shown = Shown()
    measure(LLC, snapshot(), progress=shown)
    measure(ABLATION, snapshot(), progress=shown)
    assert shown.tasks == [("llc at step 30", 5 * 2 * 8, 5 * 2 * 8), ("ablation at step 30", 22, 22)]
