"""The headline curve."""

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.curve import fit_curve, headline_points
from llc_lightning.runtime.errors import SettingError
from tests.analysis.synthetic import RUNGS, STEPS, SyntheticRun, planted_curve


def test_the_planted_curve_is_found(superposed: pd.DataFrame) -> None:
    curve = fit_curve(superposed)
    assert curve is not None
    assert curve.n == 32 * len(RUNGS) * sum(step >= 150 for step in STEPS)
    assert curve.r2 > 0.97 > 0.93 > curve.r2_n_beta
    at = np.geomspace(2, 40, 30)
    np.testing.assert_allclose(curve(at), planted_curve(at), rtol=0.04)
    assert curve.residual_sd == pytest.approx(0.1, abs=0.02)
    assert curve.sampling_sd == pytest.approx(0.04, abs=0.015)


def test_without_scatter_the_curve_explains_nearly_all() -> None:
    quiet = fit_curve(SyntheticRun(scatter=0.0, odd_one=None).table())
    assert quiet is not None
    assert quiet.r2 > 0.995
    assert quiet.residual_sd == pytest.approx(quiet.sampling_sd, rel=0.25)


def test_the_odd_neuron_is_named_first(superposed: pd.DataFrame) -> None:
    curve = fit_curve(superposed)
    assert curve is not None
    first, second, *_ = curve.largest_residuals()
    assert first.component == "net.hook_hidden[8]"
    assert first.step == 155
    assert first.ratio == pytest.approx(3, rel=0.25)
    assert first.sigmas > 5
    assert first.ratio == pytest.approx(first.llc / first.expected)
    assert abs(np.log(second.ratio)) < abs(np.log(first.ratio))
    assert len({one.component for one in curve.largest_residuals(32)}) == 32


def test_rows_that_are_not_ok_change_nothing(superposed: pd.DataFrame) -> None:
    spoilt = superposed.copy()
    flagged = (spoilt["quantity"] == "llc") & (spoilt["status"] != "ok")
    spoilt.loc[flagged, "value"] = 1e6
    before, after = fit_curve(superposed), fit_curve(spoilt)
    assert before is not None
    assert after is not None
    assert before.r2 == after.r2
    assert after.points.loc[~after.points["ok"], "residual"].isna().all()


def test_negative_effects_are_shown_but_not_fitted(superposed: pd.DataFrame) -> None:
    turned = superposed.copy()
    one = (turned["quantity"] == "ablation_effect") & (turned["component"] == "net.hook_hidden[5]")
    turned.loc[one, "value"] *= -1
    points = headline_points(turned)
    assert not points.loc[points["component"] == "net.hook_hidden[5]", "ok"].any()
    assert points["ok"].sum() == headline_points(superposed)["ok"].sum() * 31 // 32


def test_other_methods_and_kinds_can_be_asked_for(superposed: pd.DataFrame) -> None:
    by_mean = fit_curve(superposed, method="mean")
    assert by_mean is not None
    assert by_mean.method == "mean"
    assert len(headline_points(superposed, kind="layer")) == 2 * len(RUNGS) * len(STEPS)


def test_too_few_points_give_no_curve(superposed: pd.DataFrame) -> None:
    assert fit_curve(superposed.loc[superposed["step"] < 100]) is None
    assert fit_curve(superposed.iloc[:0]) is None


def test_an_unmeasured_gamma_is_an_error(superposed: pd.DataFrame) -> None:
    with pytest.raises(SettingError, match=r"gamma 7; choose one of \[10\.0\]"):
        fit_curve(superposed, gamma=7.0)
