"""The TensorBoard dashboard."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from llc_lightning.report.charts import layout, method_charts, rung_charts, rung_tag
from llc_lightning.report.events import Logged
from llc_lightning.report.source import Source
from llc_lightning.report.tensorboard import MOST, address_tag, scalars, write_figures
from llc_lightning.results.schema import Row
from tests.analysis.synthetic import METHODS, RUNGS, SyntheticRun

EMPTY = Logged({}, 0.0)


def rows_at(step: int, **run: object) -> list[Row]:
    table = SyntheticRun(**{"units": 12, "circuits": 12, "steps": (step,), **run}).table()
    return [Row(**{str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


@pytest.fixture(scope="module")
def late() -> dict[str, float]:
    return scalars(rows_at(3000))


@pytest.fixture(scope="module")
def early() -> dict[str, float]:
    return scalars(rows_at(30))


def test_the_tags_are_there_with_their_values(late: dict[str, float]) -> None:
    assert late["llc/full"] == pytest.approx(274.7, abs=0.1)
    assert late["llc/full_hi"] - late["llc/full"] == pytest.approx(3.182446 * 4.033, rel=1e-3)
    assert late["llc/full_lo"] < late["llc/full"] < late["llc/full_plus_delta"]
    assert late["llc/rhat"] == 1.01
    assert late["analysis/loss_on_131072"] == pytest.approx(0.1421, abs=1e-3)
    assert late["analysis/loss_on_131072"] - late["analysis/loss_on_16384"] == pytest.approx(1e-4)
    assert late["cis/circuits_solved"] == 12
    assert late["health/llc.neuron/flagged"] == 0
    for rung in RUNGS:
        assert sum(tag.startswith(f"llc_units/n_beta_{rung:g}/") for tag in late) == 12
        assert sum(tag.startswith(f"llc_layers/n_beta_{rung:g}/") for tag in late) == 2
    for method in METHODS:
        assert sum(tag.startswith(f"ablation/{method}/") for tag in late) == 12
    assert "ablation_layers/zero/net.hook_out" in late


def test_what_is_not_ok_is_set_apart(early: dict[str, float]) -> None:
    assert "llc/full" not in early
    assert "llc/full_lo" not in early
    assert early["flagged/llc/full"] < -1000
    assert not any(tag.startswith("llc_units/") for tag in early)
    assert early["health/llc.neuron/flagged"] == 35
    assert early["health/llc.neuron/failed"] == 1
    assert "flagged/llc_units/n_beta_1000/net.hook_hidden.3" not in early, "a failed row has no value"


def test_all_values_are_finite_and_all_tags_survive(late: dict[str, float], early: dict[str, float]) -> None:
    for tag, value in {**late, **early}.items():
        assert math.isfinite(value)
        assert re.fullmatch(r"[-/\w.]+", tag), tag


def test_replicates_are_left_out(late: dict[str, float]) -> None:
    table = SyntheticRun(units=12, circuits=12, steps=(3000,)).table()
    first = table.loc[~table["details"].str.contains('"replicate": 1')]
    assert scalars([Row(**row) for row in first.to_dict("records")]) == late


def test_only_the_largest_get_a_curve() -> None:
    found = scalars(rows_at(3000, units=MOST + 8, circuits=2))
    kept = [tag for tag in found if tag.startswith("ablation/zero/")]
    assert len(kept) == MOST
    effects = SyntheticRun(units=MOST + 8, circuits=2).effects(3000)
    assert f"ablation/zero/net.hook_hidden.{effects.argmax()}" in kept
    assert f"ablation/zero/net.hook_hidden.{effects.argmin()}" not in kept


def test_charts_of_units_have_three_curves_that_bear_names(late: dict[str, float], early: dict[str, float]) -> None:
    effects = SyntheticRun(units=12, circuits=12).effects(3000)
    zero = {name: late[f"ablation_over_units/zero/{name}"] for name in ("lowest", "median", "highest")}
    assert zero["lowest"] < zero["median"] < zero["highest"]
    assert zero["highest"] == pytest.approx(effects.max(), rel=0.2)
    of_rung = [tag for tag in late if tag.startswith("llc_over_units/n_beta_1000/")]
    assert len(of_rung) == 3
    assert not any(tag.startswith("llc_over_units/") for tag in early), "no value of the first steps is ok"
    assert not any("_over_layers" in tag for tag in late)


def test_several_resolutions_of_the_full_llc_get_names() -> None:
    base = {"run": "r", "seed": 0, "step": 1, "epoch": 0, "quantity": "llc", "kind": "all", "params_moved": "all"}
    rows = [
        Row(**base, value=rung, stderr=1.0, chains=4, n_beta=rung, gamma=1.0, settings=str(rung))
        for rung in (10.0, 1e6)
    ]
    found = scalars(rows)
    assert found["llc/n_beta_10_gamma_1/full"] == 10
    assert found["llc/full"] == 1e6, "the largest n_beta has the plain name"


def test_no_rows_are_no_values() -> None:
    assert scalars([]) == {}


@pytest.mark.parametrize(
    ("address", "tag"),
    [("net.hook[3,5]", "net.hook.3-5"), ("a.b", "a.b"), ("weird name*", "weird_name_")],
)
def test_addresses_become_tags(address: str, tag: str) -> None:
    assert address_tag(address) == tag


def test_rungs_become_tags() -> None:
    assert [rung_tag(n_beta) for n_beta in (0.5, 300.0, 1e4, 1e15)] == [
        "n_beta_0.5",
        "n_beta_300",
        "n_beta_10000",
        "n_beta_1e15",
    ]


def test_every_chart_of_the_layout_shows_something(late: dict[str, float], early: dict[str, float]) -> None:
    tags = [*late, *early, "train/loss"]
    for charts in layout([rung_charts(RUNGS), method_charts(list(METHODS))]).values():
        for name, (kind, patterns) in charts.items():
            if kind == "Margin":
                assert set(patterns) <= set(tags), name
            else:
                assert any(re.search(pattern, tag) for pattern in patterns for tag in tags), name


def test_tensorboard_keeps_layout_tags_and_figures(tmp_path: Path, late: dict[str, float], source: Source) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_custom_scalars(layout([rung_charts(RUNGS), method_charts(list(METHODS))]))
        for tag, value in late.items():
            writer.add_scalar(tag, value, 3000)
    there = replace(source, folder=tmp_path)
    figures = sum(map(len, there.sections.values()))
    assert write_figures(there) == figures
    assert write_figures(there) == figures
    assert len(list(tmp_path.glob("events.*.report"))) == 1, "the earlier figures are replaced"
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == set(late)
    assert len(events.Tags()["images"]) == figures
    assert "report/headline" in events.Tags()["images"]
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_a_user_without_circuits_gets_no_empty_tags() -> None:
    rows = [row for row in rows_at(3000) if row.quantity in ("llc", "ablation_effect") and row.loss == "train"]
    assert not any(tag.startswith("cis/") for tag in scalars(rows))
    assert pd.Series(list(scalars(rows))).is_unique
