"""Jobs know the key of their row; digests tell data apart."""

import pytest
import torch

from llc_lightning.components.component import Component
from llc_lightning.llc.settings import Resolution
from llc_lightning.measure.jobs import Job, data_digest
from llc_lightning.results.schema import Row
from llc_lightning.runtime.batches import Batch

WHOLE, UNIT = Component("all", "all"), Component("h[1]", "neuron", "h", (1,))


@pytest.mark.parametrize(
    ("job", "key"),
    [
        (
            Job("llc", WHOLE, "s", resolution=Resolution(10.0, 5.0)),
            ("r", 7, "llc", "", "", "train", "all", "raw", 1, "s"),
        ),
        (
            Job("llc", UNIT, "s", resolution=Resolution(10.0, 5.0)),
            ("r", 7, "llc", "h[1]", "", "train", "h[1]", "raw", 1, "s"),
        ),
        (
            Job("ablation_effect", UNIT, "s", "zero", revision=2),
            ("r", 7, "ablation_effect", "h[1]", "zero", "train", "", "raw", 2, "s"),
        ),
    ],
)
def test_the_key_is_that_of_the_row(job: Job, key: tuple[str | int, ...]) -> None:
    assert job.key(run="r", step=7) == key
    assert Row(run="r", step=7, seed=0, epoch=0, value=1.0, **job.columns).key == key


def test_a_job_knows_its_resolution() -> None:
    columns = Job("llc", UNIT, "s", resolution=Resolution(10.0, 5.0)).columns
    assert (columns["n_beta"], columns["gamma"], columns["kind"]) == (10.0, 5.0, "neuron")
    assert "n_beta" not in Job("ablation_effect", UNIT, "s", "zero").columns


X = torch.arange(6.0).reshape(3, 2)


def test_equal_data_have_equal_digests() -> None:
    assert data_digest(X) == data_digest(X.clone()) == data_digest(X.T.contiguous().T)
    assert data_digest({"a": X, "b": X + 1}) == data_digest({"b": X + 1, "a": X})
    assert data_digest((X, X), 2) == data_digest((X[:2], X[:2]))
    assert data_digest(X, 9) == data_digest(X)
    assert len(data_digest(X)) == 16


@pytest.mark.parametrize(
    "other",
    [
        *(X + 0.1, X.double(), X.int(), X.flatten(), X.reshape(2, 3), X[:2], -X, X[[1, 0, 2]], (X,), (X, X), {"a": X}),
        *({"b": X}, torch.where(X == 0, -0.0, X), torch.where(X == 5, torch.nan, X), X.bfloat16(), X.bool()),
    ],
)
def test_other_data_have_other_digests(other: Batch) -> None:
    assert data_digest(other) != data_digest(X)


def test_order_of_a_tuple_counts() -> None:
    assert data_digest((X, X + 1)) != data_digest((X + 1, X))
