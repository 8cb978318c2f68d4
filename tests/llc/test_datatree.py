"""Records as trees: for ArviZ, and for devinterp's own post-processing."""

import json
import math

import numpy as np
import pytest
import torch
from arviz_stats import summary
from devinterp.slt.llc import compute_llc

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from tests.known_answers.losses import noisy_quadratic
from tests.llc.changed import changed


@pytest.fixture(scope="module")
def record() -> LLCRecord:
    torch.set_num_threads(1)
    known = noisy_quadratic(0.2)
    return estimate_llc(
        known.loss, known.params, known.data, n_beta=100.0, gamma=1.0, step_size=0.005, chains=4, draws=100, burn_in=20,
        batch_size=8,
    )  # fmt: skip


def test_the_draws_give_the_value_and_the_attributes_the_record(record: LLCRecord) -> None:
    posterior = record.to_datatree()["posterior"].to_dataset()
    assert dict(posterior.sizes) == {"chain": 4, "draw": 100}
    assert posterior["llc"].mean().item() == pytest.approx(record.value)
    assert np.allclose(posterior["llc"], 100 * posterior["excess"])
    assert posterior.attrs["status"] == record.status
    facts = json.loads(posterior.attrs["record"])
    assert facts["dimension"] == record.dimension
    assert facts["estimates"]["mean"]["value"] == pytest.approx(record.value)
    assert facts["settings"]["burn_in"] == 20
    needed = (
        *("value", "mcse", "rhat", "rhat_nested", "ess", "ess_tail", "autocorrelation_time", "healthy_chains"),
        *("step_size", "n_beta", "gamma", "predicted_bias", "curvature", "loss", "loss_stderr", "paired"),
        *("gradient_norm", "gradient_noise", "correction", "estimates", "n_examples", "seed", "replicate"),
        *("evaluations", "weights_digest", "status", "distance", "expected_distance", "temperature"),
    )
    assert not [name for name in needed if name not in facts]


def test_arviz_summarises_it_unrounded(record: LLCRecord) -> None:
    # Rounded, as ArviZ does it by itself, an R-hat of 1.012 is told as 1.01.
    told = summary(record.to_datatree(), var_names=["llc"], round_to="none").loc["llc"]
    assert float(told["mean"]) == pytest.approx(record.value)
    assert float(told["r_hat"]) == pytest.approx(record.rhat)
    assert float(told["ess_bulk"]) == pytest.approx(record.ess)


def test_devinterp_opens_it_with_the_same_values(record: LLCRecord) -> None:
    theirs = compute_llc(record.to_devinterp())
    assert theirs["llc_mean"].item() == pytest.approx(record.value, rel=1e-5)
    assert np.allclose(theirs["llc_per_chain"], record.per_chain, rtol=1e-5)


def test_a_chain_that_died_is_nan_and_no_partial_chain(record: LLCRecord) -> None:
    dead = changed(record, per_chain=(math.nan, *record.per_chain[1:]))
    tree = dead.to_datatree()["posterior"].to_dataset()
    assert bool(np.isnan(tree["llc"][0]).all())
    assert bool(np.isfinite(tree["llc"][1:]).all())
