"""The revision of all that makes an estimate's value, error and status."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.sampling.base import SAMPLERS


def llc_revision(settings: ChainSettings) -> int:
    """Returns 1, and 1 more for every time that what these settings use was revised.

    That is their sampler, and all estimators and diagnostics, since a record tells what each of them says.
    """
    entries = (entry for table in (ESTIMATORS, DIAGNOSTICS) for _, entry in table.items())
    revisions = [SAMPLERS.get(settings.sampler).revision, *(entry.revision for entry in entries)]
    return 1 + sum(revision - 1 for revision in revisions)
