"""Turns panels into plotly.js figures, as dicts for JSON: with hover, zoom and a legend that hides."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Matrix, Panel, Series, nice_ticks, runs, thinned

Json = dict[str, Any]

_SYMBOLS = {"": "circle", "triangle": "triangle-up", "cross": "x"}
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1b2a41"}
_GRID = "#e6e8ec"
_ACROSS = {False: 52, True: 120}
"""Letters that go side by side below the narrowest matrix, and below one that is as wide as the page."""
_ROW, _AROUND = 16, 110
"""Pixels of a row with its name, and of what stands above and below all rows."""
# At the lower edge of the figure and not so far below the axes, which a long legend would push up into their title;
# one that is higher than a third of the figure scrolls.
_LEGEND: Json = {
    **{"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "maxheight": 0.35},
    "font": {"size": 11.5},
}


def plotly_figure(panel: Panel | Matrix) -> Json:
    """Returns ``{"data": [...], "layout": {...}}`` for plotly.js; text is escaped, numbers are finite or None."""
    return _cells(panel) if isinstance(panel, Matrix) else _panel(panel)


def least_height(panel: Panel | Matrix) -> int:
    """Returns how many pixels a figure needs so that each name can be read; 0 where every height will do."""
    rows = panel.named_rows if isinstance(panel, Matrix) else None
    return _ROW * rows + _AROUND if rows else 0


def _panel(panel: Panel) -> Json:
    layout: Json = {
        "font": _FONT,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 62, "r": 14, "t": 28, "b": 48},
        "hovermode": "closest",
        "hoverlabel": {"font": {"size": 12}},
        "legend": _LEGEND,
        "showlegend": any(one.name for one in panel.series),
        "xaxis": _axis(panel.x, panel.x_limits) | {"automargin": True},
        "yaxis": _axis(panel.y, panel.y_limits) | {"automargin": True},
        "shapes": [
            *(
                {"type": "rect", "x0": span.left, "x1": span.right, "yref": "paper", "y0": 0, "y1": 1}
                | {"layer": "below", "line": {"width": 0}, "fillcolor": span.color}
                for span in panel.spans
            ),
            *(
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": rule.y, "y1": rule.y}
                | {"layer": "below", "line": {"color": rule.color, "width": 1.2, "dash": "dot"}}
                for rule in panel.rules
            ),
        ],
        "annotations": [
            *(
                {"text": html.escape(rule.label), "xref": "paper", "x": 1, "y": _placed(rule.y, panel.y)}
                | {"xanchor": "right", "yanchor": "bottom", "showarrow": False, "bgcolor": "rgba(255,255,255,0.7)"}
                | {"font": {"size": 11, "color": rule.color}}
                for rule in panel.rules
                if rule.label
            ),
            *(
                {"text": html.escape(note.text), "x": _placed(note.x, panel.x), "y": _placed(note.y, panel.y)}
                | {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "ax": place.right, "ay": -place.up}
                | {"xanchor": "left" if place.right > 0 else "right", "yanchor": "middle"}
                | {"bgcolor": "rgba(255,255,255,0.75)", "borderpad": 0, "font": {"size": 11}}
                for note, place in zip(panel.notes, panel.places, strict=True)
            ),
            *(
                {"text": html.escape(span.label), "x": _placed(span.left, panel.x), "yref": "paper", "y": 1}
                | {"textangle": -90, "xanchor": "left", "yanchor": "top", "showarrow": False, "font": {"size": 11}}
                for span in panel.spans
            ),
        ],
        **({"coloraxis": _color_axis(panel, panel.scale)} if panel.scale else {}),
    }
    return {"data": _traces(panel.series), "layout": layout}


def _traces(series: Sequence[Series]) -> list[Json]:
    """Returns the traces of all series in the order of drawing: bands, hollow points, lines and points, the legend."""
    bands: list[Json] = []
    hollow: list[Json] = []
    drawn: list[Json] = []
    legend: list[Json] = []
    for one in series:
        shared: Json = {"type": "scatter", "legendgroup": html.escape(one.group or one.name), "showlegend": False}
        if one.line and one.banded and one.low is not None and one.high is not None:
            bands.append(shared | _band(one, one.low, one.high))
        if one.line:
            drawn.append(shared | _line(one))
        if one.line and (one.dots | one.barred).any():
            drawn.append(shared | _single(one))
        if one.hollow.any():
            outline = {"color": "white", "size": 6, "line": {"color": one.color, "width": 1}}
            hollow.append(shared | _points(one, one.hollow, outline) | {"opacity": max(one.opacity, 0.55)})
        if one.marker and one.good.any():
            drawn.append(shared | _points(one, one.good, {"size": 6.5, **_fill(one)}) | {"opacity": one.opacity})
        if one.name:
            legend.append(shared | _entry(one))
    return [*bands, *hollow, *drawn, *legend]


def _line(one: Series) -> Json:
    line = {"color": one.color, "width": one.width, "dash": one.dash or "solid"}
    whole: Json = {"mode": "lines", "x": numbers(one.x), "y": numbers(one.y), "line": line, "opacity": one.opacity}
    return whole | ({"hoverinfo": "skip"} if one.marker else _hover(one, np.ones(len(one.x), dtype=bool)))


def _points(one: Series, which: Bool[np.ndarray, "point"], marker: Json) -> Json:
    shape = {"symbol": _SYMBOLS.get(one.marker, one.marker), **marker}
    points: Json = {"mode": "markers", "x": numbers(one.x[which]), "y": numbers(one.y[which]), "marker": shape}
    if not one.line and one.low is not None and one.high is not None:
        low, high = (np.where(one.known, ends, np.nan)[which] for ends in (one.low, one.high))
        points["error_y"] = _bars(one.y[which], low, high, one.color)
    return points | _hover(one, which)


def _single(one: Series) -> Json:
    """Returns what stands for a line where it has a single point: its bar, and a dot where it has no marker."""
    which = one.dots | one.barred
    dots = {"color": one.color, "size": [3 + 1.5 * one.width if dot else 0 for dot in one.dots[which]]}
    points: Json = {"mode": "markers", "x": numbers(one.x[which]), "y": numbers(one.y[which]), "marker": dots}
    points["opacity"] = max(one.opacity, 0.55)
    if one.low is not None and one.high is not None:
        points["error_y"] = _bars(one.y[which], one.low[which], one.high[which], one.color)
    return points | ({"hoverinfo": "skip"} if one.marker else _hover(one, which))


def _fill(one: Series) -> Json:
    if one.shade is None:
        return {"color": one.color}
    return {"color": numbers(np.log10(one.shade[one.good])), "coloraxis": "coloraxis"}


def _hover(one: Series, which: Bool[np.ndarray, "point"]) -> Json:
    told = [html.escape(text) for text, wanted in zip(one.hover, which.tolist(), strict=False) if wanted]
    return {"text": told, "hovertemplate": "%{text}<extra></extra>"} if told else {"hoverinfo": "x+y"}


def _entry(one: Series) -> Json:
    """Returns a trace without points that stands in the legend."""
    color = one.color if one.shade is None else "#444444"
    mode = "+".join(part for part, wanted in (("lines", one.line), ("markers", bool(one.marker))) if wanted)
    line = {"color": color, "width": max(one.width, 1.5), "dash": one.dash or "solid"}
    marker = {"symbol": _SYMBOLS.get(one.marker, one.marker), "color": color, "size": 7}
    return {
        **{"x": [None], "y": [None], "mode": mode, "line": line, "marker": marker},
        **{"name": html.escape(one.name), "showlegend": True, "hoverinfo": "skip"},
    }


def _band(one: Series, low: Float[np.ndarray, "point"], high: Float[np.ndarray, "point"]) -> Json:
    x: list[float | None] = []
    y: list[float | None] = []
    for part in runs(one.known):
        x += [*numbers(one.x[part]), *numbers(one.x[part][::-1]), None]
        y += [*numbers(high[part]), *numbers(low[part][::-1]), None]
    return {
        **{"mode": "lines", "x": x, "y": y, "line": {"width": 0, "color": one.color}},
        **{"fill": "toself", "fillcolor": _transparent(one.color, 0.2 * one.opacity), "hoverinfo": "skip"},
    }


def _bars(
    y: Float[np.ndarray, "point"], low: Float[np.ndarray, "point"], high: Float[np.ndarray, "point"], color: str
) -> Json:
    return {
        **{"type": "data", "symmetric": False, "array": numbers(high - y), "arrayminus": numbers(y - low)},
        **{"color": _transparent(color, 0.45), "thickness": 1, "width": 0},
    }


def _axis(axis: Axis, limits: tuple[float, float]) -> Json:
    shown: Json = {
        "title": {"text": html.escape(axis.label), "standoff": 6, "font": {"size": 13}},
        "type": "log" if axis.log else "linear",
        "range": [math.log10(end) if axis.log else end for end in limits],
        "gridcolor": _GRID,
        "linecolor": "#333333",
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
    }
    ticks = axis.ticks or tuple((at, f"{at:g}") for at in (nice_ticks(*limits) if axis.log else ()))
    if ticks:
        shown |= {"tickvals": [at for at, _ in ticks], "ticktext": [html.escape(text) for _, text in ticks]}
    return shown


def _color_axis(panel: Panel, scale: Axis) -> Json:
    values = np.concatenate([np.log10(one.shade[one.good]) for one in panel.series if one.shade is not None])
    ends = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    ticks = [(math.log10(at), text) for at, text in scale.ticks or () if ends[0] <= math.log10(at) <= ends[1]]
    bar = _bar(scale.label) | {"tickvals": [at for at, _ in ticks]}
    bar |= {"ticktext": [html.escape(text) for _, text in ticks]}
    return {"colorscale": palette.SCALE.capitalize(), "cmin": ends[0], "cmax": ends[1], "colorbar": bar}


def _bar(label: str) -> Json:
    """Returns the bar of a colour scale."""
    title = {"text": html.escape(label), "side": "right", "font": {"size": 12}}
    return {
        "title": title,
        "thickness": 14,
        "outlinewidth": 0,
        "ticks": "outside",
        "ticklen": 3,
        "tickfont": {"size": 11},
    }


def _cells(matrix: Matrix) -> Json:
    rows, columns, *texts = (list(map(html.escape, some)) for some in (matrix.rows, matrix.columns, *matrix.texts))
    number = f"{html.escape(matrix.y_label)} %{{y}}, {html.escape(matrix.x_label)} %{{x}}: %{{z:.4g}}"
    told = f"{'%{hovertext}' if matrix.hover else number}<extra></extra>"
    trace: Json = {
        "type": "heatmap",
        "x": columns,
        "y": rows,
        "z": [numbers(row) for row in matrix.values],
        "colorscale": [[at / 8, color] for at, color in enumerate(palette.MATRIX_COLORS)],
        "zmin": matrix.lowest,
        "zmax": matrix.highest,
        "hoverongaps": False,
        "hovertemplate": told,
        **({"hovertext": [[html.escape(text) for text in row] for row in matrix.hover]} if matrix.hover else {}),
        **({"text": texts, "texttemplate": "%{text}"} if texts else {}),
        "colorbar": _bar(matrix.unit),
    }
    category: Json = {"type": "category", "ticks": "outside", "ticklen": 3, "tickfont": {"size": 10}, "showgrid": False}
    layout: Json = {
        "font": _FONT,
        "margin": {"l": 56, "r": 10, "t": 28, "b": 46},
        "xaxis": category
        | {"title": {"text": html.escape(matrix.x_label), "font": {"size": 13}, "standoff": 8}, "tickangle": 0}
        | {"tickvals": [columns[at] for at in thinned(columns, _ACROSS[matrix.wide])]},
        "yaxis": category
        | {"title": {"text": html.escape(matrix.y_label), "font": {"size": 13}, "standoff": 8}, "automargin": True}
        | ({"tickvals": rows} if matrix.named_rows else {"nticks": 20})
        | {"autorange": "reversed"},
        "plot_bgcolor": "#f1f1f1",
    }
    return {"data": [trace], "layout": layout}


def numbers(values: Float[np.ndarray, "point"]) -> list[float | None]:
    """Returns values with six significant digits, None for those that are not finite.

    Example:
        >>> numbers(np.array([1.23456789, np.nan]))
        [1.23457, None]
    """
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def _placed(value: float, axis: Axis) -> float:
    """Returns where plotly wants an annotation: in powers of ten on a logarithmic axis."""
    return math.log10(value) if axis.log else value


def _transparent(color: str, opacity: float) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:.3g})"
