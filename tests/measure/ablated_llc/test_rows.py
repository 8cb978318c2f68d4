"""The LLC under ablation against exact changes, on any number of processes, and what is told where it cannot be."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.truth.smooth_points import around, at_a_smooth_point
from llc_lightning.llc.recover import Recovery
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc import estimates
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import Row, decode_details
from llc_lightning.runtime.errors import AddressError, MeasurementError, SettingError
from llc_lightning.runtime.status import split
from tests.measure.small import ABLATED_LLC, Narrowing, Net, Stage, alone, snapshot
from tests.measure.test_measurements import plain

EXACT = AblatedLLCPlan(
    components=("one[0]",),
    methods=("zero",),
    n_beta=(1e4,),
    gamma=1.0,
    settings=ChainSettings(chains=16, burn_in=600, draws=900),
    closure=True,
)


def of_component(rows: list[Row]) -> dict[str, Row]:
    return {row.quantity: row for row in rows if row.component}


@pytest.mark.parametrize(("sizes", "change"), [((4, 3, 4, 2), -1.0), ((4, 2, 4, 2), -2.5)])
def test_removing_a_unit_changes_the_coefficient_as_the_theory_says(
    sizes: tuple[int, int, int, int], change: float
) -> None:
    """The coefficients of reduced-rank regression before and after (Aoyagi and Watanabe 2005), redundant and needed."""
    rows = of_component(measure(EXACT, at_a_smooth_point(*sizes)).rows)
    shift, closure = rows["llc_shift"], rows["recovery_closure"]
    assert shift.value == pytest.approx(change, abs=3 * shift.stderr)
    assert shift.stderr < 0.15
    assert shift.stderr < 0.9 * decode_details(shift.details)["stderr_unpaired"]
    assert closure.value == pytest.approx(0, abs=0.1 + 3 * closure.stderr)
    assert rows["recovery_gap_plain"].value >= rows["recovery_gap"].value > 0


def test_holding_weights_takes_off_what_they_add() -> None:
    """On a quadratic the weights' own coefficient, exactly; a control by the same random numbers."""

    class Bowl(nn.Module):
        """Losses (w - x)^2 h / 2 whose mean is a bowl at w = 9, one weight steeper than the other by its factor."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(1, 4, bias=False, dtype=torch.float64)
            self.read = nn.Identity()
            nn.init.constant_(self.one.weight, 9.0)

        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            steep = torch.tensor([0.1, 0.5, 2.0, 8.0], dtype=torch.float64)
            return (steep * (self.read(self.one(batch[0])) - batch[1]).square()).sum(-1) / 2

    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = (torch.ones(64, 1, dtype=torch.float64), 9 + x - x.mean(0))
    n_beta, gamma = 100.0, 10.0
    plan = replace(
        EXACT, components=("one[0]", "one[2]"), n_beta=(n_beta,), gamma=gamma, closure=False, complement=True
    )
    rows = measure(plan, Snapshot.of(Bowl(), data, run="bowl/version_0", seed=0, step=1, epoch=0)).rows
    for address, steep in (("one[0]", 0.1), ("one[2]", 2.0)):
        (found,) = [row for row in rows if (row.quantity, row.component) == ("complement_shift", address)]
        own = n_beta * steep / (n_beta * steep + gamma) / 2
        assert found.value == pytest.approx(-own, abs=3 * found.stderr + 0.01), address
        assert (found.status, found.stderr < 0.1) == ("ok", True)


class Sum(nn.Module):
    """Least squares in two linear maps, of which one is to be replaced by a number."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.one, self.two = (nn.Linear(2, 1, bias=False, dtype=torch.float64) for _ in range(2))
        with torch.no_grad():
            self.one.weight.copy_(w[None, :2])
            self.two.weight.copy_(w[None, 2:])

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return 0.5 * ((self.one(x[:, :2]) + self.two(x[:, 2:]))[:, 0] - y).square()


@pytest.mark.parametrize("method", ["zero", "mean"])
def test_a_free_constant_is_one_more_weight(method: str) -> None:
    """On a quadratic the coefficient in closed form, wherever the constant starts."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=stream, dtype=torch.float64) + torch.tensor([1.0, 0.0, 0.5, 0.0])
    w = torch.tensor([1.0, -0.5, 0.7, 0.3], dtype=torch.float64)
    data = (x, x @ w + 0.1 * torch.randn(64, generator=stream, dtype=torch.float64))
    n_beta, gamma = 100.0, 10.0
    of_quadratic = {"settings": ChainSettings(chains=16, burn_in=100, draws=500), "n_beta": (n_beta,), "gamma": gamma}
    plan = replace(EXACT, components=("one",), methods=(method,), closure=False, joint=True, **of_quadratic)
    rows = of_component(measure(plan, Snapshot.of(Sum(w), data, run="sum/version_0", seed=0, step=1, epoch=0)).rows)

    def exact(design: Tensor) -> float:
        curvature = n_beta * torch.linalg.eigvalsh(design.T @ design / len(x))
        return float((curvature / (curvature + gamma)).sum()) / 2

    free = torch.cat([x[:, 2:], torch.ones(64, 1, dtype=torch.float64)], 1)
    joint, ablated = rows["llc_joint"], rows["llc_ablated"]
    assert (joint.status, ablated.status) == ("ok", "ok")
    assert joint.value == pytest.approx(exact(free), abs=3.5 * joint.stderr)
    assert exact(free) - exact(x[:, 2:]) > 10 * joint.stderr
    assert rows["joint_shift"].value == pytest.approx(exact(free) - exact(x), abs=3.5 * rows["joint_shift"].stderr)
    y = data[1][:, None]
    left = [((each @ torch.linalg.lstsq(each, y).solution - y).square().mean() / 2).item() for each in (free, x[:, 2:])]
    gains = rows["recovery_gap_joint"].value - rows["recovery_gap_plain"].value
    if method == "zero":  # both begin at the same loss
        assert gains == pytest.approx(left[1] - left[0], rel=1e-4)
    else:
        assert gains > 0


def test_a_free_constant_needs_a_constant() -> None:
    with pytest.raises(MeasurementError, match=r"another value for each example"):
        measure(replace(ABLATED_LLC, methods=("resample",), joint=True), snapshot())


def test_an_ablated_saddle_is_flagged() -> None:
    """At an aligned w* no gradient leads away from the ablated model's saddle: R is 0, and the value means nothing."""
    eye = torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64))
    plan = replace(EXACT, components=("one[1]",), closure=False)
    rows = of_component(measure(plan, around(eye, eye)).rows)
    assert rows["recovery_gap"].value == pytest.approx(0, abs=1e-9)
    assert split(rows["llc_ablated"].status)
    assert split(rows["llc_shift"].status)


def test_rows_of_the_control_of_each_ablation_and_nothing_else() -> None:
    rows = alone(ABLATED_LLC).rows
    control = [row for row in rows if not row.component]
    assert [(row.quantity, row.method, row.params_moved) for row in control] == [
        ("llc_ablated", "", "all"),
        ("recovery_gap", "", "all"),
        ("recovery_gap_plain", "", "all"),
    ]
    others = [row for row in rows if row.component]
    assert len(others) == 3 * (2 * 6 + 2)
    assert {(row.component, row.method) for row in others} == {
        (f"hook_two[{unit}]", method) for unit in range(3) for method in ("zero", "resample", "")
    }
    assert {row.params_moved for row in others} == {f"all-hook_two[{unit}]" for unit in range(3)}
    assert len({row.key for row in rows}) == len(rows)
    assert all(math.isfinite(row.stderr) for row in rows if math.isfinite(row.value))


def test_a_closure_has_a_revision_of_its_own() -> None:
    """Chains around the trained weights begin elsewhere than they did; the other rows of a job are what they were."""
    rows = [row for row in alone(ABLATED_LLC).rows if row.component and row.method == "zero"]
    closing = {(row.revision, row.settings) for row in rows if row.quantity in ("llc_unrecovered", "recovery_closure")}
    others = {(row.revision, row.settings) for row in rows} - closing
    assert len(closing) == len(others) == 1
    assert min(closing)[0] == min(others)[0] + 1
    assert ABLATED_LLC.revision == replace(ABLATED_LLC, closure=False).revision + 1  # measured again, it is a new part


def test_chains_around_trained_weights_need_not_find_the_way_to_the_minimum() -> None:
    """A ravine whose floor falls so gently that a few steps get nowhere: the numbers close all the same."""

    class Ravine(nn.Module):
        """A steep weight at its minimum, and a gentle one that is there thanks to a third."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(1, 3, bias=False, dtype=torch.float64)
            self.read = nn.Identity()
            with torch.no_grad():
                self.one.weight.copy_(torch.tensor([[3.0], [1.0], [-1.0]]))

        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            w = self.read(self.one(batch[0]))
            gentle = w[..., 1] + w[..., 2]  # 0 with the third, 1 without it
            return w[..., 0].sub(3).square() * 50 + gentle.square() / 2 + 0 * batch[1]

    plan = replace(
        EXACT, components=("one[2]",), n_beta=(100.0,), gamma=1.0,
        settings=ChainSettings(chains=16, burn_in=50, draws=200),
    )  # fmt: skip
    data = (torch.ones(8, 1, dtype=torch.float64), torch.zeros(8, dtype=torch.float64))
    at = Snapshot.of(Ravine(), data, run="ravine/version_0", seed=0, step=1, epoch=0)
    rows = of_component(measure(plan, at).rows)
    closure = rows["recovery_closure"]
    assert "not-a-minimum" not in rows["llc_unrecovered"].status + closure.status  # by definition it is none
    assert 100 * rows["recovery_gap"].value == pytest.approx(50 * (1 - (1 / 101) ** 2), abs=1e-3)
    assert closure.value == pytest.approx(0, abs=3 * closure.stderr)
    assert closure.stderr < 1


def test_a_closure_that_is_missed_is_told() -> None:
    """A valley that is flat where it begins and narrow where it ends: its curvatures are not alike."""
    chains = ChainSettings(chains=8, burn_in=200, draws=1000)
    plan = replace(EXACT, components=("one[2]",), n_beta=(1000.0,), gamma=1000.0, settings=chains)
    rows = measure(plan, Narrowing.snapshot()).rows
    closure = of_component(rows)["recovery_closure"]
    assert abs(closure.value) > 2 * closure.stderr
    assert "not-closed" in closure.status


def test_any_number_of_processes_gives_the_same_rows() -> None:
    first, *others = Stage(2).play(lambda workers: measure(ABLATED_LLC, snapshot(), workers=workers))
    assert plain(first.rows) == plain(alone(ABLATED_LLC).rows)
    assert not any(other.rows for other in others)


def test_a_re_optimisation_that_is_too_short_is_told() -> None:
    chains = replace(ABLATED_LLC.settings, step_size=1e-7)
    plan = replace(ABLATED_LLC, components=("hook_two[0]",), n_beta=(1e4,), budget=10, closure=False, settings=chains)
    rows = of_component(measure(plan, snapshot()).rows)
    for quantity in ("llc_ablated", "llc_shift", "recovery_gap"):
        assert "not-recovered" in rows[quantity].status, quantity


@pytest.mark.parametrize("tilt", [0.0, 1e-3])
def test_a_re_optimisation_that_ends_elsewhere_by_the_last_digits_is_told(tilt: float) -> None:
    """Every weight is beside the ridge between two valleys; only with a tilt is one of them lower."""
    beside = torch.tensor(0.1).item() + torch.finfo(torch.float32).eps / 40  # nearer than the next number

    class Ridges(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(1, 8, bias=False)
            self.read = nn.Identity()
            nn.init.constant_(self.one.weight, beside)

        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            away = self.read(self.one(batch[0])).double() - beside + 0 * batch[1]
            return ((away.abs() - 1).square() + tilt * away**3).sum(-1)

    plan = replace(EXACT, components=("one[0]",), n_beta=(1e4,), gamma=1e4, closure=False, complement=True)
    plan = replace(plan, settings=ChainSettings(chains=4, burn_in=50, draws=50))
    rows = measure(
        plan,
        Snapshot.of(Ridges(), (torch.ones(8, 1), torch.zeros(8, 1)), run="ridges/version_0", seed=0, step=1, epoch=0),
    ).rows
    flagged = {row.quantity for row in rows if "several-minima" in row.status}
    assert flagged == ({"llc_ablated", "llc_shift", "llc_complement", "complement_shift"} if tilt else set())


def test_rounding_and_what_is_frozen_make_no_other_minimum() -> None:
    """A linear regression has one minimum; the last digit of what is frozen is worth many nats here."""

    class Regression(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(8, 4, bias=False)
            self.read = nn.Identity()
            self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return (self.read(self.one(batch[0])) - batch[1]).square().sum(-1) + (1000 * self.frozen - 999).square()

    plan = replace(EXACT, n_beta=(1e9,), gamma=1e9, closure=False)
    plan = replace(plan, settings=ChainSettings(chains=2, burn_in=5, draws=5))
    random = torch.Generator().manual_seed(0)
    examples = torch.randn(500, 8, generator=random), 3 * torch.randn(500, 4, generator=random)
    rows = measure(plan, Snapshot.of(Regression(), examples, run="one/version_0", seed=0, step=1, epoch=0)).rows
    assert not [row.quantity for row in rows if "several-minima" in row.status]


def test_a_loss_that_is_no_number_has_failed_rows_and_no_exception() -> None:
    net = Net()
    with torch.no_grad():
        next(iter(net.parameters())).fill_(math.nan)
    rows = measure(ABLATED_LLC, snapshot(net)).rows
    assert rows
    assert all(math.isnan(row.value) and row.status != "ok" for row in rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("weight_zero",)}, r"'weight_zero' edits weights, and .*"),
        ({"methods": ()}, r"methods is empty; give at least one\."),
        ({"budget": 3}, r"budget is 3; .*"),
        ({"gamma": -1.0}, r"gamma is -1\.0; .*"),
        ({"examples": 0}, r"examples is 0; .*"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(ABLATED_LLC, **changes)  # pyright: ignore[reportArgumentType]


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(MeasurementError, match=r"examples is 65, but there are 64 .*"):
        measure(replace(ABLATED_LLC, examples=65), snapshot())
    with pytest.raises(AddressError, match=r"'all' has no activation.*"):
        replace(ABLATED_LLC, components=("all",)).components_of(Net())


def test_a_re_optimisation_that_by_the_last_digits_ends_nowhere_is_infinitely_far() -> None:
    def ended(*losses: float) -> Recovery:
        return Recovery({"w": torch.ones(1)}, torch.tensor(losses), torch.zeros(len(losses)), left=0.0, iterations=1)

    assert estimates._apart(ended(1.0, 2.0), ended(1.0, math.nan)) == math.inf
    assert math.isnan(estimates._apart(ended(1.0, math.nan), ended(1.0, 2.0)))  # told as what it is
    assert estimates._apart(ended(1.0, 2.0), ended(1.0, 2.5)) == pytest.approx(0.25, rel=1e-6)
