"""Posterior structure against the closed form of least squares, on any number of processes, and where chains fail."""

import functools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from llc_lightning import find_components
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.keep import keep
from llc_lightning.measure.measurements import Outcome, measure
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.arrays import list_arrays, read_arrays
from llc_lightning.runtime.errors import AddressError, SettingError, StoreError
from llc_lightning.sampling.observables.base import recorded_every
from tests.measure.small import POSTERIOR, Net, Stage, alone, snapshot
from tests.measure.test_measurements import plain

N_BETA, GAMMA = 100.0, 10.0
EXACT = PosteriorPlan(
    components=("one", "two"),
    n_beta=N_BETA,
    gamma=GAMMA,
    watched=64,
    methods=("zero", "resample"),
    look_every=1,
    kernels=True,
    settings=ChainSettings(chains=8, draws=600, burn_in=100),
)


class Squares(nn.Module):
    """Least squares in two components of three weights each."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.one, self.two = (nn.Linear(3, 1, bias=False, dtype=torch.float64) for _ in range(2))
        with torch.no_grad():
            self.one.weight.copy_(w[None, :3])
            self.two.weight.copy_(w[None, 3:])

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return 0.5 * ((self.one(x[:, :3]) + self.two(x[:, 3:]))[:, 0] - y).square()


@functools.cache
def least_squares() -> tuple[np.ndarray, np.ndarray, Outcome]:
    """Returns inputs, residuals at the minimum, and what is measured there."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6))
    y = x @ rng.normal(size=6) + 0.3 * rng.normal(size=64)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    data = (torch.tensor(x), torch.tensor(y))
    at = Snapshot.of(Squares(torch.tensor(w)), data, run="squares/version_0", seed=0, step=1, epoch=0)
    return x, x @ w - y, measure(EXACT, at)


def exact(x: np.ndarray, r: np.ndarray, columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``Cov(l_i, l_j) = r_i r_j K_ij + K_ij^2 / 2`` and ``E[e_i] = K_ii / 2``, K of some of the weights."""
    some = x[:, columns]
    sigma = np.linalg.inv(N_BETA * some.T @ some / len(x) + GAMMA * np.eye(len(columns)))
    k = some @ sigma @ some.T
    return np.outer(r, r) * k + k**2 / 2, np.diag(k) / 2


def told(name: str, *, of: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    arrays = least_squares()[2].arrays
    assert arrays is not None
    both = (np.asarray(arrays[key].values, dtype=np.float64) for key in (name, f"{name}_stderr"))
    value, stderr = (one if of is None else one[of] for one in both)
    return value, stderr


def test_the_loss_kernel_is_that_of_the_closed_form() -> None:
    x, r, _ = least_squares()
    value, stderr = told("kernel")
    covariance, gain = exact(x, r, list(range(6)))
    assert np.corrcoef(value.ravel(), covariance.ravel())[0, 1] > 0.98
    assert np.polyfit(covariance.ravel(), value.ravel(), 1)[0] == pytest.approx(1, abs=0.08)
    assert 0.8 < (np.abs(value - covariance) < 1.895 * stderr).mean() < 1  # t of 7 degrees of freedom, 90 %
    value, stderr = told("gain", of=0)
    assert (np.abs(value - gain) < 3.5 * stderr).mean() > 0.95


@pytest.mark.parametrize(("component", "columns"), [(0, [0, 1, 2]), (1, [3, 4, 5])])
def test_susceptibilities_are_those_of_the_closed_form(component: int, columns: list[int]) -> None:
    x, r, _ = least_squares()
    covariance, gain = exact(x, r, columns)
    value, stderr = told("susceptibility", of=component + 1)
    chi = covariance.mean() - covariance.mean(0)
    assert np.corrcoef(value, chi)[0, 1] > 0.9
    assert 0.8 < (np.abs(value - chi) < 1.895 * stderr).mean() <= 1
    value, stderr = told("susceptibility_published", of=component + 1)
    mean = gain.mean()  # of phi, half the trace of H Sigma
    everything = exact(x, r, list(range(6)))[1]
    published = covariance.mean() - covariance.mean(0) + mean * (mean - gain) - mean * (everything.mean() - everything)
    assert (np.abs(value - published) < 3.5 * stderr).mean() > 0.95
    kernel, error = told("restricted_kernel", of=component + 1)
    assert (np.abs(kernel - covariance) < 3.5 * error).mean() > 0.95


def test_the_functional_variance_is_the_diagonal_of_the_kernel() -> None:
    x, r, outcome = least_squares()
    row = next(row for row in outcome.rows if row.quantity == "functional_variance")
    wanted = N_BETA**2 * np.diag(exact(x, r, list(range(6)))[0]).mean()
    assert row.value == pytest.approx(wanted, abs=3.5 * row.stderr)
    assert row.value == pytest.approx(N_BETA**2 * np.diag(told("kernel")[0]).mean(), rel=1e-5)


@pytest.mark.parametrize(("component", "columns"), [("one", [0, 1, 2]), ("two", [3, 4, 5])])
def test_the_response_is_the_size_of_the_susceptibilities(component: str, columns: list[int]) -> None:
    x, r, outcome = least_squares()
    row = next(row for row in outcome.rows if (row.quantity, row.component) == ("response", component))
    covariance = exact(x, r, columns)[0]
    wanted = np.square(covariance.mean() - covariance.mean(0)).mean()
    assert row.value == pytest.approx(wanted, abs=3.5 * row.stderr)
    assert row.stderr < 0.4 * wanted


@pytest.mark.parametrize(("component", "others"), [("one", [3, 4, 5]), ("two", [0, 1, 2])])
def test_effects_under_the_posterior_are_those_of_the_closed_form(component: str, others: list[int]) -> None:
    """Means and covariances of two quadratics: without a component's output the loss is one of the other's weights."""
    x, _, outcome = least_squares()
    sigma = np.linalg.inv(N_BETA * x.T @ x / len(x) + GAMMA * np.eye(6))
    left = np.zeros_like(x)
    left[:, others] = x[:, others]
    found = {row.quantity: row for row in outcome.rows if (row.component, row.method) == (component, "zero")}
    assert found["posterior_effect"].params_moved == "all"
    hessian, ablated = (each.T @ each / len(x) for each in (x, left))
    wanted = np.trace(hessian @ sigma @ ablated @ sigma) / 2
    assert found["ablated_covariance"].value == pytest.approx(wanted, abs=3.5 * found["ablated_covariance"].stderr)
    assert found["ablated_covariance"].stderr < 0.5 * wanted
    arrays = outcome.arrays
    assert arrays is not None
    at_weights = arrays["ablation_effect"].sel(component=component, ablation="zero").values
    spread = np.einsum("ij,jk,ik->i", left, sigma, left).mean() - np.einsum("ij,jk,ik->i", x, sigma, x).mean()
    effect = found["posterior_effect"]
    assert effect.value == pytest.approx(at_weights.mean() + spread / 2, abs=3.5 * effect.stderr)
    assert abs(effect.value - at_weights.mean()) > 3.5 * effect.stderr  # which would be that of the weights


@pytest.mark.parametrize("method", ["zero", "resample(draws=1)"])
def test_effects_at_the_weights_are_those_of_the_sweep(method: str) -> None:
    at, plan = snapshot(), replace(POSTERIOR, watched=64, methods=("zero", "resample(draws=1)"))
    arrays = alone(plan).arrays
    assert arrays is not None
    wanted = sweep(at.loss, at.params, at.data, find_components(at.loss.module, "hook_two[*]"), [method], seed=at.seed)
    for effect in wanted[-3:]:
        rises = arrays["ablation_effect"].sel(component=effect.component, ablation=effect.method).values
        assert rises.mean() == pytest.approx(effect.value, abs=1e-6)


def test_tasks_have_rows_of_their_own() -> None:
    rows = alone(POSTERIOR).rows
    assert {row.loss for row in rows if row.quantity == "susceptibility"} == {"circuit:0", "circuit:1"}
    arrays = alone(POSTERIOR).arrays
    assert arrays is not None
    assert arrays["counts"].dims == ("example", "task")
    one = next(row for row in rows if row.quantity == "loss_gain" and row.component == "hook_two[0]")
    counts = arrays["counts"].sel(task=one.loss).values
    gains = arrays["gain"].sel(component=one.component).values
    assert one.value == pytest.approx(float(gains[counts].mean()), rel=1e-5)
    assert len({row.key for row in rows}) == len(rows)


def test_any_number_of_processes_gives_the_same_rows_and_arrays() -> None:
    first, *others = Stage(2).play(lambda workers: measure(POSTERIOR, snapshot(), workers=workers))
    assert plain(first.rows) == plain(alone(POSTERIOR).rows)
    xr.testing.assert_identical(first.arrays, alone(POSTERIOR).arrays)
    assert all((other.rows, other.arrays) == ([], None) for other in others)


def others(folder: Path, n: int = 12) -> tuple[Path, tuple[Tensor, ...]]:
    """Returns a file of some of the examples, and what it holds."""
    some = tuple(tensor[-n:] for tensor in snapshot().data)
    torch.save(some, folder / "others.pt")
    return folder / "others.pt", some


def test_other_examples_are_watched_while_chains_sample_the_runs_own(tmp_path: Path) -> None:
    """Of the same examples the same bits as among the run's own."""
    own = replace(POSTERIOR, watched=64, settings=replace(POSTERIOR.settings, batch_size=None), methods=())
    path, some = others(tmp_path)
    plan = replace(own, on=str(path))
    one, other = measure(own, snapshot()).arrays, measure(plan, snapshot()).arrays
    assert one is not None
    assert other is not None
    assert (other.attrs["on"], other.sizes["example"]) == ("others.pt", len(some[0]))
    for name in ("gain", "susceptibility", "susceptibility_published", "loss"):
        np.testing.assert_allclose(other[name].values, one[name].values[..., -12:], rtol=1e-4, atol=1e-7)
    assert plan.settings_with(data="x", replicate=0) != own.settings_with(data="x", replicate=0)
    first = Stage(2).play(lambda workers: measure(plan, snapshot(), workers=workers))[0]
    xr.testing.assert_identical(first.arrays, other)


def test_a_file_of_no_examples_is_told(tmp_path: Path) -> None:
    (tmp_path / "none.pt").write_bytes(b"none")
    plan = replace(
        POSTERIOR, settings=replace(POSTERIOR.settings, batch_size=None), methods=(), on=str(tmp_path / "none.pt")
    )
    with pytest.raises(SettingError, match=r"none\.pt holds no examples .*; give a file that torch\.save wrote"):
        _ = plan.others
    with pytest.raises(SettingError, match=r"with on= the loss of the chains' own examples is needed at every look"):
        replace(plan, methods=("zero",))


def test_arrays_are_kept_and_read_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        keep(folder, "step=00000030-posterior", alone(POSTERIOR), step=30)
    paths = [list_arrays(folder)["step=00000030-posterior"] for folder in (tmp_path / "a", tmp_path / "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    xr.testing.assert_equal(read_arrays(paths[0]), alone(POSTERIOR).arrays)
    paths[0].write_bytes(paths[0].read_bytes()[:-9])
    with pytest.raises(StoreError):
        read_arrays(paths[0])


def test_chains_that_fail_have_failed_rows_and_no_kernel() -> None:
    net = Net()
    with torch.no_grad():
        next(iter(net.parameters())).fill_(math.nan)
    outcome = measure(POSTERIOR, snapshot(net))
    assert all(math.isnan(row.value) and row.status != "ok" for row in outcome.rows)
    assert outcome.arrays is not None
    assert "kernel" not in outcome.arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"watched": 1}, r"watched is 1; .*"),
        ({"look_every": 4}, r"look_every is 4, but there are 6 draws; .*"),
        ({"n_beta": 0.0}, r"n_beta is 0\.0; .*"),
        ({"components": ()}, r"components is empty; give at least one\."),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(POSTERIOR, **changes)  # pyright: ignore[reportArgumentType]


def test_by_default_chains_are_looked_at_as_often_as_those_of_an_llc_are_looked_at_closely() -> None:
    every = recorded_every(POSTERIOR.settings.draws)
    default, given = (replace(POSTERIOR, look_every=look_every) for look_every in (None, every))
    assert default.every == every
    assert default.settings_with(data="", replicate=0) == given.settings_with(data="", replicate=0)
    other = replace(POSTERIOR, look_every=every + 1)
    assert other.settings_with(data="", replicate=0) != given.settings_with(data="", replicate=0)


def test_a_component_that_is_not_there_is_told() -> None:
    with pytest.raises(AddressError):
        replace(POSTERIOR, components=("hook_three",)).components_of(Net())
