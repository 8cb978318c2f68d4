"""What the answers of several runs are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from llc_lightning.analysis.across import Over
from llc_lightning.report import palette
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.panel import Axis, Matrix, Panel, Rule, Series

_ROOM = 2.0
"""Intervals are shown whole where they reach no farther beyond all means than so many times what these span."""


@dataclass(frozen=True)
class Answer:
    """One question and what the runs say of it."""

    question: str
    verdict: str
    """One sentence over all nets, or what was not measured."""
    details: tuple[str, ...]
    """A sentence for each net."""
    nets: tuple[str, ...]
    """Of which something is said."""
    change: str
    """What would change the verdict."""
    tables: tuple[Table, ...] = ()
    panels: tuple[Panel | Matrix, ...] = ()


def between(values: Sequence[float], spec: str) -> str:
    """Returns the ends of some values, or the one that all are.

    Example:
        >>> print(between([0.25, 0.5, 1.0], ".2f"), between([1.0, 1.0], "+.1f"))
        0.25 to 1.00 +1.0
    """
    low, high = (f"{end:{spec}}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def intervals(level: float, alone: str) -> str:
    """Returns what the numbers in square brackets are.

    Args:
        level: Probability of the intervals.
        alone: What they are of where a net has one run.

    Example:
        >>> print(intervals(0.95, "the bootstrap over its components"))
        In [ ]: intervals of 95 %, by Student's t over runs (seeds), of one run by the bootstrap over its components.
    """
    return f"In [ ]: intervals of {100 * level:g} %, by Student's t over runs (seeds), of one run by {alone}."


def two(one: Over) -> str:
    """Returns a mean with two decimals and its sign."""
    return f"{one.mean:+.2f}" if np.isfinite(one.mean) else NONE


def capped(one: Over) -> str:
    """Returns a mean that errors alone can lift above 1, with two decimals and its sign."""
    return f"{min(one.mean, 1.0):+.2f}" if np.isfinite(one.mean) else NONE


def by_method(
    name: str, title: str, label: str, rule: Rule, found: Sequence[tuple[str, str, Over]]
) -> tuple[Panel, ...]:
    """Returns the figure of a number by net and ablation method, none where there are no numbers.

    Args:
        name: Of the figure.
        title: Its sentence.
        label: Of the vertical axis.
        rule: What to compare with.
        found: Net, method and number.
    """
    if not found:
        return ()
    nets, methods = list(dict.fromkeys(net for net, _, _ in found)), palette.ordered({method for _, method, _ in found})
    limits = _limits([number for *_, number in found], rule)
    beyond = " One that leaves the frame is in the table: few runs make it wide." if limits else ""
    series: list[Series] = []
    for at, method in enumerate(methods):
        own = [(nets.index(net), number) for net, by, number in found if by == method]
        x = np.array([place + _beside(at, len(methods)) for place, _ in own], dtype=np.float64)
        series.append(points(method, x, [number for _, number in own], palette.of_method(method, methods)))
    return (
        Panel(
            name=name,
            title=title,
            x=categories("net", nets),
            y=Axis(label, limits=limits),
            series=tuple(series),
            rules=(rule,),
            caption="Means over components and runs; bars are intervals over runs, of one run alone by its own "
            f"error.{beyond}",
            wide=True,
        ),
    )


def _limits(numbers: Sequence[Over], rule: Rule) -> tuple[float, float] | None:
    """Returns the ends of an axis on which means can be told apart; None where no interval is too wide for that."""
    means = [*(one.mean for one in numbers if np.isfinite(one.mean)), rule.y]
    low, high = min(means), max(means)
    room = _ROOM * ((high - low) or 1.0)
    ends = [end for one in numbers for end in (one.low, one.high) if np.isfinite(end)]
    inside = [end for end in ends if low - room <= end <= high + room]
    if len(inside) == len(ends):
        return None
    return min([low - room / 8, *inside]), max([high + room / 8, *inside])


def points(name: str, x: Float[np.ndarray, "point"], numbers: Sequence[Over], color: str) -> Series:
    """Returns numbers with their intervals."""
    y, low, high = (
        np.array([getattr(one, end) for one in numbers], dtype=np.float64) for end in ("mean", "low", "high")
    )
    return Series(name=name, x=x, y=y, color=color, low=low, high=high, line=False, marker="circle")


def categories(label: str, names: Sequence[str]) -> Axis:
    """Returns an axis of names, at 0, 1 and so on."""
    ticks = tuple((float(at), name) for at, name in enumerate(names))
    return Axis(label, ticks=ticks, limits=(-0.6, len(names) - 0.4))


def _beside(at: int, of: int) -> float:
    return 0.6 * ((at + 0.5) / of - 0.5)
