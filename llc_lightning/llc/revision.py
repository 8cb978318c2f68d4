"""The revision of all that makes an estimate's value, error and status."""

from llc_lightning.llc.diagnostics.base import diagnostics
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.observables.base import OBSERVABLES

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
    when one is revised, and also when one joins or leaves. Observables that a diagnostic asks for count when they are
    revised.
    """
    entries = {**dict(ESTIMATORS.items()), **diagnostics()}
    observed = {name for entry in diagnostics().values() for name in entry.facts.observes}
    used = [SAMPLERS.get(settings.sampler), *entries.values(), *map(OBSERVABLES.get, observed)]
    revisions = [entry.revision for entry in used]
    return 1 + sum(revision - 1 for revision in revisions) + len(AT_FIRST ^ entries.keys())
