"""What the benchmark of the LLC under ablation calls off, closed and smooth."""

from math import exp, inf, nan

import pytest

from benchmarks.truth.smooth_points import at_a_smooth_point, softest
from benchmarks.under_ablation.closure import Closed, alike
from benchmarks.under_ablation.curved import curved_otherwise
from benchmarks.under_ablation.misses import Off, within
from benchmarks.under_ablation.nets import Net
from benchmarks.under_ablation.removal import SIZES, exact_change
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.results.schema import Row
from tests.measure.small import Narrowing

PLACE = {"run": "net/version_0", "seed": 0, "step": 1, "epoch": 0, "settings": "s", "quantity": "llc_shift"}


def row(value: float, stderr: float) -> Row:
    return Row(**PLACE, value=value, stderr=stderr, status="ok")


def test_the_changes_are_those_of_the_theory() -> None:
    assert [exact_change(size) for size in SIZES] == [-1.0, -0.5, -1.5, -2.5, -2.5, -3.5]


@pytest.mark.parametrize(
    ("off", "errors"),
    [(Off(-0.3, 0.1), 3), (Off(0.0, 0.0), 0), (Off(1e-5, 0.0), 0), (Off(0.3, 0.0), inf), (Off(nan, 0.1), inf)],
)
def test_what_is_off_is_told_in_errors(off: Off, errors: float) -> None:
    assert off.errors == pytest.approx(errors)


def test_the_share_counts_what_is_no_number_as_missed() -> None:
    assert within([Off(0.1, 0.1), Off(0.3, 0.1), Off(nan, 0.1), Off(0.0, nan)], 2) == 0.5


@pytest.mark.parametrize(("change", "miss", "stderr"), [(-0.5, 0.0, 0.5), (0.2, 0.2, 0.3), (-1.9, -0.4, 0.5)])
def test_a_change_may_lie_between_minus_the_own_coefficient_and_0(change: float, miss: float, stderr: float) -> None:
    off = Off.outside(row(change, 0.3), row(1.5, 0.4))
    assert (off.miss, off.stderr) == (pytest.approx(miss), pytest.approx(stderr))


def test_a_component_closes_where_it_is_near_and_precise() -> None:
    assert Closed(Off(5.0, 2.5), 100.0, 0.0, "ok").kept
    assert not Closed(Off(5.0, 2.4), 100.0, 0.0, "ok").kept
    assert not Closed(Off(5.0, 3.1), 100.0, 0.0, "ok").kept
    assert Closed(Off(-5.0, 1.0), 100.0, -4.0, "ok").beside_curvature == Off(-1.0, 1.0)


def test_methods_of_which_no_pair_was_seen_are_not_called_alike() -> None:
    assert not alike("the same minimum", [], asked=0.9)
    assert alike("the same minimum", [Off(1.0, 1.0)], asked=0.9)


def test_a_valley_that_narrows_on_the_way_is_curved_otherwise() -> None:
    """The Hessian is diagonal: .01 along the valley, and across it exp(-4 along), 1 at its minimum."""
    at = Narrowing.snapshot()
    plan = AblatedLLCPlan(components=("one[2]",), methods=("zero",), n_beta=(1000.0,), gamma=1000.0)
    (component,) = plan.components_of(at.loss.module, at.data)
    across = exp(-4 * 3 / 1.01)
    assert curved_otherwise(Net("valley", at, plan), component) == pytest.approx(
        across / (across + 1) / 2 - 1 / 4, abs=1e-4
    )


def test_a_point_is_soft_where_the_unit_leaves_a_crossing_behind() -> None:
    smooth, crossing = (softest(at_a_smooth_point(5, 3, 5, 1, seed=seed), "one[0]", n_beta=1e4) for seed in (3, 14))
    assert smooth > 1 > 0.1 > crossing
