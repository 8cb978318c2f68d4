"""Phase times, and which view of a component is first."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.phases import dated, led, phase
from llc_lightning.runtime.errors import DataError, SettingError
from tests.analysis.synthetic import frame, planted_curve

STEPS = [round(step) for step in np.geomspace(10, 1000, 17)]
N_BETA, GAMMA = 100.0, 1.0
ERROR = 0.03


def grown(steps: list[int], middle: float) -> np.ndarray:
    """An effect that grows from .005 to 1 around a step."""
    return 0.005 + 0.995 / (1 + (middle / np.asarray(steps, dtype=np.float64)) ** 4)


def run(late: float, *, seed: int = 0) -> pd.DataFrame:
    """Eight components whose wrLLC is on the planted curve; that of the last one is ``late`` times as late."""
    draws = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for unit in range(8):
        one = {"component": f"a[{unit}]", "kind": "neuron"}
        middle = 60.0 + 20 * unit
        for n_beta in (N_BETA, 10 * N_BETA):
            effects = grown(STEPS, middle * (late if unit == 7 else 1.0))
            values = planted_curve(n_beta * effects) * (1 + ERROR * draws.standard_normal(len(STEPS)))
            moved = {**one, "quantity": "llc", "params_moved": f"a[{unit}]", "n_beta": n_beta, "gamma": GAMMA}
            rows += [
                {**moved, "step": step, "value": value, "stderr": ERROR * value, "chains": 4}
                for step, value in zip(STEPS, values, strict=True)
            ]
        effect = {**one, "quantity": "ablation_effect", "method": "zero"}
        rows += [
            {**effect, "step": step, "value": value, "stderr": 0.01 * value}
            for step, value in zip(STEPS, grown(STEPS, middle), strict=True)
        ]
    return frame(rows)


def test_the_phase_time_of_a_logistic_growth_is_its_middle() -> None:
    steps, values = STEPS, grown(STEPS, 120.0)
    for way in (values, 5 - values, -values):
        found = phase(steps, way, np.full(len(steps), 0.001))
        assert found is not None
        assert found.step == pytest.approx(120.0, rel=0.03)
        assert found.low <= found.since < 120 < found.until <= found.high
        assert found.inside == 4


def test_a_peak_counts_by_its_rise() -> None:
    values = np.exp(-(np.log(np.asarray(STEPS) / 100.0) ** 2))
    found = phase(STEPS, values, np.full(len(STEPS), 0.001))
    assert found is not None
    middle = (values[0] + values.max()) / 2
    assert found.step == pytest.approx(100 * np.exp(-np.sqrt(-np.log(middle))), rel=0.03)


def test_errors_widen_the_interval() -> None:
    sure, unsure = (phase(STEPS, grown(STEPS, 120.0), np.full(len(STEPS), error)) for error in (0.001, 0.2))
    assert sure is not None
    assert unsure is not None
    assert unsure.high / unsure.low > 1.5 * sure.high / sure.low


@pytest.mark.parametrize(
    ("values", "error"), [(np.linspace(0, 1, 3), 0.001), (np.linspace(0, 1, 9), 0.5), (np.ones(9), 0.0)]
)
def test_too_few_snapshots_or_too_little_movement_give_none(values: np.ndarray, error: float) -> None:
    assert phase(STEPS[: len(values)], values, np.full(len(values), error)) is None


def test_the_first_steps_and_exact_values_have_an_interval_too() -> None:
    found = phase([0, 1, 2, 4, 8], np.array([0.0, 1.0, 1.0, 1.0, 1.0]), np.zeros(5))
    assert found is not None
    assert (found.low, found.high, found.since, found.until) == (0, 1, 0, 1)


@pytest.mark.parametrize("place", ["value", "error"])
def test_what_is_not_finite_has_no_phase(place: str) -> None:
    values, errors = grown(STEPS, 120.0), np.full(len(STEPS), 0.001)
    (values if place == "value" else errors)[3] = np.inf
    assert phase(STEPS, values, errors) is None


def test_halves_on_both_sides_of_one_snapshot_are_not_resolved() -> None:
    early, late = (phase([10, 20, 40, 80], np.array([0.0, at, 1.0, 1.0]), np.zeros(4)) for at in (0.501, 0.499))
    assert early is not None
    assert late is not None
    assert early.until == late.since == 20
    assert not early.high < late.low


def test_flagged_snapshots_are_left_out_and_counted() -> None:
    flagged = run(1.0)
    early = (flagged["step"] == STEPS[0]) & (flagged["quantity"] == "llc") & (flagged["component"] == "a[0]")
    flagged.loc[early, "status"] = "not-mixed"
    found = led(flagged, n_beta=N_BETA, gamma=GAMMA)
    assert (found[0].first, found[0].left_out) == (STEPS[1], 1)
    assert (found[1].first, found[1].left_out) == (STEPS[0], 0)


def test_several_settings_are_refused() -> None:
    twice = run(1.0)
    more = twice.loc[twice["quantity"] == "llc"].assign(settings="others")
    with pytest.raises(DataError, match=r"the wrLLC of 'a\[0\]' was measured under several settings"):
        led(pd.concat([twice, more], ignore_index=True), n_beta=N_BETA, gamma=GAMMA)


def test_what_follows_the_curve_does_not_lead() -> None:
    found = led(run(1.0), n_beta=N_BETA, gamma=GAMMA)
    assert [one.component for one in found] == [f"a[{unit}]" for unit in range(8)]
    assert {one.verdict for one in found} == {"not resolved"}
    for one in found:
        assert one.ratio == pytest.approx(1.0, abs=0.15)
        # A saturating curve reaches its half before the effect does: no lead.
        assert one.llc.step < one.effect.step


@pytest.mark.parametrize(("late", "verdict"), [(3.0, "the LLC lags"), (1 / 3, "the LLC leads")])
def test_a_component_that_is_off_the_curve_leads_or_lags(late: float, verdict: str) -> None:
    found = led(run(late), n_beta=N_BETA, gamma=GAMMA)
    assert found[-1].verdict == verdict
    assert {one.verdict for one in found[:-1]} == {"not resolved"}


def test_a_resolution_that_was_not_measured_is_refused_or_empty() -> None:
    assert led(run(1.0), n_beta=7.0, gamma=GAMMA) == []
    with pytest.raises(SettingError, match="no wrLLC was measured at gamma 2"):
        led(run(1.0), n_beta=N_BETA, gamma=2.0)


def test_a_component_without_points_that_count_is_not_dated() -> None:
    table = run(1.0)
    table.loc[table["component"] == "a[3]", "status"] = "not-mixed"
    assert "a[3]" not in {one.component for one in led(table, n_beta=N_BETA, gamma=GAMMA)}


def test_scatter_that_hides_what_the_effect_lets_expect_resolves_nothing() -> None:
    rows = run(1.0)
    scattered = np.asarray(rows["quantity"] == "llc") & np.asarray(rows["component"] != "a[0]")
    factors = np.exp(np.random.default_rng(1).normal(0.0, 1.5, len(rows)))
    rows = rows.assign(value=np.where(scattered, rows["value"] * factors, rows["value"]))
    one = next(one for one in led(rows, n_beta=N_BETA, gamma=GAMMA) if one.component == "a[0]")
    assert one.expected is None
    assert np.isnan(one.ratio)
    assert one.verdict == "not resolved"


def test_every_view_dates_the_net_and_counts_what_is_not_ok() -> None:
    rows = run(1.0)
    loss = [
        {"quantity": "loss", "step": step, "value": value, "stderr": 0.001, "n_examples": 100}
        for step, value in zip(STEPS, 3 - 2 * grown(STEPS, 200.0), strict=True)
    ]
    fewer = [{**one, "value": 9.0, "n_examples": 10} for one in loss]
    peak = np.exp(-(np.log(np.asarray(STEPS) / 100.0) ** 2))
    whole = [
        {"quantity": "llc", "params_moved": "all", "step": step, "value": 50 * value, "stderr": 0.1, "chains": 4,
         "n_beta": n_beta, "gamma": GAMMA, "status": "not-local" if step > 300 else "ok"}
        for n_beta in (1.0, N_BETA)
        for step, value in zip(STEPS, n_beta * peak, strict=True)
    ]  # fmt: skip
    views = {one.view: one for one in dated(pd.concat([rows, frame([*loss, *fewer, *whole])], ignore_index=True))}
    views = {name.split(" (")[0]: one for name, one in views.items()}
    assert list(views) == ["loss", "LLC", "mean wrLLC", "mean zero effect"]
    assert views["loss"].phase is not None
    assert views["loss"].phase.step == pytest.approx(200.0, rel=0.03)
    assert views["LLC"].phase is not None
    assert views["LLC"].phase.farthest == 100
    assert views["LLC"].flagged == sum(step > 300 for step in STEPS)
    assert views["mean wrLLC"].phase is not None
    assert views["mean zero effect"].phase is not None
    assert views["mean zero effect"].snapshots == len(STEPS)
    assert views["mean wrLLC"].phase.step < views["mean zero effect"].phase.step  # its curve saturates


def test_a_view_that_was_not_measured_dates_nothing() -> None:
    rows = run(1.0)
    assert [one.view for one in dated(rows.loc[rows["quantity"] == "llc"])] == ["mean wrLLC (n_beta 1000, gamma 1)"]
    assert dated(rows.loc[rows["quantity"] == "loss"]) == []


def test_a_component_without_a_value_at_some_snapshot_is_left_out_of_the_mean() -> None:
    rows = run(1.0)
    gone = (rows["quantity"] == "llc") & (rows["component"] == "a[3]") & (rows["step"] == STEPS[8])
    (whole,) = dated(rows.loc[rows["quantity"] == "llc"])
    (found,) = dated(rows.assign(value=rows["value"].mask(gone)).loc[rows["quantity"] == "llc"])
    assert (whole.left_out, found.left_out, found.snapshots) == (0, 1, len(STEPS))
    assert found.values == whole.values - len(STEPS)


def test_several_settings_of_one_view_are_refused() -> None:
    rows = run(1.0)
    llc = rows.loc[rows["quantity"] == "llc"]
    with pytest.raises(DataError, match=r"mean wrLLC .* was measured under several settings"):
        dated(pd.concat([llc, llc], ignore_index=True))
