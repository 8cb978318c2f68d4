"""The connections of a network over training, beside the transition of its LLC."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.edges import QUANTITIES, EdgeLife, edge_lives, edge_rows, llc_transitions
from llc_lightning.analysis.phases import Phase
from llc_lightning.report import palette
from llc_lightning.report.charts import method_tag
from llc_lightning.report.edges import named_edge, told_transition
from llc_lightning.report.panel import Axis, Panel, Rule, Series, Span, axis_in, step_axis
from llc_lightning.report.sections import PANELS, View
from llc_lightning.runtime.errors import DataError

_MOST = 8
"""So many edges have a curve."""


def edges(
    rows: pd.DataFrame, *, quantity: str, method: str, loss: str = "train", level: float = table.LEVEL
) -> Panel | None:
    """Returns the edges with the largest values over training; None where none is ever in the circuit.

    Args:
        rows: The measurement table.
        quantity: What was measured of edges.
        method: How.
        loss: On which loss.
        level: Probability of the intervals.

    Raises:
        DataError: If they were measured under several settings.
    """
    found = edge_rows(rows, quantity=quantity, method=method, loss=loss)
    lives = edge_lives(rows, quantity=quantity, method=method, loss=loss, level=level)
    if not lives:
        return None
    largest = sorted(lives, key=lambda one: -abs(one.largest))[:_MOST]
    axis = step_axis(table.steps(found))
    series = tuple(_series(one, found, axis, at, level) for at, one in enumerate(largest))
    transitions: dict[tuple[float, float], Phase] = {}
    with suppress(DataError):  # the LLC of several settings is no one curve
        transitions = {at: one for at, one in llc_transitions(rows, level=level).items() if one is not None}
    spans = tuple(
        Span(float(axis.place([one.low])[0]), float(axis.place([one.high])[0]), f"LLC at n_beta {n_beta:g}")
        for (n_beta, _), one in transitions.items()
    )
    first, last = lives[0].enters, lives[-1].enters
    told = " ".join(told_transition(*at, one) for at, one in transitions.items())
    way = method if loss == "train" else f"{method} on {loss}"
    return Panel(
        f"edges-{quantity}-{method_tag(way)}",
        f"{len(lives)} edges enter, from step {first.step:.3g} to step {last.step:.3g}",
        axis,
        axis_in(quantity.replace("_", " "), table.told_unit(found)),
        series,
        rules=(Rule(QUANTITIES[quantity], "in the circuit"),),
        spans=spans,
        caption=f"{way}; the {len(largest)} edges with the largest values. Shaded: where the LLC does half of its "
        f"way, with its interval. {told}",
        wide=True,
    )


def _series(one: EdgeLife, rows: pd.DataFrame, axis: Axis, at: int, level: float) -> Series:
    some = table.select(rows, component=one.edge).sort_values("step")
    values, half = (
        table.numbers(some, "value"),
        table.half_width(table.numbers(some, "stderr"), np.zeros(len(some)), level),
    )
    colors = (*palette.UNITS, *palette.OTHERS)
    return Series(
        named_edge(one.edge), axis.place(table.numbers(some, "step")), values, colors[at % len(colors)],
        ok=table.ok(some), low=values - half, high=values + half, unit=table.told_unit(some),
    )  # fmt: skip


@PANELS.register(
    "edges",
    summary="the connections of a network over training",
    section="Connections",
    place=67,
    quantities=(
        *("edge_effect", "edge_score", "edge_share", "circuit_edge", "circuit_edges", "circuit_resamples"),
        "circuit_faithfulness",
    ),
)
def _drawn(view: View) -> list[Panel | None]:
    rows, drawn = view.found.rows, list[Panel | None]()
    for quantity in QUANTITIES:
        for (method, loss), _ in table.by(table.select(rows, quantity=quantity), "method", "loss"):
            with suppress(DataError):  # those of several settings are no one curve
                drawn.append(edges(rows, quantity=quantity, method=method, loss=loss, level=view.found.level))
    return drawn
