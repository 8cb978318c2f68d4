"""How trustworthy a run's rows are: how many are ok, flagged or failed, why, and what to change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.runtime import status as statuses
from llc_lightning.runtime.kinds import called, level_of, plural

_JUDGED = ("llc", "ablation_effect")
"""Quantities of which it is said at the top that none is ok."""


@dataclass(frozen=True)
class Count:
    """Rows of one quantity and kind of component."""

    quantity: str
    kind: str
    ok: int
    flagged: int
    failed: int
    ok_from: int | None
    """The first step from which on every row is ok; None where the last step has one that is not."""
    ok_last: int
    """Rows of the last step that are ok."""
    total_last: int
    """All rows of the last step."""
    most: str
    """The reason against most of the rows that are not ok; '' where all are."""
    hits: int
    """How many rows that is."""

    @property
    def total(self) -> int:
        """All rows."""
        return self.ok + self.flagged + self.failed


@dataclass(frozen=True)
class Trouble:
    """One reason against rows."""

    reason: str
    failed: bool
    """Whether such rows have no value."""
    sentence: str
    """What it means and what to change."""
    rows: int
    first_step: int
    last_step: int
    quantities: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    """Counts by quantity, and reasons in the fixed order of a status."""

    counts: tuple[Count, ...]
    troubles: tuple[Trouble, ...]

    @property
    def ok(self) -> int:
        """Rows against which nothing speaks."""
        return sum(count.ok for count in self.counts)

    @property
    def flagged(self) -> int:
        """Rows whose value is kept but enters no aggregate."""
        return sum(count.flagged for count in self.counts)

    @property
    def failed(self) -> int:
        """Rows without a value."""
        return sum(count.failed for count in self.counts)

    def remedies(self) -> list[str]:
        """Says of what no value is ok, why, and what to change; nothing where some are."""
        return [
            f"No value of the {_named(one)} is ok ({one.total} measured); most often {one.most} ({one.hits}): "
            f"{statuses.REASONS.get(one.most).facts.sentence}"
            for one in self.counts
            if one.quantity in _JUDGED and not one.ok and one.most
        ]

    def sentences(self) -> list[str]:
        """Writes the counts, and from where on the learning coefficients are ok."""
        total = self.ok + self.flagged + self.failed
        said = f"{self.ok} of {total} rows are ok, {self.flagged} flagged, {self.failed} failed."
        return [said, *(_told(count) for count in self.counts if count.quantity == "llc")]


@revisions.of_newest
def health(rows: pd.DataFrame) -> Health:
    """Returns how many rows are ok, flagged and failed, by quantity and kind, and by reason."""
    failed_ones = {status for status in table.distinct(rows, "status") if statuses.is_failed(status)}
    judged = rows[["quantity", "kind", "status", "step"]]
    counts: list[Count] = []
    for (quantity, kind), group in sorted(table.by(judged, "quantity", "kind"), key=lambda one: _order(one[0])):
        ok = np.asarray(group["status"] == statuses.OK, dtype=bool)
        failed = np.asarray(group["status"].isin(failed_ones), dtype=bool)
        at = table.numbers(group, "step")
        last_bad = float(at[~ok].max()) if (~ok).any() else -1.0
        after = at[at > last_bad]
        most, hits = _most(table.texts(group.loc[~ok], "status"))
        counts.append(
            Count(
                quantity=quantity,
                kind=kind,
                ok=int(ok.sum()),
                flagged=int((~ok & ~failed).sum()),
                failed=int(failed.sum()),
                ok_from=int(after.min()) if len(after) else None,
                ok_last=int(ok[at == at.max()].sum()),
                total_last=int((at == at.max()).sum()),
                most=most,
                hits=hits,
            )
        )
    return Health(tuple(counts), _troubles(rows))


def _most(found: Sequence[str]) -> tuple[str, int]:
    """Returns the reason that most of some statuses hold, and how many."""
    hits = Counter(reason for status, times in Counter(found).items() for reason in status.split("+") * times)
    return hits.most_common(1)[0] if hits else ("", 0)


def _named(count: Count) -> str:
    """Returns what a count is of."""
    if count.quantity == "ablation_effect":
        return f"ablation effects of {plural(count.kind)}"
    return "full LLC" if level_of(count.kind) == "model" else f"wrLLC of {plural(count.kind)}"


def _told(count: Count) -> str:
    """Says from where on learning coefficients are ok, or how many are at the last step."""
    whole = level_of(count.kind) == "model"
    if count.ok_from is not None:
        return (
            f"The {'full LLC' if whole else f'wrLLC of every {called(count.kind)}'} is ok from step {count.ok_from} on."
        )
    if whole:
        return "The full LLC is not ok at the last step."
    return f"At the last step {count.ok_last} of {count.total_last} wrLLC of {plural(count.kind)} are ok."


def _troubles(rows: pd.DataFrame) -> tuple[Trouble, ...]:
    bad = rows.loc[np.asarray(rows["status"] != statuses.OK, dtype=bool), ["quantity", "status", "step"]]
    reasons = bad.assign(reason=bad["status"].str.split("+")).explode("reason")
    found = statuses.in_order(table.distinct(reasons, "reason"))
    return tuple(_trouble(one.name, one.facts, table.select(reasons, reason=one.name)) for one in found)


def _trouble(name: str, told: statuses.Reason, hit: pd.DataFrame) -> Trouble:
    steps, quantities = table.steps(hit), tuple(sorted(table.distinct(hit, "quantity")))
    return Trouble(name, told.failed, told.sentence, len(hit), steps[0], steps[-1], quantities)


def _order(group: tuple[str, str]) -> tuple[int, str, str]:
    first = ("llc", "llc_correction", "ablation_effect", "loss")
    return (first.index(group[0]) if group[0] in first else len(first), *group)
