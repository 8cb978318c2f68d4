"""The revision of all that makes an estimate's value, error and status."""

from llc_lightning.llc.diagnostics.base import diagnostics
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.sampling.base import SAMPLERS

AT_FIRST = frozenset(
    {
        *("first_order", "functional_variance", "mean", "stein", "variance"),
        *("all-diverged", "batch-noise", "box-hits", "diverged", "drifting"),
        *("estimators-disagree", "frozen", "nan-loss", "not-a-minimum", "not-local"),
        *("not-mixed", "rounding", "saturated", "single-chain", "too-few-draws"),
        *("unstable-step", "wrong-gradient"),
    }
)
"""The estimators and diagnostics that the first rows were made with, each at revision 1; this list stays as it is."""


def llc_revision(settings: ChainSettings) -> int:
    """Returns 1, and 1 more for every change of what these settings use.

    That is their sampler, and all estimators and diagnostics, since a record tells what each of them says: it counts
    when one is revised, and also when one joins or leaves.
    """
    entries = {**dict(ESTIMATORS.items()), **diagnostics()}
    revisions = [SAMPLERS.get(settings.sampler).revision, *(entry.revision for entry in entries.values())]
    return 1 + sum(revision - 1 for revision in revisions) + len(AT_FIRST ^ entries.keys())
