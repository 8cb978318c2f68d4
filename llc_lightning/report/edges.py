"""Connections over training, from a run's rows: when each enters and leaves, and the picture of every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.edges import EdgeLife
from llc_lightning.analysis.phases import Phase
from llc_lightning.analysis.table import Measured
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.graph import Drawing, Frame, Line, part_of
from llc_lightning.runtime.errors import StoreError


def named_edge(edge: str) -> str:
    """Returns an edge in few words.

    Example:
        >>> named_edge("net.hook_embed -> net.blocks.0.attn.hook_q[1]")
        'token -> head 0.1 q'
    """
    sender, _, reader = edge.partition(" -> ")
    port = next((f" {one}" for one in "qkv" if f"hook_{one}[" in reader), "")
    return f"{part_of(sender)} -> {part_of(reader)}{port}"


def lives_table(
    lives: Sequence[EdgeLife], transitions: Mapping[tuple[float, float], Phase | None], *, level: float = table.LEVEL
) -> Table:
    """Returns when every edge enters and leaves, and which enter while the LLC is in transition.

    Args:
        lives: The edges.
        transitions: Of the LLC, by n_beta and gamma.
        level: Probability of the intervals.
    """
    known = [one for one in transitions.values() if one is not None]
    rows = tuple(
        (
            named_edge(one.edge),
            str(one.enters),
            NONE if one.leaves is None else str(one.leaves),
            NONE if one.half is None else str(one.half),
            f"{one.largest:.3g}",
            f"{one.last:.3g}",
            " and ".join(("no", "yes")[one.overlaps(at)] for at in known) or NONE,
            _doubts(one),
        )
        for one in lives
    )
    columns = ("edge", "enters", "leaves", "half way", "largest", "at the end", "with the LLC", "doubts")
    return Table(
        "edges",
        f"When {len(rows)} edges enter and leave",
        columns,
        rows,
        f"Training steps with {level:.0%} intervals, from errors over examples and the distance of snapshots. "
        + " ".join(told_transition(*at, one) for (at, one) in transitions.items()),
    )


def told_transition(n_beta: float, gamma: float, found: Phase | None) -> str:
    """Returns when the LLC of the whole model has done half of its way, in a sentence."""
    where = f"The LLC at n_beta {n_beta:g}, gamma {gamma:g}"
    if found is None:
        return f"{where} has no transition in rows that are ok."
    return f"{where} has done half of its way at step {found}."


def _doubts(one: EdgeLife) -> str:
    told = [f"enters in {one.sure:.0%} of draws"] if one.sure < 0.95 else []
    told += [f"{one.left_out} snapshots not ok"] if one.left_out else []
    return ", ".join(told) or NONE


def drawing_of_rows(rows: pd.DataFrame, llc: pd.DataFrame, least: float, shares: pd.DataFrame | None = None) -> Drawing:
    """Returns the picture of every measured step, of the edges that are in the circuit there.

    Args:
        rows: Those of edges, measured in one way.
        llc: The rows of the LLC of the whole model.
        least: The size of a value from which on an edge is in the circuit.
        shares: The rows of the shares of circuits that hold an edge, and of how many circuits were found, in one way;
            None where there are none.

    Raises:
        StoreError: If no edge is ever in it.
    """
    if not (np.abs(table.numbers(rows, "value")) >= least).any():
        raise StoreError(f"no edge's value is ever {least:g} or more, so that there is nothing to draw; give --least.")
    frames = [_frame(int(step), some, llc, least, _shares(int(step), shares)) for step, some in table.by(rows, "step")]
    return Drawing(tuple(frames))


def _cells(rows: pd.DataFrame, columns: list[str]) -> list[list[Any]]:
    return rows[columns].to_numpy().tolist()


def _shares(step: int, rows: pd.DataFrame | None) -> dict[str, float | None] | None:
    """Returns the share of circuits that hold each edge of any; None where how many there are is not known."""
    if rows is None:
        return None
    here = table.select(rows, step=step)
    if not table.ok(table.select(here, quantity="circuit_resamples")).any():
        return None
    held = _cells(table.select(here, quantity="edge_share"), ["component", "value"])
    return {str(edge): float(value) if np.isfinite(value) else None for edge, value in held}


def _frame(
    step: int, rows: pd.DataFrame, llc: pd.DataFrame, least: float, shares: Mapping[str, float | None] | None
) -> Frame:
    inside = rows.loc[np.abs(table.numbers(rows, "value")) >= least]
    lines: list[Line] = []
    for edge, value, stderr, status in _cells(inside, ["component", "value", "stderr", "status"]):
        sender, _, reader = str(edge).partition(" -> ")
        share = None if shares is None else shares.get(str(edge), 0.0)
        lines.append(Line(sender, reader, float(value), float(stderr), str(status), share))
    return Frame(f"step {step}", tuple(lines), f"{len(lines)} of {len(rows)} edges.{_told_llc(step, llc)}")


def _told_llc(step: int, llc: pd.DataFrame) -> str:
    """Returns the LLC at the step, or at the nearest one where it was measured."""
    told: list[str] = []
    for (n_beta, gamma), some in table.by(llc, "n_beta", "gamma"):
        apart = np.abs(np.log1p(table.numbers(some, "step")) - np.log1p(step))
        (cells,) = _cells(some.iloc[[int(apart.argmin())]], ["step", "value", "stderr", "status"])
        at, value, stderr, status = cells
        where = "" if int(at) == step else f" at step {int(at)}"
        doubt = "" if status == "ok" else f" ({status})"
        told.append(f"LLC at n_beta {n_beta:g}, gamma {gamma:g}{where}: {Measured(float(value), float(stderr))}{doubt}")
    return f" {'; '.join(told)}." if told else ""
