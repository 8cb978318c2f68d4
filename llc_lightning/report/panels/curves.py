"""From rows to series: single curves with bands, bundles of many, medians; and what a point says when pointed at."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite

import numpy as np
import pandas as pd
from jaxtyping import Float

from llc_lightning.analysis import table
from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Series, axis_in, step_axis
from llc_lightning.results.quantities import unit_of
from llc_lightning.runtime.kinds import called, plural

HOLLOW = "Hollow points are not ok: they enter no number and no axis limit."
FEW = 4
"""Up to so many components get a curve of their own in the legend; more are drawn as a faint bundle with its median."""
CROWD = 8
"""More curves of their own than that are shown one method, or one n_beta, at a time."""
_PLUS = re.compile(r"\+(?![^{]*\})")
"""What joins the parts of a set; a plus sign in the name of a file of directions joins nothing."""


def unit_of_rows(rows: pd.DataFrame, quantity: str) -> str:
    """Returns what rows of a quantity are counted in: what they say, else what is registered."""
    return table.told_unit(rows) or unit_of(quantity)


def loss_axis(rows: pd.DataFrame, *, log: bool = True) -> Axis:
    """Returns the axis of losses in the unit of their rows."""
    return axis_in("loss", unit_of_rows(rows, "loss"), log=log)


def effect_axis(rows: pd.DataFrame) -> Axis:
    """Returns the axis of ablation effects in the unit of their rows."""
    return axis_in("ablation effect", unit_of_rows(rows, "ablation_effect"))


def over(rows: pd.DataFrame, axis: Axis, *, name: str, color: str, marker: str = "", dash: str = "") -> Series:
    """Returns one curve of trajectory rows (see :mod:`llc_lightning.analysis.trajectories`) with its band."""
    return Series(
        name=name,
        x=axis.place(table.numbers(rows, "step")),
        y=table.numbers(rows, "value"),
        low=table.numbers(rows, "low"),
        high=table.numbers(rows, "high"),
        ok=table.ok(rows),
        color=color,
        marker=marker,
        dash=dash,
        hover=_told(rows),
        unit=table.told_unit(rows),
    )


def bundle(rows: pd.DataFrame, axis: Axis, *, color: str, group: str) -> Series:
    """Returns the faint curves of many components as one series, with breaks between them, and without their bands.

    Args:
        rows: Trajectory rows of all the components.
        axis: Of the step.
        color: Of all the curves.
        group: The legend entry that shows and hides them.
    """
    parts = dict(table.by(rows, "component"))
    curves = [over(parts[unit], axis, name="", color=color) for unit in table.natural(parts)]

    def joined(values: Iterable[Float[np.ndarray, "point"] | None]) -> Float[np.ndarray, "points"]:
        return np.concatenate([np.append(one, np.nan) for one in values if one is not None])

    return Series(
        name="",
        x=joined(one.x for one in curves),
        y=joined(one.y for one in curves),
        low=joined(one.low for one in curves),
        high=joined(one.high for one in curves),
        banded=False,
        ok=np.concatenate([np.append(one.good, [False]) for one in curves]),
        color=color,
        width=0.7,
        opacity=0.35,
        group=group,
        hover=tuple(text for one in curves for text in (*one.hover, "")),
        unit=table.told_unit(rows),
    )


def median(rows: pd.DataFrame, axis: Axis, *, name: str, color: str) -> Series:
    """Returns the median over components of the ok values at each step."""
    good = rows.loc[table.ok(rows)]
    middles = good.groupby("step")["value"].median()
    steps, middle = [int(step) for step in middles.index.tolist()], [float(value) for value in middles.tolist()]
    hover = tuple(f"{name}, step {step}: {value:.4g}" for step, value in zip(steps, middle, strict=True))
    unit = table.told_unit(rows)
    return Series(name, axis.place(steps), np.array(middle), color, width=2.6, hover=hover, unit=unit)


def of_each(rows: pd.DataFrame, units: Sequence[str], axis: Axis, *, name: str, color: str) -> list[Series]:
    """Returns the curves of components: one each for up to :data:`FEW`, of more a faint bundle and its median.

    Args:
        rows: Trajectory rows of the components.
        units: Their addresses, in the order of their markers.
        axis: Of the step.
        name: What the rows have in common.
        color: Of all the curves.
    """
    if len(units) > FEW:
        of_all = median(rows, axis, name=f"{name}, median", color=color)
        return [bundle(rows, axis, color=color, group=of_all.name), of_all]
    parts = [table.select(rows, component=unit) for unit in units]
    return [
        over(part, axis, name=f"{unit}, {name}", color=color, marker=marker, dash=dash)
        for unit, part, marker, dash in zip(units, parts, palette.MARKERS, palette.DASHES, strict=False)
        if len(part)
    ]


def ranked(rows: pd.DataFrame, *, name: str, color: str) -> Series:
    """Returns the values of components at one step in their order, each with its interval."""
    rows = rows.sort_values("value", kind="stable")
    points = over(rows, Axis(""), name=name, color=color, marker="circle")
    return replace(points, x=np.arange(1.0, len(rows) + 1), line=False)


def at_once(rows: pd.DataFrame, units: Sequence[str]) -> bool:
    """Says whether many components were measured at one step alone, so that their curves would be one column."""
    return len(units) > FEW and len(table.steps(rows)) == 1


def axis_of(rows: pd.DataFrame, units: Sequence[str], kind: str) -> Axis:
    """Returns the axis of a figure of components: of the step, or of their order where there is but one step."""
    if at_once(rows, units):
        return Axis(f"{plural(kind)} in the order of their values")
    return step_axis(table.steps(rows))


def when(rows: pd.DataFrame, units: Sequence[str]) -> str:
    """Says what a figure of components runs over."""
    return f"at step {table.steps(rows)[0]}" if at_once(rows, units) else "over training"


def in_panels(
    parts: Mapping[str, pd.DataFrame], units: Sequence[str], axis: Axis, colors: Mapping[str, str]
) -> dict[str, list[Series]]:
    """Returns the curves of components by what they are measured with, in one panel, or in one each where many cross.

    Args:
        parts: Trajectory rows by the name of a method or a rung.
        units: Addresses of the components.
        axis: Of the step.
        colors: By the names of the parts.

    Returns:
        Series by the name of the part that a panel is of; '' for all.
    """
    if at_once(pd.concat([part[["step"]] for part in parts.values()]), units):
        return {"": [ranked(part, name=name, color=colors[name]) for name, part in parts.items()]}
    if len(units) > FEW or (len(parts) > 1 and len(units) * len(parts) <= CROWD):
        every = (of_each(part, units, axis, name=name, color=colors[name]) for name, part in parts.items())
        return {"": [one for some in every for one in some]}
    short = dict(zip(units, short_names(units), strict=True))
    return {
        name: [
            over(table.select(part, component=unit), axis, name=short[unit], color=color, marker=marker, dash=dash)
            for unit, color, marker, dash in zip(units, palette.UNITS, palette.MARKERS, palette.DASHES, strict=False)
        ]
        for name, part in parts.items()
    }


def named(part: str) -> str:
    """Returns what the name of a panel of a part ends with; '' for all parts.

    Example:
        >>> named("noise(scale=0.5)"), named("")
        ('-noise-scale-0-5', '')
    """
    return f"-{re.sub('[^a-z0-9]+', '-', part.lower()).strip('-')}" if part else ""


def of_intervals(rows: pd.DataFrame, units: Sequence[str], kind: str, level: float) -> str:
    """Says what bands are, or where the intervals of many components are told."""
    if at_once(rows, units):
        return f"Bars: {100 * level:g} % intervals of each {called(kind)}."
    if len(units) > FEW:
        return f"Faint: each {called(kind)}, whose error its hover tells; bold: the median of those that are ok."
    return f"Bands: {100 * level:g} % intervals of each {called(kind)}."


def medians(rows: pd.DataFrame, units: Sequence[str]) -> str:
    """Says before medians of components where they are taken."""
    return "median" if at_once(rows, units) else "median at the end"


def median_at_the_end(rows: pd.DataFrame, digits: int) -> str:
    """Returns the median over components at the last step with ok values; '' where there is none.

    It says how many are ok where not all are, and the step where it is not the last.
    """
    good = rows.loc[table.ok(rows)]
    if not len(good):
        return ""
    step = table.steps(good)[-1]
    values, all_of_it = (table.numbers(table.select(some, step=step), "value") for some in (good, rows))
    told = [f"{len(values)} of {len(all_of_it)} ok"] if len(values) < len(all_of_it) else []
    told += [f"step {step}"] if step < table.steps(rows)[-1] else []
    remark = f" ({', '.join(told)})" if told else ""
    return f"{np.median(values):.{digits}g}{remark}"


def plain_over(
    rows: pd.DataFrame, axis: Axis, *, name: str, color: str, level: float, marker: str = "circle"
) -> Series:
    """Returns a curve of rows that have ``step``, ``value`` and ``stderr`` alone, from examples and not from chains."""
    values, errors = table.numbers(rows, "value"), table.numbers(rows, "stderr")
    half = table.half_width(errors, np.zeros(len(rows)), level)
    numbers = zip(table.texts(rows, "step"), values.tolist(), errors.tolist(), strict=True)
    return Series(
        name=name,
        x=axis.place(table.numbers(rows, "step")),
        y=values,
        low=values - half,
        high=values + half,
        color=color,
        marker=marker,
        hover=tuple(f"{name}, step {step}: {table.Measured(value, error)}" for step, value, error in numbers),
    )


def half_dimension(rows: pd.DataFrame, kind: str | None) -> float | None:
    """Returns half the number of weights of a unit, the largest wrLLC it can have, where all units have the same."""
    found = table.restricted_llc(rows, kind=kind)
    each = found.loc[np.isfinite(table.numbers(found, "value"))].drop_duplicates("component")
    sizes = {record.get("dimension") for record in table.details(each)}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return None if size is None else float(size) / 2


def short_names(addresses: Sequence[str]) -> tuple[str, ...]:
    """Returns short names of addresses, different ones for different addresses.

    That is the index alone where all are units of one hook point; of several points as much as tells them apart stands
    before it.

    Example:
        >>> short_names(["net.hook_hidden[0]", "net.hook_hidden[7]"])
        ('0', '7')
        >>> short_names(["blocks.0.attn.hook_z[1]", "blocks.1.attn.hook_z[1]"])
        ('blocks.0[1]', 'blocks.1[1]')
    """
    parts = [[_split(part) for part in _PLUS.split(address)] for address in addresses]
    known = _apart(list(dict.fromkeys(point for each in parts for point, _ in each)))
    names = tuple("+".join(_named(point, rest, known) for point, rest in each) for each in parts)
    return names if len(set(names)) == len(set(addresses)) else tuple(addresses)


def _split(address: str) -> tuple[str, str]:
    """Returns the hook point of an address, and what follows it: units, positions, directions."""
    point = re.split(r"[\[@{]", address, maxsplit=1)[0]
    return point, address[len(point) :]


def _named(point: str, rest: str, known: Mapping[str, str]) -> str:
    if len(known) == 1 and rest:
        return rest.replace("[", "", 1).replace("]", "", 1) if rest.startswith("[") else rest
    return f"{known[point]}{rest}"


def _apart(points: Sequence[str]) -> dict[str, str]:
    """Returns for every point the stretch of its path that tells it from the others, with the word before a number."""
    paths = [point.split(".") for point in points]
    room = min((len(path) for path in paths), default=1) - 1
    first = next((at for at in range(room) if len({path[at] for path in paths}) > 1), room)
    last = next((at for at in range(room - first) if len({path[-1 - at] for path in paths}) > 1), room - first)
    if first and any(path[first].isdigit() for path in paths):
        first -= 1
    return {point: ".".join(path[first : len(path) - last]) for point, path in zip(points, paths, strict=True)}


def _told(rows: pd.DataFrame) -> tuple[str, ...]:
    """Says what each trajectory row is about, its value and its status."""
    columns = [rows[name].tolist() for name in ("component", "method", "step", "n_beta", "value", "stderr", "status")]
    return tuple(map(_point, *columns))


def _point(component: str, method: str, step: int, n_beta: float, value: float, stderr: float, status: str) -> str:
    rung = f"n_beta {n_beta:g}" if isfinite(n_beta) else ""
    where = ", ".join(filter(None, (component or "whole model", method, f"step {step}", rung)))
    return f"{where}: {table.Measured(value, stderr)} ({status})"
