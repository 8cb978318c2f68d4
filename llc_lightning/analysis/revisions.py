"""Rows of one measurement at several revisions: analyses use the newest, and tell which they leave out.

A measurement is a quantity by one ablation method or one sampler. What makes it has a revision, raised whenever its
values change, so that values of two revisions must not stand in one curve, table, correlation or count.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from llc_lightning.results.schema import RAW, decode_details

P = ParamSpec("P")
T = TypeVar("T")

_MEASUREMENT = ["quantity", "method", "sampler"]


@dataclass(frozen=True)
class Older:
    """Rows of a measurement that are kept beside newer ones."""

    quantity: str
    method: str
    """Ablation method, else sampler; '' where there is neither."""
    revision: int
    newest: int
    """The revision that is used instead."""
    rows: int

    def __str__(self) -> str:
        """Says how many there are, of what."""
        of = f"{self.quantity} ({self.method})" if self.method else self.quantity
        return f"{self.rows} {'row' if self.rows == 1 else 'rows'} of {of} at revision {self.revision} of {self.newest}"


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the newest revision of each measurement, of the weights that were trained.

    Example:
        >>> blank = {"method": "", "details": "{}"}
        >>> rows = pd.DataFrame([{"quantity": "llc", "revision": at, **blank} for at in (1, 2, 2)])
        >>> newest(rows).index.tolist()
        [1, 2]
    """
    if "weights" in rows and not (rows["weights"] == RAW).all():
        rows = rows.loc[np.asarray(rows["weights"] == RAW, dtype=bool)]
    left = _older(rows)
    if not len(left):
        return rows
    kept = np.ones(len(rows), dtype=bool)
    kept[left["place"].to_numpy()] = False
    return rows.loc[kept]


def older(rows: pd.DataFrame) -> tuple[Older, ...]:
    """Returns what :func:`newest` leaves out, by measurement and revision."""
    left = _older(rows)
    counts = Counter(
        (str(one["quantity"]), str(one["method"] or one["sampler"]), int(one["revision"]), int(one["newest"]))
        for one in left.to_dict("records")
    )
    return tuple(Older(*what, rows=count) for what, count in sorted(counts.items()))


def told(left_out: Sequence[Older]) -> str:
    """Says in one sentence what is left out; '' for nothing."""
    if not left_out:
        return ""
    return (
        "Kept beside newer ones, and left out of every number and figure: "
        f"{'; '.join(str(one) for one in left_out)}; trajectories shows them."
    )


def of_newest(analysis: Callable[Concatenate[pd.DataFrame, P], T]) -> Callable[Concatenate[pd.DataFrame, P], T]:
    """Returns an analysis of a measurement table as one of the newest revision of each of its measurements."""

    @wraps(analysis)
    def analyse(rows: pd.DataFrame, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return analysis(newest(rows), *args, **kwargs)

    return analyse


def _older(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the places of rows that have newer ones beside them, what they measure, by which sampler, and the newest.

    Only where a quantity by one method is there at several revisions, the samplers that made its rows are looked at:
    that takes most of the time.
    """
    spans = rows.groupby(["quantity", "method"], sort=False)["revision"].agg(["min", "max"])
    several = np.zeros(len(rows), dtype=bool)
    for quantity, method in spans.index[np.asarray(spans["min"] < spans["max"], dtype=bool)]:
        several |= np.asarray((rows["quantity"] == quantity) & (rows["method"] == method), dtype=bool)
    of = rows.loc[several, ["quantity", "method", "revision"]]
    details = rows.loc[several, "details"].astype(str)
    samplers = {text: _sampler(decode_details(text)) for text in details.unique()}
    of = of.assign(place=np.flatnonzero(several), sampler=details.map(samplers))
    of = of.assign(newest=of.groupby(_MEASUREMENT)["revision"].transform("max"))  # pyright: ignore[reportUnknownMemberType]
    return of.loc[np.asarray(of["revision"] < of["newest"], dtype=bool)]


def _sampler(details: Mapping[str, object]) -> str:
    """Returns which sampler made a row; ``chains`` for what is measured beside them, such as the loss of w*."""
    return str(details.get("sampler") or ("chains" if "replicate" in details else ""))
