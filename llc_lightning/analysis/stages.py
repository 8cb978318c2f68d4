"""Stages of a training, from its logged metrics alone: transitions, memorising and generalising, beaten baselines.

A stage is a metric passing a level, known to lie between two logged steps. Which stages there are follows from what was
logged: a transition of the loss (of an induction task: the induction transition; Olsson et al. 2022, arXiv:2209.11895),
memorising and generalising where training and validation have accuracies of their own (grokking; Power et al. 2022,
arXiv:2201.02177), and every baseline that the loss falls below (n-grams of a text; Hoogland et al. 2024,
arXiv:2402.02364).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llc_lightning.runtime.errors import DataError, unknown

MEMORISED, GENERALISED = 0.99, 0.5
"""Training accuracy from which on a net has memorised, validation accuracy from which on it generalises."""
SHARES = {"begins": 0.1, "half": 0.5, "ends": 0.9}
"""How much of a transition's fall is done when it begins, is half over and ends."""
NAMES = {
    "loss": ("train/loss", "train_loss", "loss", "train/loss_step", "train_loss_step", "train/loss_epoch"),
    "val_loss": ("val/loss", "val_loss", "validation/loss", "val/loss_epoch"),
    "accuracy": ("train/accuracy", "train_accuracy", "train/acc", "train_acc"),
    "val_accuracy": ("val/accuracy", "val_accuracy", "val/acc", "val_acc"),
}
"""The metrics that stages follow from, by what they are: the name that they have here, then others in use."""
_FALL = 0.5
_BASELINE = "baseline/"


@dataclass(frozen=True)
class Stage:
    """A metric passes a level."""

    name: str
    metric: str
    level: float
    since: int
    """The last logged step before; the first logged one where it has passed already."""
    step: int
    """The first logged step at or past the level."""

    @property
    def when(self) -> str:
        """Between which logged steps it passes."""
        return f"by {self.step}" if self.since == self.step else f"{self.since} - {self.step}"

    def sides(self, steps: Iterable[int]) -> tuple[int, int]:
        """Returns how many of some steps lie before the stage for sure, and how many after it.

        None is before for sure where the first logged point has passed already.
        """
        listed = list(steps)
        before = sum(step <= self.since for step in listed) if self.since < self.step else 0
        return before, sum(step >= self.step for step in listed)


def stages(metrics: Mapping[str, pd.DataFrame]) -> list[Stage]:
    """Returns the stages that the logged metrics show, in the order of their steps.

    Args:
        metrics: Curves by the name under which they were logged, each with the columns ``step`` and ``value``.

    Raises:
        DataError: If a curve lacks one of these columns.

    Example:
        >>> loss = pd.DataFrame({"step": [0, 10, 20, 30], "value": [3.0, 3.0, 0.2, 0.1]})
        >>> [(stage.name, stage.since, stage.step) for stage in stages({"train/loss": loss})]
        [('transition begins', 10, 20), ('transition half', 10, 20), ('transition ends', 10, 20)]
    """
    found = [*transition(metrics), *grokking(metrics), *beaten_baselines(metrics)]
    return sorted(found, key=lambda stage: stage.step)


def named(
    metrics: Mapping[str, pd.DataFrame], given: Mapping[str, str | None] | None = None
) -> dict[str, pd.DataFrame]:
    """Returns metrics under the names that stages are looked for under.

    Args:
        metrics: Curves by the name under which they were logged.
        given: The logged names of some of ``NAMES``; of the others, or of None, the first that was logged is taken.

    Raises:
        DataError: If a given name was not logged.

    Example:
        >>> list(named({"my/nll": pd.DataFrame(), "val_loss": pd.DataFrame()}, {"loss": "my/nll"}))
        ['my/nll', 'val_loss', 'train/loss', 'val/loss']
    """
    found = dict(metrics)
    for what, names in NAMES.items():
        chosen = (given or {}).get(what) or next((name for name in names if name in metrics), None)
        if chosen is not None and chosen not in metrics:
            raise DataError(unknown("logged metric", chosen, metrics))
        if chosen is not None:
            found[names[0]] = metrics[chosen]
    return found


def transition(metrics: Mapping[str, pd.DataFrame]) -> list[Stage]:
    """Returns when the loss has done 10, 50 and 90 % of its fall; nothing where it falls by less than half.

    The fall goes from the highest logged loss to the lowest after it, each a running median over three points.
    """
    name = next((name for name in ("train/loss", "val/loss") if name in metrics), "")
    curve = _smooth(metrics[name]) if name else pd.DataFrame()
    if not len(curve):
        return []
    values = curve["value"].to_numpy(dtype=np.float64)
    start = int(values.argmax())
    high, low = values[start], values[start:].min()
    if not high - low > _FALL * abs(high):
        return []
    levels = {f"transition {word}": high - share * (high - low) for word, share in SHARES.items()}
    return [stage for word, level in levels.items() for stage in _passes(word, name, curve.iloc[start:], level, -1)]


def grokking(metrics: Mapping[str, pd.DataFrame]) -> list[Stage]:
    """Returns when the net has memorised what it trains on, and when it generalises to what it does not.

    There are no such stages unless it has memorised when it does not generalise yet: on fresh examples that is just
    learning.
    """
    wanted = (("memorised", "train/accuracy", MEMORISED), ("generalised", "val/accuracy", GENERALISED))
    if any(metric not in metrics for _, metric, _ in wanted):
        return []
    memorised, generalised = (
        _passes(name, metric, _smooth(metrics[metric]), level, 1) for name, metric, level in wanted
    )
    first = all(one.step <= other.since < other.step for one in memorised for other in generalised)
    return [*memorised, *generalised] if memorised and first else []


def beaten_baselines(metrics: Mapping[str, pd.DataFrame]) -> list[Stage]:
    """Returns when the validation loss falls below each logged baseline: ``baseline/bigram`` and so on."""
    if "val/loss" not in metrics:
        return []
    curve = _smooth(metrics["val/loss"])
    levels = {
        name.removeprefix(_BASELINE): float(_checked(name, baseline)["value"].iloc[-1])
        for name, baseline in metrics.items()
        if name.startswith(_BASELINE)
    }
    return [stage for name, level in levels.items() for stage in _passes(f"beats {name}", "val/loss", curve, level, -1)]


def _passes(name: str, metric: str, curve: pd.DataFrame, level: float, sign: int) -> list[Stage]:
    """Returns the stage at which a curve passes a level, upwards (1) or downwards (-1); none where it never does."""
    past = np.flatnonzero(sign * curve["value"].to_numpy(dtype=np.float64) >= sign * level)
    if not len(past):
        return []
    steps = [int(step) for step in curve["step"].tolist()]
    place = int(past[0])
    return [Stage(name, metric, float(level), steps[max(0, place - 1)], steps[place])]


def _smooth(curve: pd.DataFrame) -> pd.DataFrame:
    """Returns the finite points of a curve as running medians over three, so that a single outlier is no stage."""
    ordered = (
        _checked("a curve", curve).sort_values("step", kind="stable").astype({"step": np.int64, "value": np.float64})
    )
    known = ordered.loc[np.isfinite(ordered["value"]), ["step", "value"]].reset_index(drop=True)
    middle = known["value"].rolling(3, center=True).median()
    return known.assign(value=middle.fillna(known["value"]))


def _checked(name: str, curve: pd.DataFrame) -> pd.DataFrame:
    if not {"step", "value"} <= set(curve.columns) or not len(curve):
        raise DataError(f"{name} has the columns {list(curve.columns)} and {len(curve)} points; give step and value.")
    return curve
