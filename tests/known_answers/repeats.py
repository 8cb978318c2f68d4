"""Repeats of an estimate as sets of its chains: each chain has streams of its own, so that sets are independent.

They take much less time than as many estimates under other seeds, and a set has the bits of an estimate by itself, as
``test_coverage`` says.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from llc_lightning.llc import assess
from llc_lightning.llc.draws import Mixing, error_of
from llc_lightning.llc.record import LLCRecord
from tests.llc.changed import changed

REPEATS, CHAINS = 5, 64


@pytest.fixture
def without_mixing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out R-hat and ESS, which take as long as hundreds of short chains; values and errors do not use them."""
    monkeypatch.setattr(assess, "mixing_of", lambda _: Mixing.unknown())


def repeats_of(record: LLCRecord, chains: int = CHAINS) -> list[LLCRecord]:
    """Returns the records of the sets of that many chains, with their values, errors and numbers of chains."""
    scaled = record.n_beta * record.excess[:, record.settings.burn_in :].double().numpy()
    return [
        changed(record, value=float(draws.mean()), stderr=error_of(draws), healthy_chains=chains)
        for draws in np.split(scaled, len(scaled) // chains)
    ]


def values_and_errors(record: LLCRecord) -> tuple[Tensor, Tensor]:
    """Returns the value and the standard error of every set, [set]."""
    sets = repeats_of(record)
    return torch.tensor([one.value for one in sets]), torch.tensor([one.stderr for one in sets])
