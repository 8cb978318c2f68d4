"""The coefficient between two rungs of a ladder, which needs no baseline."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from llc_lightning.llc.estimators import Estimate, slope
from llc_lightning.llc.record import LLCRecord


def slopes(records: Sequence[LLCRecord]) -> list[tuple[LLCRecord, LLCRecord, Estimate]]:
    """Returns the two-temperature slope between neighbouring rungs, with the lower and the upper record.

    Args:
        records: Those of one part, one for each n_beta; failed ones are left out.
    """
    known = sorted((record for record in records if record.healthy_chains), key=lambda record: record.n_beta)
    return [(lower, upper, slope(_chains(lower), _chains(upper))) for lower, upper in pairwise(known)]


def with_slopes(records: Sequence[LLCRecord]) -> list[LLCRecord]:
    """Returns the records of one part, each with the slope between its n_beta and the next lower one."""
    below = {upper.n_beta: found for _, upper, found in slopes(records)}
    return [
        record.with_estimates({"slope": below[record.n_beta]}) if record.n_beta in below else record
        for record in records
    ]


def _chains(record: LLCRecord) -> tuple[float, np.ndarray]:
    return record.n_beta, np.asarray(record.per_chain)
