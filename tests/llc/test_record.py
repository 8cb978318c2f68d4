"""A record stands in groups of facts, each of which it tells by its own name too."""

import math
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest
import torch

from llc_lightning.llc.draws import Mixing
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.facts import Bias, ChainLosses, Geometry, Motion, Run
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings
from tests.known_answers.losses import ONE_EXAMPLE, quadratic
from tests.llc.changed import changed

GROUPS = ("at", "run", "geometry", "bias", "mixing", "motion")


@pytest.fixture(scope="module")
def record() -> LLCRecord:
    torch.set_num_threads(1)
    return estimate_llc(
        quadratic().loss, quadratic().params, ONE_EXAMPLE, n_beta=10.0, gamma=1.0, chains=2, draws=8, burn_in=2
    )


def test_every_fact_of_a_group_is_one_of_the_record_and_of_its_facts(record: LLCRecord) -> None:
    names = [field.name for group in GROUPS for field in fields(getattr(record, group))]
    assert len(set(names)) == len(names)
    for group in GROUPS:
        for field in fields(getattr(record, group)):
            assert getattr(record, field.name) is getattr(getattr(record, group), field.name)
    derived = {"paired", "autocorrelation_time", "wbic", "excess_loss"}
    assert set(record.facts()) == {*names, *derived, "value", "stderr", "status", "estimates", "tasks"}
    assert (record.excess, record.baseline) == (record.chains.excess, record.chains.baseline)


def test_what_follows_from_a_fact_follows_its_change(record: LLCRecord) -> None:
    other = changed(record, value=20.0, n_beta=5.0)
    assert other.excess_loss == other.facts()["excess_loss"] == 4.0
    with pytest.raises(FrozenInstanceError):
        record.rhat = 1.0


def test_what_is_not_known_is_nan_or_empty() -> None:
    run = Run.unknown(ChainSettings(), seed=1, replicate=2)
    assert (run.seed, run.replicate, run.evaluations, math.isnan(run.step_size)) == (1, 2, 0, True)
    for group in (Geometry, Bias, Motion, Mixing):
        for name, value in vars(group.unknown()).items():
            assert value in ("", 0, ()) or math.isnan(value), name
    assert ChainLosses.unknown(3).excess.shape == ChainLosses.unknown(3).baseline.shape == (3, 0)


def test_a_record_for_another_process_takes_no_more_than_its_own_draws(record: LLCRecord) -> None:
    lanes = torch.zeros(1000, *record.excess.shape)
    view = changed(record, excess=lanes[0], observed={"distance": lanes[1]})
    assert len(pickle.dumps(view)) > 1000 * 8 > len(pickle.dumps(view.on_cpu()))
    assert torch.equal(view.on_cpu().observed["distance"], lanes[1])
