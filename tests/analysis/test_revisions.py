"""Rows of one measurement at several revisions."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pandas as pd
import pytest

import llc_lightning.analysis
from llc_lightning.analysis import revisions
from llc_lightning.analysis.revisions import Older, newest, older, told
from llc_lightning.analysis.trajectories import COLUMNS, plus_delta, trajectories
from llc_lightning.results.schema import decode_details
from tests.analysis.synthetic import SyntheticRun, frame

TOOLS = {
    "select",
    "numbers",
    "texts",
    "distinct",
    "ok",
    "details",
    "measured",
    "by",
    "matrix",
    "most_examples",
    "replicates",
    "steps",
    "first_replicate",
    "units",
    "told_unit",
    "loss_unit",
}
"""Functions of rows that are no analysis: what they are given is chosen already."""
RESOLUTION: dict[str, Any] = {"n_beta": 300.0, "gamma": 10.0}
NEEDED: dict[str, dict[str, Any]] = {
    "rungs": {"step": 3000, "kind": "neuron"},
    "components": {"kind": "neuron"},
    "scores": {"step": 3000, **RESOLUTION},
    "led": {"kind": "neuron", **RESOLUTION},
}
"""Arguments that analyses have no default for."""
APART = {"trajectories", "plus_delta", "newest", "older"}
"""Functions that tell revisions apart themselves."""


def analyses() -> list[Callable[..., Any]]:
    """Every public analysis of a measurement table."""
    modules = [
        import_module(f"llc_lightning.analysis.{one.name}") for one in iter_modules(llc_lightning.analysis.__path__)
    ]
    public = [
        item
        for module in modules
        for name, item in inspect.getmembers(module, inspect.isfunction)
        if item.__module__ == module.__name__ and not name.startswith("_") and name not in TOOLS | APART
    ]
    return [item for item in public if next(iter(inspect.signature(item).parameters), "") == "rows"]


def told_whole(value: object) -> object:
    """Returns a result as plain values, numbers in full."""
    if isinstance(value, pd.DataFrame):
        return {str(name): [repr(one) for one in value[name].tolist()] for name in value.columns}
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: told_whole(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {repr(key): told_whole(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [told_whole(one) for one in value]
    return repr(value)


def a_run(seed: int, revision: int) -> pd.DataFrame:
    rows = (
        SyntheticRun(units=6, circuits=6, steps=(0, 150, 300, 500, 1000, 3000), seed=seed)
        .table()
        .assign(revision=revision)
    )
    roles = [
        {"quantity": "attention_score", "component": f"net.hook_hidden[{unit}]", "method": "induction", "kind": "head"}
        | {"step": 3000, "value": 0.1 * unit + 0.01 * revision, "n_examples": 8, "revision": revision}
        for unit in range(6)
    ]
    under = [
        {"quantity": "llc_shift", "component": f"net.hook_hidden[{unit}]", "method": "zero", "kind": "neuron"}
        | {"step": 3000, "value": -unit - 0.1 * revision, "stderr": 0.1, "n_examples": 8, "revision": revision}
        | {"n_beta": 300.0, "gamma": 10.0}
        for unit in range(6)
    ]
    edges = [
        {"quantity": "edge_effect", "component": f"net.a[{unit}] -> net.b", "method": "resample", "kind": "edge"}
        | {"step": step, "value": unit * step / 3000 + 0.1 * revision, "stderr": 0.01, "n_examples": 8}
        | {"revision": revision}
        for unit in range(3)
        for step in (0, 300, 1000, 3000)
    ]
    heads = rows[(rows["kind"] == "neuron") & (rows["step"] == 3000)].assign(kind="head")
    effects = rows[(rows["quantity"] == "ablation_effect") & (rows["loss"] == "train") & (rows["kind"] == "neuron")]
    together = effects["component"] + "+net.hook_hidden[0]"
    pairs = effects.assign(kind="pair", component=together, value=effects["value"] * 3)
    alone = pairs.assign(component="elsewhere" + together)
    tasks = [effects.assign(loss=f"task:{name}", value=effects["value"] * by) for name, by in (("a", 0.1), ("b", 2))]
    return pd.concat([rows, heads, pairs, alone, *tasks, frame(roles), frame(under), frame(edges)], ignore_index=True)


@pytest.fixture(scope="module")
def new() -> pd.DataFrame:
    return a_run(1, revision=2)


@pytest.fixture(scope="module")
def both(new: pd.DataFrame) -> pd.DataFrame:
    """The rows of two revisions, the older ones on both sides of the newer."""
    old = a_run(0, revision=1)
    return pd.concat([old.iloc[::2], new, old.iloc[1::2]], ignore_index=True)


@pytest.mark.parametrize("analysis", analyses(), ids=lambda one: one.__name__)
def test_an_analysis_of_two_revisions_is_that_of_the_newer_alone(
    analysis: Callable[..., Any], new: pd.DataFrame, both: pd.DataFrame
) -> None:
    needed = NEEDED.get(analysis.__name__, {})
    expected = told_whole(analysis(new, **needed))
    assert expected not in ("None", [], "")
    assert told_whole(analysis(both, **needed)) == expected


def test_analyses_are_found() -> None:
    names = {one.__name__ for one in analyses()}
    assert {"agreement", "fit_curve", "health", "interactions", "head_roles", "selectivity", "unit_kind"} <= names
    assert len(names) >= 18


def test_each_measurement_has_a_newest_of_its_own() -> None:
    blank = {"quantity": "llc", "value": 1.0}
    rows = frame(
        [
            {**blank, "details": '{"sampler": "sgld"}', "revision": 1},
            {**blank, "details": '{"sampler": "sgld"}', "revision": 2, "value": 2.0},
            {**blank, "details": '{"sampler": "mala"}', "revision": 1, "value": 3.0},
            {**blank, "quantity": "ablation_effect", "method": "zero", "value": 4.0},
            {**blank, "quantity": "ablation_effect", "method": "mean", "value": 5.0, "revision": 3},
            {**blank, "quantity": "ablation_effect", "method": "mean", "value": 6.0, "revision": 1},
        ]
    )
    assert newest(rows)["value"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert older(rows) == (Older("ablation_effect", "mean", 1, 3, 1), Older("llc", "sgld", 1, 2, 1))
    assert told(older(rows)) == (
        "Kept beside newer ones, and left out of every number and figure: 1 row of ablation_effect (mean) at revision "
        "1 of 3; 1 row of llc (sgld) at revision 1 of 2; trajectories shows them."
    )


def test_rows_of_one_revision_are_all_the_newest(new: pd.DataFrame) -> None:
    assert newest(new) is new
    assert older(new) == ()
    assert told(()) == ""


def test_trajectories_show_every_revision_and_tell_them_apart(new: pd.DataFrame, both: pd.DataFrame) -> None:
    curves = trajectories(both)
    assert tuple(curves.columns) == COLUMNS
    assert set(curves["revision"]) == {1, 2}
    alone = trajectories(new)
    pd.testing.assert_frame_equal(curves.loc[curves["revision"] == 2].reset_index(drop=True), alone)
    assert "llc_plus_delta" in set(alone["quantity"])
    assert len(plus_delta(both)) == 2 * len(plus_delta(new))


def test_a_loss_that_chains_tell_replaces_none_that_ablations_tell() -> None:
    """They are measured on other examples, and each has revisions of its own."""
    told = [("{}", 1), ('{"replicate":0}', 1), ('{"replicate":0}', 3)]
    rows = pd.DataFrame([{"quantity": "loss", "method": "", "details": text, "revision": at} for text, at in told])
    assert newest(rows).index.tolist() == [0, 2]
    assert [str(one) for one in older(rows)] == ["1 row of loss (chains) at revision 1 of 3"]


def test_rows_are_looked_at_singly_only_where_one_measurement_is_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantities differ in their revisions in every run, and one has a million rows."""
    looked: list[str] = []
    monkeypatch.setattr(revisions, "decode_details", lambda text: looked.append(text) or decode_details(text))
    told = [("llc", "a", 7), ("llc", "b", 7), ("ablation_effect", "c", 3), ("loss", "d", 1), ("loss", "d", 1)]
    rows = pd.DataFrame(
        [{"quantity": name, "method": "", "details": f'{{"{it}":0}}', "revision": at} for name, it, at in told]
    )
    assert newest(rows) is rows
    assert looked == []
    again = pd.concat([rows, rows.iloc[3:4].assign(revision=2)], ignore_index=True)
    assert newest(again).index.tolist() == [0, 1, 2, 5]
    assert looked == ['{"d":0}']
