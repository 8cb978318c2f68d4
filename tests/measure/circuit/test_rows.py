"""Rows of edges and of circuits: the engine's own values, whoever measures them."""

import math
from dataclasses import replace
from typing import Any

import pytest

from llc_lightning.circuits.base import edge_scores
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.stability import over_examples
from llc_lightning.measure.circuit.plan import CircuitPlan
from llc_lightning.measure.measurements import Plan, measure, measurement_of
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.circuits.nets import net, question
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
    assert told.once == 4.0
    assert sum(told.components.values()) == pytest.approx(1.0)


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
