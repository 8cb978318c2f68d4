"""The revision of the LLC engine, for the rows that it gives."""

from __future__ import annotations

from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.sampling.base import SAMPLERS


def llc_revision(settings: ChainSettings) -> int:
    """Returns 1, and 1 more for every change of a value, error or status since: by the sampler or an estimator."""
    entries = [SAMPLERS.get(settings.sampler), *(entry for _, entry in ESTIMATORS.items())]
    return 1 + sum(entry.revision - 1 for entry in entries)
