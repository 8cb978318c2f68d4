"""Runs side by side: the settings that differ, where each ends with the differences, and curves over each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.report import palette
from llc_lightning.report.cells import NONE, Table, flat_table
from llc_lightning.report.panel import Panel, axis_in, step_axis
from llc_lightning.report.panels.curves import over
from llc_lightning.report.source import Source
from llc_lightning.results.quantities import unit_of

Value: TypeAlias = tuple[str, str, str]
"""What two runs can have in common: a quantity, its unit, and its resolution or ''."""
_COLORS = (palette.LOSS, palette.CONTROL, palette.CIRCUITS, palette.SHARING, *palette.OTHERS)
_QUANTITIES = ("loss", "circuits_solved", "sign_accuracy", "accuracy", "llc", "llc_plus_delta")


def settings_that_differ(sources: Sequence[Source]) -> Table | None:
    """Returns the keys of the configurations that are not the same in all runs; None where there are none."""
    configs = [_flat(source.config) for source in sources]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    rows = tuple(
        (key, *(config.get(key, NONE) for config in configs))
        for key in keys
        if len({config.get(key) for config in configs}) > 1
    )
    columns = ("setting", *(source.found.run for source in sources))
    return Table("settings", "Settings that differ", columns, rows) if rows else None


def differences(sources: Sequence[Source]) -> Table | None:
    """Returns the whole model's last ok values in every run, and how far each is from the first run's.

    Errors of a difference take both runs as independent; values of different units stand in lines of their own and are
    not compared.
    """
    ends = [_ends(source) for source in sources]
    every = list(dict.fromkeys(value for end in ends for value in end))
    if not every:
        return None
    first, *others = (source.found.run for source in sources)
    rows = tuple(
        (
            " ".join(filter(None, (value[0], value[2]))),
            "" if value[1] == "1" else value[1],
            *(str(end.get(value, NONE)) for end in ends),
            *(_difference(ends[0].get(value), end.get(value)) for end in ends[1:]),
        )
        for value in every
    )
    columns = ("at the end", "unit", first, *others, *(f"{name} - {first}" for name in others))
    note = "± is one standard error; that of a difference takes the runs as independent."
    return Table("differences", "Where the runs end", columns, rows, note)


def overlaid(sources: Sequence[Source]) -> list[Panel]:
    """Returns the whole model's curves of all runs over each other: a figure for each quantity, unit and resolution."""
    curves = [_curves(source) for source in sources]
    panels: list[Panel] = []
    for at, value in enumerate(dict.fromkeys(value for run in curves for value in run)):
        parts = [(source, run[value], color) for source, run, color in zip(sources, curves, _cycled(), strict=False)
                 if value in run]  # fmt: skip
        axis = step_axis([step for _, part, _ in parts for step in table.steps(part)])
        quantity, unit, resolution = value
        panels.append(
            Panel(
                name=f"compare-{at}-{quantity}",
                title=f"{quantity}{f' at {resolution}' if resolution else ''} of {len(parts)} runs over training",
                x=axis,
                y=axis_in(quantity, unit, log=quantity == "loss"),
                series=tuple(
                    over(part, axis, name=source.found.run, color=color, marker="circle")
                    for source, part, color in parts
                ),
                caption=f"Bands: {100 * sources[0].found.level:g} % intervals.",
            )
        )
    return panels


def _cycled() -> Iterator[str]:
    while True:
        yield from _COLORS


def _curves(source: Source) -> dict[Value, pd.DataFrame]:
    """Returns the trajectories of the whole model by what they are of."""
    found = source.found
    whole = pd.concat([found.trajectories.loc[found.trajectories["quantity"] != "loss"], found.losses])
    whole = table.select(whole, quantity=_QUANTITIES, component="", method="")
    named = np.asarray((whole["loss"] == "train") | whole["loss"].str.startswith("power:"), dtype=bool)
    curves: dict[Value, pd.DataFrame] = {}
    for _, part in whole.loc[named].groupby(["quantity", "unit", "n_beta", "gamma"], sort=False, dropna=False):
        quantity = table.texts(part, "quantity")[0]
        n_beta, gamma = (float(table.numbers(part, name)[0]) for name in ("n_beta", "gamma"))
        resolution = f"n_beta {n_beta:g}, gamma {gamma:g}" if np.isfinite(n_beta) else ""
        unit = table.told_unit(part) or unit_of("llc" if quantity == "llc_plus_delta" else quantity)
        curves[quantity, unit, resolution] = table.most_examples(part, ["step"]).sort_values("step")
    return curves


def _ends(source: Source) -> dict[Value, table.Measured]:
    """Returns the last ok value of each curve."""
    good = {value: part.loc[table.ok(part)] for value, part in _curves(source).items()}
    return {value: table.measured(part) for value, part in good.items() if len(part)}


def _difference(one: table.Measured | None, other: table.Measured | None) -> str:
    if one is None or other is None:
        return NONE
    return str(table.Measured(other.value - one.value, float(np.hypot(one.stderr, other.stderr))))


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    flat = flat_table("config", "", config)
    return dict(cast("tuple[tuple[str, str], ...]", flat.rows)) if flat else {}
