"""What measuring cost, and its share of the whole.

A part called ``fit`` (``step=00003000-fit``) holds the seconds of the training up to there, measuring and all sessions
before included.
"""

from dataclasses import dataclass

import pandas as pd

from llc_lightning.analysis import table

_FIT = "fit"


@dataclass(frozen=True)
class Cost:
    """What one callback's measurements cost."""

    name: str
    parts: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Seconds spent measuring, by callback, and the seconds of the run."""

    costs: tuple[Cost, ...]
    elapsed: float
    """Seconds of all training sessions, measuring included; 0 where they are not known."""
    beside: float = 0.0
    """Those of the measuring that no training has waited for: it was done beside it, or afterwards."""

    @property
    def seconds(self) -> float:
        """All seconds spent measuring."""
        return sum((cost.seconds for cost in self.costs), 0.0)

    @property
    def share(self) -> float | None:
        """Share of the run spent measuring; None where it is not known."""
        within = self.seconds - self.beside
        return within / self.elapsed if 0 < within <= self.elapsed else None

    def sentence(self) -> str:
        """Says how long measuring took; empty where no time was noted."""
        if not self.costs:
            return ""
        said = f"Measuring took {self.seconds:.0f} s"
        if self.share is None:
            return f"{said}."
        of = f"{100 * self.share:.0f} % of the run's {self.elapsed:.0f} s."
        within = f"; the training waited for {self.seconds - self.beside:.0f} s of them, " if self.beside else ", "
        return f"{said}{within}{of}"


def timing(timings: pd.DataFrame, *, elapsed: float = 0.0) -> Timing:
    """Returns what measuring cost by callback, the dearest first.

    Args:
        timings: One row for each part, with the columns ``part`` (``step=00000500-llc``) and ``seconds``, and where
            some was measured beside the training ``beside``.
        elapsed: Seconds of the run, for a table that has none under ``fit``.
    """
    named = timings.assign(name=[part.partition("-")[2] or part for part in table.texts(timings, "part")])
    seconds = {str(name): table.numbers(part, "seconds").tolist() for name, part in table.by(named, "name")}
    elapsed = max(seconds.pop(_FIT, []), default=0.0) or elapsed
    aside = table.numbers(timings[timings["beside"].eq(True)], "seconds").sum() if "beside" in timings else 0.0
    costs = [Cost(name, len(some), sum(some)) for name, some in seconds.items()]
    return Timing(tuple(sorted(costs, key=lambda cost: -cost.seconds)), elapsed, float(aside))
