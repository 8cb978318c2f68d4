"""Rows of edges and of circuits: the engine's own values, whoever measures them."""

import copy
import math
from collections import OrderedDict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from llc_lightning.ablation.engine import lanes as of_lanes
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.discovery import learned
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.stability import over_examples
from llc_lightning.measure.circuit import rows as of_rows
from llc_lightning.measure.circuit.plan import CircuitPlan, edge_of
from llc_lightning.measure.forecast import rough
from llc_lightning.measure.measurements import Plan, measure, measurement_of
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.measure.trial import trial
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.results.schema import Row
from llc_lightning.runtime.errors import AddressError, SettingError
from llc_lightning.runtime.signals import SIGNALS, Stopped
from tests.circuits.nets import Sequences, net, partner, question
from tests.measure.small import Stage
from tests.measure.test_measurements import plain, same

PLAN = CircuitPlan(donor="resample(draws=1)", search="acdc(threshold=0.01)", resamples=3)
GRADIENT = CircuitPlan(donor="mean", score="eap_ig(steps=2)", components=("*hook_embed -> *",))


def snapshot(name: str = "layer") -> Snapshot:
    model, batch = net(name)
    return Snapshot.of(model, batch, run="net/version_0", seed=0, step=30, epoch=1)


def rows_of(rows: list[Row], quantity: str) -> dict[str, Row]:
    return {row.component: row for row in rows if row.quantity == quantity}


def test_rows_are_what_the_engine_says() -> None:
    rows, asked = measure(PLAN, snapshot()).rows, question("layer")
    effects = rows_of(rows, "edge_effect")
    assert [(one.component, one.value, one.stderr, one.status) for one in edge_scores(asked)] == [
        (name, row.value, row.stderr, row.status) for name, row in effects.items()
    ]
    assert {(row.kind, row.method, row.loss, row.n_examples) for row in effects.values()} == {
        ("edge", "exact:resample(draws=1)", "train", 12)
    }
    found = find_circuit(asked, PLAN.search)
    kept = rows_of(rows, "circuit_edge")
    assert {name: row.value for name, row in kept.items()} == {str(one.edge): one.score for one in found.scored}
    assert 0 < len(kept) < len(effects)
    assert rows_of(rows, "circuit_edges")[""].value == len(kept)
    assert math.isfinite(rows_of(rows, "circuit_faithfulness")[""].value)
    shares = over_examples(asked, PLAN.search, count=3).shares
    measured = rows_of(rows, "edge_share")
    assert {name: row.value for name, row in measured.items()} == {str(edge): share for edge, share in shares.items()}
    of_all = next(row for row in measured.values() if row.value == 1)
    assert of_all.stderr == pytest.approx(math.sqrt(5 / 7 * 2 / 7 / 7))


@pytest.mark.parametrize("plan", [PLAN, GRADIENT], ids=["exact", "gradients"])
def test_any_number_of_processes_gives_the_same_bits(plan: Plan) -> None:
    one = measure(plan, snapshot())
    for n in (2, 3):
        assert same(Stage(n).play(lambda workers: measure(plan, snapshot(), workers=workers))[0], one)


def test_an_edge_alone_has_the_bits_that_it_has_beside_others() -> None:
    every = {row.key: row for row in measure(replace(PLAN, search="", resamples=0), snapshot()).rows}
    for row in list(every.values())[:: len(every) // 4]:
        (single,) = measure(replace(PLAN, search="", resamples=0), snapshot(), only=[row.component]).rows
        assert plain([single]) == plain([every[row.key]])


def test_what_stands_for_no_effect_is_a_score() -> None:
    rows = measure(CircuitPlan(score="weight_norm", search="greedy(score=weight_norm,edges=2)"), snapshot()).rows
    assert {row.unit for row in rows_of(rows, "edge_score").values()} == {"1"}
    assert {row.unit for row in rows_of(rows, "circuit_edge").values()} == {"1"}
    assert not rows_of(rows, "edge_effect")


def test_an_empty_circuit_is_told_by_its_size() -> None:
    rows = measure(replace(PLAN, search="acdc(threshold=1e6)", resamples=0), snapshot()).rows
    assert rows_of(rows, "circuit_edges")[""].value == 0
    assert not rows_of(rows, "circuit_edge")
    assert not rows_of(rows, "circuit_faithfulness")


def test_without_room_the_search_goes_first_and_the_scores_stay_as_they_are() -> None:
    less = PLAN.narrowed(1, 1)
    assert PLAN.breadth == (1, 2)
    assert less.breadth == (1, 1)
    rows = {row.key: row for row in measure(PLAN, snapshot()).rows}
    assert all(plain([row]) == plain([rows[row.key]]) for row in measure(less, snapshot()).rows)


def test_its_cost_is_foretold() -> None:
    kind, at = measurement_of(PLAN), snapshot()
    components = PLAN.components_of(at.loss.module)
    ticks = iter(range(100))
    told = kind.forecast(PLAN, at, components, lambda: float(next(ticks)))
    assert told is not None
    seconds = dict(told.components)
    searched, resampled = seconds.pop("search"), seconds.pop("resamples")
    edges = len(components) - 2
    assert (searched, resampled) == (edges / 16, 3 * edges / 16)  # one tick for 16 masks
    assert sum(seconds.values()) == pytest.approx(1.0)


def test_the_first_measurement_is_taken_to_record_what_later_ones_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    at, forward, made = snapshot(), TransformerModel.forward, list[int]()

    def counted(*given: Any, **more: Any) -> Any:
        made.append(1)
        return forward(*given, **more)

    monkeypatch.setattr(TransformerModel, "forward", counted)
    besides: list[int] = []
    for plan in (PLAN, GRADIENT, CircuitPlan(score="weight_norm")):
        monkeypatch.setattr(of_lanes, "_KEPT", OrderedDict())
        passes: list[int] = []
        for _ in range(2):
            made.clear()
            measure(plan, at)
            passes.append(len(made))
        besides.append(passes[0] - passes[1])
        _, each, first = rough(plan, at)
        seconds, told = plan.recorded
        assert first == pytest.approx(seconds + told * each)
        assert besides[-1] <= told
    assert PLAN.recorded[1] / 2 < max(besides)
    assert plan.recorded == (0.0, 0)


def test_the_masks_that_are_timed_lack_edges_from_all_over_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[torch.Tensor] = []

    def noted(_: MaskedRuns, masks: torch.Tensor) -> None:
        timed.append(masks)

    monkeypatch.setattr(MaskedRuns, "__call__", noted)
    at = snapshot()
    measurement_of(PLAN).forecast(PLAN, at, PLAN.components_of(at.loss.module)[:1], lambda: 0.0)
    before, masks = (torch.cat(some) for some in (timed[: len(timed) // 2], timed[len(timed) // 2 :]))
    lacking = [int(at) for at in masks.argmin(1)]
    edges = len(PLAN.graph_of(at.loss.module).edges)
    assert [int(kept) for kept in masks.sum(1)] == [edges - 1] * 16
    assert (lacking[0], lacking[-1]) == (0, edges - 1)
    assert max(after - before for before, after in pairwise(lacking)) <= edges / 15 + 1
    assert not set(map(tuple, before.tolist())) & set(map(tuple, masks.tolist()))  # nothing kept of them serves
    assert {len(some) for some in timed[:-1]} <= {3, 1}  # those of a search


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"donor": "zerro"}, "zerro"),
        ({"score": "exakt"}, "exakt"),
        ({"search": "akdc"}, "akdc"),
        ({"resamples": 1, "search": "acdc"}, "resamples"),
        ({"resamples": 4}, "there is no search"),
        ({"search": "acdc", "donor": "optimal"}, "'optimal' fits them"),
        ({"search": "acdc", "metric": "accuracy"}, "the smaller it is"),
        ({"components": ()}, "components is empty"),
        ({"examples": 0}, "examples"),
    ],
)
def test_settings_that_mean_nothing_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        CircuitPlan(**settings)


def test_unknown_edges_and_too_few_examples_are_told() -> None:
    with pytest.raises(AddressError, match="matches no edge"):
        CircuitPlan(components=("*nowhere -> *",)).components_of(snapshot().loss.module)
    with pytest.raises(SettingError, match="there are 12"):
        CircuitPlan(examples=13).question(snapshot())
    assert CircuitPlan(examples=13).fitted(12).examples == 12


SOME = replace(PLAN, components=("*hook_embed -> *",), resamples=0)


def changed(value: float) -> Snapshot:
    """Returns a snapshot of a net whose output layer is all of one number."""
    model, batch = net("layer")
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "unembed" in name:
                parameter.fill_(value)
    return Snapshot.of(model, batch, run="net/version_0", seed=0, step=30, epoch=1)


@pytest.mark.parametrize(
    "plan", [replace(SOME, resamples=2), replace(SOME, search="ugs(steps=1)"), replace(SOME, search="top")]
)
def test_a_circuit_of_losses_that_are_no_numbers_is_none(plan: CircuitPlan) -> None:
    rows = measure(plan, changed(math.nan)).rows
    of_circuits = [row for row in rows if row.quantity in ("circuit_edges", "circuit_resamples", "edge_share")]
    assert all("nan-loss" in row.status for row in of_circuits)
    assert all(math.isnan(row.value) for row in of_circuits)


def test_a_network_that_does_nothing_yet_ends_no_training() -> None:
    rows = measure(replace(SOME, search="top(edges=100)"), changed(0.0)).rows
    assert "no-gap" in rows_of(rows, "circuit_edges")[""].status
    assert not rows_of(rows, "circuit_faithfulness")
    assert len(rows_of(rows, "edge_effect")) > 2


def test_a_circuit_with_constants_of_a_network_that_does_nothing_yet_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "_BLOCK", 8)  # one half of the blocks is held out
    rows = measure(replace(SOME, search="ugs(constants=true,steps=1)"), changed(0.0)).rows
    of_circuit = rows_of(rows, "circuit_edges")[""]
    assert of_circuit.value == len(rows_of(rows, "circuit_edge")) > 0
    assert of_circuit.status == "no-gap"
    assert not rows_of(rows, "circuit_faithfulness")


def test_searches_are_jobs_of_their_own() -> None:
    at = snapshot()
    components = PLAN.components_of(at.loss.module)
    asked, made = PLAN.jobs(components, data="x"), PLAN.narrowed(1, 1).jobs(components, data="x")
    assert [job.quantity for job in asked[:2]] == ["circuit_edges", "circuit_resamples"]
    assert len(asked) == len(made) + 2
    assert all(PLAN.owns(job.quantity, job.loss) for job in asked)
    keys = {job.key(run="", step=0) for job in asked}
    for other in ({"search": "acdc(threshold=0.02)"}, {"resamples": 4}):
        assert not keys <= {job.key(run="", step=0) for job in replace(PLAN, **other).jobs(components, data="x")}


def test_what_is_measured_has_the_keys_of_its_jobs() -> None:
    at, plan = snapshot(), replace(PLAN, resamples=2, components=("*hook_embed -> *",))
    told = measure(plan, at).rows
    jobs = plan.jobs(plan.components_of(at.loss.module), data="x")
    columns = ("quantity", "component", "kind", "method", "loss", "revision")
    assert {tuple(job.columns[name] for name in columns) for job in jobs} == {
        tuple(getattr(row, name) for name in columns) for row in told if plan.owns(row.quantity, row.loss)
    }
    details = rows_of(told, "edge_effect").popitem()[1].details
    assert '"vmapped":true' in details


def test_a_search_costs_passes_and_gradients_few() -> None:
    components = PLAN.components_of(snapshot().loss.module)
    edges = len(components) - 2

    def cost(**settings: Any) -> int:
        plan = replace(PLAN, **settings)
        return plan.cost(plan.jobs(components, data=""))

    assert cost() == edges * (1 + 1 + 3)
    assert cost(search="", resamples=0) == edges
    assert cost(search="ugs(steps=100)", examples=64) == edges + 4 * 3 * 4 * 100 * 16 // 64
    assert cost(score="eap", search="", resamples=0) < 10


def test_a_signal_ends_a_search() -> None:
    at, alone = snapshot(), PLAN.components_of(snapshot().loss.module)[:1]
    SIGNALS.noted = 15
    try:
        with pytest.raises(Stopped):
            measurement_of(PLAN).measure(PLAN, at, alone, replicate=0, advance=lambda n=1, note="": None, memory=None)
    finally:
        SIGNALS.noted = 0


def test_what_fails_for_all_edges_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def failing(asked: Question, *_: Any) -> None:
        tried.append(1)
        raise RuntimeError("memory is full")

    monkeypatch.setattr(of_rows, "edge_scores", failing)
    rows = measure(replace(SOME, score="eap", search=""), snapshot(), on_error="skip").rows
    assert len(tried) == 1
    assert {row.status for row in rows} == {"error"}


def test_a_search_that_fails_leaves_the_scores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def failing(*_: Any) -> None:
        tried.append(1)
        raise RuntimeError("memory is full")

    monkeypatch.setattr(of_rows, "find_circuit", failing)
    rows = measure(SOME, snapshot(), on_error="skip").rows
    assert len(tried) == 1
    assert rows_of(rows, "circuit_edges")[""].status == "error"
    assert "error" not in {row.status for row in rows_of(rows, "edge_effect").values()}


def test_a_search_that_succeeds_is_not_run_again_where_others_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    def counted(*given: Any) -> Circuit:
        searched.append(1)
        return find_circuit(*given)

    def failing(asked: Question, score: object, edges: list[Edge]) -> list[Effect]:
        if broken in edges:
            raise RuntimeError("memory is full")
        return edge_scores(asked, "exact", edges)

    at = snapshot()
    broken = edge_of(SOME.components_of(at.loss.module)[1])
    monkeypatch.setattr(of_rows, "find_circuit", counted)
    monkeypatch.setattr(of_rows, "edge_scores", failing)
    kind = measurement_of(SOME)
    memory = kind.memory()
    rows = measure(SOME, at, on_error="skip", memory=memory).rows
    assert len(searched) == 1
    assert rows_of(rows, "circuit_edges")[""].status != "error"
    assert [name for name, row in rows_of(rows, "edge_effect").items() if row.status == "error"] == [str(broken)]
    measure(SOME, snapshot(), only=["search"], memory=memory)
    assert len(searched) == 2


def test_a_search_that_cannot_work_is_told_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not trial(SOME, snapshot())

    def failing(*_: Any) -> None:
        raise RuntimeError("there are no gradients")

    monkeypatch.setattr(of_rows, "find_circuit", failing)
    assert "search: RuntimeError: there are no gradients" in trial(SOME, snapshot())


def test_a_faithfulness_is_of_the_examples_held_out_and_of_its_constants() -> None:
    plan, told = replace(SOME, search="ugs(constants=true)"), {"value": 0.5, "stderr": 0.1, "status": "ok", "n": 6}
    circuit = Circuit((ScoredEdge(Edge("a", "b"), 1.0),), "ugs(constants=true)", "constants", "train", 12, 0)
    rows = list(
        measurement_of(plan).rows(plan, snapshot(), [replace(circuit, faithfulness=told)], None, data="x", replicate=0)
    )
    assert {row.quantity: row.n_examples for row in rows}["circuit_faithfulness"] == 6
    assert {row.method for row in rows} == {"ugs(constants=true):constants"}


class Paired(TransformerModel):
    """Makes partners of its examples."""

    def counterfactual(self, batch: Sequences) -> Sequences:
        return partner(batch)


def test_partners_are_those_that_the_module_makes() -> None:
    plan = replace(SOME, donor="counterfactual", search="")
    with pytest.raises(SettingError, match="counterfactual"):
        plan.question(snapshot())
    model, batch = net("layer")
    paired = copy.deepcopy(model)
    paired.__class__ = Paired
    at = Snapshot.of(paired, batch, run="net/version_0", seed=0, step=30, epoch=1)
    rows = rows_of(measure(plan, at).rows, "edge_effect")
    found = edge_scores(question("layer", "counterfactual"), "exact", list(plan.components))
    assert {name: row.value for name, row in rows.items()} == {one.component: one.value for one in found}
