"""The figures of a run: what they show and what they say."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.correlation import Correlation
from llc_lightning.report.events import Logged
from llc_lightning.report.interactive import plotly_figure
from llc_lightning.report.panel import Matrix, Panel
from llc_lightning.report.panels.circuits import accuracy, circuits, sharing
from llc_lightning.report.panels.curves import half_dimension, short_names
from llc_lightning.report.panels.effects import effects, roles
from llc_lightning.report.panels.headline import agreement, headline, matched
from llc_lightning.report.panels.llc import full_llc, restricted_llc
from llc_lightning.report.panels.training import training
from llc_lightning.report.sections import PANELS, Findings, View, find, sections
from llc_lightning.report.source import Source
from tests.analysis.synthetic import METHODS, RUNGS, STEPS, SyntheticRun, frame

EMPTY = Logged({}, 0.0)


def by_name(panel: Panel) -> dict[str, np.ndarray]:
    return {one.name: one.y for one in panel.series if one.name}


def test_the_headline_shows_every_positive_point_and_the_curve(found: Findings) -> None:
    panel = headline(found)
    assert panel is not None
    assert found.curve is not None
    assert f"explains {100 * found.curve.within:.0f} % over training, " in panel.title
    assert f"{100 * found.curve.within_last:.0f} % at step 3000 alone" in panel.title
    *rungs, curve = panel.series
    assert [one.name for one in rungs] == [f"n_beta {rung:g}" for rung in RUNGS]
    assert sum(int(one.good.sum()) for one in rungs) == found.curve.n
    assert sum(int(one.hollow.sum()) for one in rungs) == 12 * 3 * sum(step < 150 for step in STEPS) - 1
    assert (np.diff(curve.y) >= 0).all()
    assert next(note.text for note in panel.notes) == "net.hook_hidden[8] @ 155"
    assert panel.rules[0].y == 97 / 2
    assert len(set(one.marker for one in rungs)) == 3


def test_points_are_named_above_the_curve_or_below_it(found: Findings) -> None:
    panel = headline(found, named=6)
    assert panel is not None
    assert len(panel.notes) == len(panel.places) == 6
    beside = [(place.up > 0, note) for place, note in zip(panel.places, panel.notes, strict=True)]
    at_the_edge = [note.y < 1.5 * panel.y_limits[0] for _, note in beside]
    assert sum(at_the_edge) == 1, "one has no room below it"
    assert [up != note.above for up, note in beside] == at_the_edge


def test_matched_units_show_each_method_with_intervals(found: Findings) -> None:
    panel = matched(found)
    assert panel is not None
    assert [one.name.split(":")[0] for one in panel.series] == list(METHODS)
    zero = panel.series[0]
    assert len(zero.x) == 12
    assert zero.low is not None
    assert (zero.low < zero.y).all()


def test_agreement_is_shown_where_rows_are_ok(found: Findings) -> None:
    panel = agreement(found)
    assert panel is not None
    assert len(panel.series[0].x) == sum(step >= 150 for step in STEPS)
    assert panel.y_limits[1] > 1


def test_agreement_is_not_shown_where_most_units_are_left_out(found: Findings) -> None:
    first, *others = found.agreements
    few = replace(first, units=5, left_out=7)
    panel = agreement(replace(found, agreements=(few, *others)))
    assert panel is not None
    assert len(panel.series[0].x) == len(others)


def test_the_full_llc_is_shown_raw_and_corrected(found: Findings) -> None:
    (panel,) = full_llc(found)
    curves = by_name(panel)
    assert set(curves) == {"raw", "raw + Delta"}
    assert curves["raw"][0] < -5000
    assert curves["raw + Delta"][0] > 400
    assert panel.series[0].good.sum() == sum(step >= 700 for step in STEPS)
    low, high = panel.y_limits
    assert -100 < low < 0
    assert 300 < high < 450, "early values that are not ok move no limit"
    assert panel.outside > 0
    assert re.search(
        r"The full LLC is 275 ± 4 at step 3000. From step 30: raw -1417 → 275, with Delta 421 → 276", panel.title
    )


def test_units_are_bundled_and_layers_named(found: Findings) -> None:
    (units,), (layers,) = restricted_llc(found, "neuron"), restricted_llc(found, "layer")
    assert [one.name for one in units.series] == [name for rung in RUNGS for name in ("", f"n_beta {rung:g}, median")]
    bundle, median = units.series[:2]
    assert bundle.group == median.name
    assert np.isnan(bundle.y).sum() == 12, "a break after each neuron"
    assert len(layers.series) == 2 * len(RUNGS)
    assert layers.series[0].name == "net.hook_hidden, n_beta 100"
    assert len({(one.color, one.dash) for one in layers.series}) == len(layers.series)


def test_a_failed_row_is_not_drawn(found: Findings) -> None:
    (units,) = restricted_llc(found, "neuron")
    highest = units.series[4]
    assert np.isnan(highest.y).sum() == 12 + 1
    assert not any("nan" in text for text in highest.hover)


def test_titles_say_how_few_a_median_is_of(found: Findings) -> None:
    rows = found.trajectories.copy()
    last, rest = rows["step"] == STEPS[-1], rows["component"] != "net.hook_hidden[3]"
    rows.loc[last & rest & (rows["n_beta"] == RUNGS[0]), "status"] = "not-local"
    rows.loc[last & (rows["n_beta"] == RUNGS[1]), "status"] = "not-local"
    rows.loc[last & rest & (rows["method"] == "zero"), "status"] = "error"
    few = replace(found, trajectories=rows)
    (llc,), (ablated,) = restricted_llc(few, "neuron"), effects(few, "neuron")
    assert f"(1 of 12 ok) at n_beta {RUNGS[0]:g}, " in llc.title
    assert f"(step {STEPS[-2]}) at n_beta {RUNGS[1]:g}, " in llc.title
    assert llc.title.count("(") == 2
    assert ablated.title.count("(1 of 12 ok)") == 1
    (every,) = restricted_llc(found, "neuron")
    assert "ok" not in every.title


def test_effects_of_a_single_step_have_bars(found: Findings) -> None:
    rows = found.trajectories[found.trajectories["step"] == STEPS[-1]]
    (panel,) = effects(replace(found, trajectories=rows), "neuron")
    assert sum(int(one.barred.sum()) for one in panel.series) == 12 * len(METHODS)
    assert all(one.dots.any() or one.marker for one in panel.series)


def test_effects_have_one_colour_for_each_method(found: Findings) -> None:
    (units,), (layers,) = effects(found, "neuron"), effects(found, "layer")
    colors = {one.name.split(",")[0]: one.color for one in units.series if one.name}
    assert list(colors) == list(METHODS)
    assert len(set(colors.values())) == 4
    assert {one.color for one in layers.series if "zero" in one.name} == {colors["zero"]}


def test_roles_sum_to_one_at_each_step(found: Findings) -> None:
    panel = roles(found)
    assert panel is not None
    np.testing.assert_allclose(panel.values.sum(axis=0), 1)
    assert panel.columns[0] == "0"
    assert panel.rows == tuple(str(unit) for unit in range(12))


def test_units_of_two_hook_points_have_names_of_their_own(found: Findings) -> None:
    twice = [
        found.trajectories.assign(
            component=[
                name.replace("net.hook_hidden[", f"blocks.{block}.mlp.hook_post[")
                for name in found.trajectories["component"]
            ]
        )
        for block in range(2)
    ]
    panel = roles(replace(found, trajectories=pd.concat(twice)))
    assert panel is not None
    assert panel.rows == tuple(f"blocks.{block}[{unit}]" for block in range(2) for unit in range(12))
    assert len(set(plotly_figure(panel)["data"][0]["y"])) == 24


def test_short_names_tell_addresses_apart() -> None:
    assert short_names([]) == ()
    assert short_names(["net.h[0]+net.h[1]", "net.h[0]+net.h[2]"]) == ("0+1", "0+2")
    assert short_names(["net.hook_in[0]", "net.hook_out[0]"]) == ("hook_in[0]", "hook_out[0]")
    assert short_names(["h.0.z[1]+h.1.z[2]", "h.0.z[1]+h.2.z[2]"]) == ("h.0[1]+h.1[2]", "h.0[1]+h.2[2]")
    assert short_names(["net.h@1", "net.h[1]@1", "net.h{a+b.npy}"]) == ("@1", "1@1", "{a+b.npy}")
    assert short_names(["net.h[0]", "net.h.z[0]"]) == ("h[0]", "h.z[0]")


def test_steps_of_noise_have_no_roles(found: Findings) -> None:
    rows = found.trajectories.copy()
    noise = (rows["quantity"] == "ablation_effect") & (rows["step"] == 30)
    rows.loc[noise, "stderr"] = 1.0
    panel = roles(replace(found, trajectories=rows))
    assert panel is not None
    assert np.isnan(panel.values[:, 1]).all()
    assert np.isfinite(panel.values[:, [0, 2]]).all()
    rows.loc[rows["quantity"] == "ablation_effect", "stderr"] = 1e6
    assert roles(replace(found, trajectories=rows)) is None


def test_circuits_are_shown_beside_the_control(source: Source, control: Source) -> None:
    panel = circuits(source.found, control=control.found)
    assert panel is not None
    assert list(by_name(panel)) == ["circuits solved", "circuits per neuron", "circuits solved, cis_mse/version_0"]
    assert panel.rules[0].y == 6
    assert "12 of 12 circuits are solved" in panel.title
    both = accuracy(source.found, control=control.found)
    assert both is not None
    assert list(by_name(both)) == ["cis/version_0", "cis_mse/version_0"]


def test_an_accuracy_that_falls_again_is_said(found: Findings) -> None:
    rows = found.over_training.copy()
    last = (rows["quantity"] == "accuracy") & (rows["step"] == 3000)
    rows.loc[last, "value"] = 0.85
    panel = accuracy(replace(found, over_training=rows))
    assert panel is not None
    assert panel.title.endswith("cis/version_0 ends at 0.850 after 0.993 at step 2159")


def test_the_matrix_draws_no_negative_effect(found: Findings) -> None:
    panel = sharing(found)
    assert panel is not None
    assert panel.values.shape == (12, 12)
    assert (panel.values >= 0).all()
    assert panel.columns[:2] == panel.rows[:2] == ("0", "1")
    assert panel.hover[0][1].startswith("net.hook_hidden[0], circuit:01, mean, step ")


def test_training_shows_both_runs_and_the_best_baseline(source: Source, control: Source) -> None:
    fourth, square = training(source.found, source.logged.loss, control=(control.found, control.logged.loss))
    whose = "cis_mse/version_0"
    assert list(by_name(fourth)) == ["training batches", "analysis set", f"analysis set, {whose}"]
    assert list(by_name(square)) == ["analysis set", f"training batches, {whose}", f"analysis set, {whose}"]
    assert [panel.y.unit for panel in (fourth, square)] == ["error^4 / q", "error^2 / q"]
    assert len(by_name(fourth)["training batches"]) == 300
    assert {panel.rules[0].label for panel in (fourth, square)} == {"best baseline (dedicated): 0.5"}
    assert "0.1421 ± 0.0014 at step 3000" in fourth.title
    assert "not trained on" in square.title


def test_long_training_curves_are_thinned_from_both_ends(found: Findings) -> None:
    steps = np.arange(100_000.0)
    panel = training(found, pd.DataFrame({"step": steps, "value": np.exp(-steps / 1e5)}))[0]
    shown = panel.series[0].x
    assert len(shown) <= 800
    assert shown[-1] == 99_999
    assert (np.diff(shown) > 0).all()


def test_a_young_run_has_the_figures_that_it_can_have(young: Source) -> None:
    every = sections(young.found, young.logged)
    assert list(every) == ["Training", "Learning coefficients", "Ablation effects", "Circuits"]
    (full,) = full_llc(young.found)
    assert full.title == "The full LLC is not ok at any step"
    assert full.series[0].good.sum() == 0


def test_a_net_without_circuits_has_no_figures_about_them(plain_net: Findings) -> None:
    every = sections(plain_net, EMPTY)
    assert list(every) == ["Training"]
    assert "training" in [panel.name for panel in every["Training"]]


def test_an_empty_run_has_no_figures() -> None:
    assert sections(find(SyntheticRun(steps=()).table(), run="empty"), EMPTY) == {}


def test_names_are_unique_and_titles_are_sentences(source: Source, control: Source) -> None:
    every = sections(source.found, source.logged, control=(control.found, control.logged))
    panels = [panel for some in every.values() for panel in some]
    view = View(source.found, source.logged, control=View(control.found, control.logged))
    drawn = [panel.name for _, entry in PANELS.items() for panel in entry.item(view) if panel is not None]
    assert sorted(set(drawn)) == sorted(panel.name for panel in panels)
    assert set(drawn) >= {
        *("headline", "matched", "agreement", "training", "accuracy", "stages", "full-llc-10000-1000", "circuits"),
        *("llc-of-neurons", "llc-of-layers", "effects-of-neurons", "effects-of-layers", "roles", "sharing"),
        *("component-by-method", "agreement-of-methods"),
    }
    for panel in panels:
        assert re.fullmatch(r"[a-z0-9-]+", panel.name)
        assert "nan" not in panel.title.lower()
        if isinstance(panel, Matrix):
            assert panel.unit
        else:
            assert panel.y.label
            assert all(len(one.hover) in (0, len(one.x)) for one in panel.series)


def test_figures_without_control_name_no_other_run(found: Findings) -> None:
    panel = circuits(found)
    assert panel is not None
    assert len(panel.series) == 2


def test_half_the_weights_of_a_unit_are_known_though_one_of_its_chains_failed() -> None:
    llc = {"quantity": "llc", "kind": "neuron", "n_beta": 100.0}
    told = [("a", 0, 1.0, '{"dimension":97}'), ("a", 5, float("nan"), "{}"), ("b", 0, 2.0, '{"dimension":97}')]
    rows = [
        {**llc, "component": it, "params_moved": it, "step": step, "value": value, "details": text}
        | ({} if value == value else {"status": "error"})
        for it, step, value, text in told
    ]
    assert half_dimension(frame(rows), "neuron") == 48.5
    assert (
        half_dimension(frame([*rows, rows[2] | {"component": "c", "params_moved": "c", "details": "{}"}]), "neuron")
        is None
    )


def test_units_of_a_single_step_stand_in_the_order_of_their_values(found: Findings) -> None:
    """Their curves would be one column."""
    once = find(table.select(found.rows, step=STEPS[-1]), run="once")
    (units,), (by_method,) = restricted_llc(once, "neuron"), effects(once, "neuron")
    for panel, names in ((units, [f"n_beta {rung:g}" for rung in RUNGS]), (by_method, list(METHODS))):
        assert panel.x.label == "neurons in the order of their values"
        assert f"12 neurons at step {STEPS[-1]}; median " in panel.title
        assert [one.name for one in panel.series] == names
        for one in panel.series:
            assert one.x.tolist() == list(range(1, 13))
            assert (np.diff(one.y[np.isfinite(one.y)]) >= 0).all()
            assert one.barred.any()
            assert not one.line
    (layers,) = restricted_llc(once, "layer")
    assert layers.x.label == "training step", "few have a legend entry each"


def test_flagged_values_after_an_ok_one_are_in_the_figure_up_to_a_limit() -> None:
    llc = {"quantity": "llc", "kind": "all", "params_moved": "all", "n_beta": 100.0, "gamma": 1.0, "stderr": 0.1}
    told = [(10, -900.0, "not-a-minimum"), (20, 10.0, "ok"), (30, 25.0, "not-settled"), (40, 10.0, "ok")]
    rows = [{**llc, "step": step, "value": value, "status": status} for step, value, status in told]
    (panel,) = full_llc(find(frame(rows), run="one"))
    low, high = panel.y_limits
    assert -10 < low < 0, "an early one moves no limit"
    assert 25 < high < 40
    (panel,) = full_llc(find(frame([*rows, rows[2] | {"step": 50, "value": 1e6}]), run="one"))
    assert panel.y_limits[1] < 60


def test_few_components_at_one_rung_have_a_colour_each(found: Findings) -> None:
    rows = table.select(found.rows, n_beta=300.0)
    (layers,) = restricted_llc(
        replace(found, rows=rows, trajectories=table.select(found.trajectories, n_beta=300.0)), "layer"
    )
    assert [one.name for one in layers.series] == ["hook_hidden", "hook_out"]
    assert len({one.color for one in layers.series}) == 2
    assert layers.title == "wrLLC of 2 layers at n_beta 300 over training"


def test_ranks_of_too_few_units_are_told_as_such(found: Findings) -> None:
    one = found.agreement
    assert one is not None
    none = {name: Correlation(*[float("nan")] * 4, n=2) for name in one.methods}
    panel = matched(replace(found, agreement=replace(one, methods=none)))
    assert panel is not None
    assert panel.title.endswith("too few neurons are ok for a rank correlation")
    shown = agreement(found)
    assert shown is not None
    assert shown.caption.startswith("Over 12 units at each step")
