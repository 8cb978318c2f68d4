"""The trees that devinterp's own functions read give the moments of the draws that are in the arrays."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from llc_lightning.analysis.trees import to_devinterp
from llc_lightning.runtime.errors import SettingError
from tests.measure.small import POSTERIOR, alone


@pytest.fixture(scope="module")
def arrays() -> xr.Dataset:
    found = alone(replace(POSTERIOR, raw=True, kernels=True)).arrays
    assert found is not None
    return found


def drawn(arrays: xr.Dataset, component: int) -> np.ndarray:
    """Returns all draws in a row, [draw, example]."""
    return arrays["excess"].values[component].reshape(-1, arrays.sizes["example"]).astype(np.float64)


def test_its_influences_are_the_covariances_of_the_draws(arrays: xr.Dataset) -> None:
    from devinterp.slt.bif import compute_bif

    for number, tree in enumerate(to_devinterp(arrays).values()):
        found = compute_bif(tree, correlation_method="sequence", compute_covariance=True, device="cpu")
        wanted = np.cov(drawn(arrays, number), rowvar=False, ddof=1)
        influences = np.asarray(found["influences"].values).reshape(wanted.shape)
        np.testing.assert_allclose(influences, wanted, atol=1e-12 * np.abs(wanted).max(), rtol=1e-9)


def test_its_susceptibilities_are_those_of_the_draws_with_the_paired_baseline(arrays: xr.Dataset) -> None:
    from devinterp.slt.susceptibilities import compute_susceptibilities

    trees = to_devinterp(arrays)
    found = compute_susceptibilities(trees, "watched", include_sampling_task=True)["susceptibilities"]
    values = np.asarray(next(iter(found.dataset.data_vars.values())).values)
    whole = drawn(arrays, 0)
    for number, name in enumerate(list(trees)[1:], start=1):
        own = drawn(arrays, number)
        phi = own.mean(1)
        wanted = (phi * phi).mean() - (phi[:, None] * own).mean(0) - phi.mean() * (whole.mean() - whole.mean(0))
        column = values[:, number - 1] if values.shape[0] == len(wanted) else values[number - 1]
        np.testing.assert_allclose(column, wanted, atol=1e-12, err_msg=name)


def test_draws_that_were_not_kept_are_told(arrays: xr.Dataset) -> None:
    with pytest.raises(
        SettingError, match=r"the draws of these posterior arrays were not kept; measure with raw=True\."
    ):
        to_devinterp(arrays.drop_vars("excess"))
