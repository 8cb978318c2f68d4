"""Draws panels with matplotlib: for PNG and SVG files and for TensorBoard. Needs no display."""

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from llc_lightning.report import palette
from llc_lightning.report.panel import Axis, Matrix, Panel, Series, nice_ticks, runs, thinned

_MARKERS = {"": "o", "circle": "o", "square": "s", "diamond": "D", "triangle": "^", "cross": "X"}
_DASHES: dict[str, Any] = {"": "-", "dash": (0, (4, 2)), "dot": (0, (1, 1.4)), "dashdot": (0, (5, 2, 1, 2))}
_GRID = "#e6e8ec"
LONG_LEGEND = 5
"""A legend of more entries stands beside the axes, of fewer on them."""
_ENTRY, _LETTER, _ROW = 0.6, 0.065, 0.17
"""Inches that a legend takes for each entry, for each letter of it, and for each of its rows."""
_ACROSS = 84
"""Letters that go side by side below a matrix."""
_NAMED, _AROUND = 0.14, 1.1
"""Inches of a row of a matrix with its name, and of what stands above and below all rows."""
_SMALLER = 8 / 11
"""The font of labels beside that of the page."""
_HALO = [withStroke(linewidth=2.5, foreground="white")]

_SAME = {"svg.hashsalt": "llc_lightning"}
"""Names the parts of an SVG, which otherwise are drawn anew every time."""

# The type stubs of matplotlib leave keyword arguments unknown, which strict typing refuses at every call.
Axes = Any
Drawing = Any
_matplotlib: Any = import_module("matplotlib")


def draw(panel: Panel | Matrix, *, size: tuple[float, float] = (6.6, 4.3)) -> Figure:
    """Returns the figure of a panel.

    Args:
        panel: What to show.
        size: Width and height in inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes: Axes = figure.add_subplot()
    axes.set_title(_plain(panel.title), fontsize=10, loc="left", wrap=True)
    if isinstance(panel, Matrix):
        _cells(figure, axes, panel)
    else:
        _plot(figure, axes, panel)
    return figure


def save(figure: Drawing, path: Path) -> Path:
    """Writes a figure in the format of the path's suffix (``.png``, ``.svg``, ``.pdf``) and returns the path."""
    with _matplotlib.rc_context(_SAME):
        figure.savefig(path, dpi=130, metadata=_undated(path.suffix))
    return path


def svg(figure: Drawing) -> str:
    """Returns a figure as an SVG element to put into a page."""
    text = io.StringIO()
    with _matplotlib.rc_context(_SAME):
        figure.savefig(text, format="svg", metadata=_undated(".svg"))
    return text.getvalue()[text.getvalue().index("<svg") :]


def _undated(suffix: str) -> dict[str, None]:
    """Leaves the date out of formats that would hold it, so that the same rows give the same file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})


def _plot(figure: Drawing, axes: Axes, panel: Panel) -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for which, axis, limits in (("x", panel.x, panel.x_limits), ("y", panel.y, panel.y_limits)):
        _scale(axes, which, axis, limits)
    for span in panel.spans:
        axes.axvspan(span.left, span.right, color=span.color, linewidth=0, zorder=0)
        axes.annotate(
            _plain(span.label),
            (span.left, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -3),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7.5,
            zorder=5,
            path_effects=_HALO,
        )
    for one in panel.series:
        _series(figure, axes, one, panel)
    for rule in panel.rules:
        axes.axhline(rule.y, color=rule.color, linewidth=1.1, linestyle=(0, (2, 2)), zorder=1.5)
        axes.annotate(
            _plain(rule.label),
            (1, rule.y),
            xycoords=("axes fraction", "data"),
            xytext=(-8, 2),  # its halo makes it wider than it is told to be
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=rule.color,
            zorder=5,
            path_effects=_HALO,
        )
    for note, place in zip(panel.notes, panel.places, strict=True):
        axes.annotate(
            _plain(note.text),
            (note.x, note.y),
            xytext=(_SMALLER * place.right, _SMALLER * place.up),
            textcoords="offset points",
            ha="left" if place.right > 0 else "right",
            va="center",
            fontsize=8,
            zorder=6,
            path_effects=_HALO,
            arrowprops={"arrowstyle": "-", "color": "#444444", "linewidth": 0.7},
        )
    named = [one for one in panel.series if one.name]
    if len(named) > 1 or panel.scale:
        _legend(figure, axes, named)


def _legend(figure: Drawing, axes: Axes, named: Sequence[Series]) -> None:
    """Puts the legend where it covers least, or below the axes, with room of its own, where it is long."""
    handles, names = [_handle(one) for one in named], [_plain(one.name) for one in named]
    look: dict[str, Any] = {"fontsize": 8, "framealpha": 0.85, "edgecolor": _GRID}
    if len(named) <= LONG_LEGEND:
        axes.legend(handles, names, **look)
        return
    width, height = figure.get_size_inches()
    columns = max(1, int(width / (_ENTRY + _LETTER * max(map(len, names)))))
    figure.set_size_inches(width, height + _ROW * -(-len(names) // columns))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **look)


def _scale(axes: Axes, which: str, axis: Axis, limits: tuple[float, float]) -> None:
    one = axes.xaxis if which == "x" else axes.yaxis
    one.set_label_text(_plain(axis.label))
    if axis.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(*limits)
    ticks = axis.ticks or tuple((at, f"{at:g}") for at in (nice_ticks(*limits) if axis.log else ()))
    if ticks:
        inside = [tick for tick in ticks if limits[0] <= tick[0] <= limits[1]]
        one.set_ticks([at for at, _ in inside], [text for _, text in inside])
        one.set_minor_locator(NullLocator())


def _series(figure: Drawing, axes: Axes, one: Series, panel: Panel) -> None:
    if one.low is not None and one.high is not None:
        _intervals(axes, one, one.low, one.high)
    if one.line:
        axes.plot(
            one.x,
            one.y,
            color=one.color,
            linewidth=one.width,
            alpha=one.opacity,
            linestyle=_DASHES[one.dash],
            zorder=3 if one.framing else 5,
        )
    if one.dots.any():
        dot = {"s": (2 + one.width) ** 2, "color": one.color, "alpha": max(one.opacity, 0.55), "linewidths": 0}
        axes.scatter(one.x[one.dots], one.y[one.dots], zorder=3 if one.framing else 5, **dot)
    shape = _MARKERS[one.marker]
    if one.shade is not None:
        norm = (LogNorm if panel.scale and panel.scale.log else Normalize)(*_ends(panel))
        colored: dict[str, Any] = {"c": one.shade[one.good], "cmap": palette.SCALE, "norm": norm}
        points = axes.scatter(
            one.x[one.good], one.y[one.good], s=17, marker=shape, alpha=one.opacity, zorder=3, **colored
        )
        if panel.scale and not figure.axes[1:]:
            bar = figure.colorbar(points, ax=axes, pad=0.01, label=panel.scale.label)
            bar.solids.set_alpha(1)
            if panel.scale.ticks:
                shown = [tick for tick in panel.scale.ticks if _ends(panel)[0] <= tick[0] <= _ends(panel)[1]]
                bar.set_ticks([at for at, _ in shown], labels=[text for _, text in shown])
                bar.ax.minorticks_off()
    elif one.marker:
        axes.scatter(one.x[one.good], one.y[one.good], s=17, marker=shape, color=one.color, alpha=one.opacity, zorder=4)
    if one.hollow.any():
        axes.scatter(
            one.x[one.hollow],
            one.y[one.hollow],
            s=15,
            marker=shape,
            facecolors="white",
            edgecolors=one.color,
            linewidths=0.9,
            alpha=max(one.opacity, 0.55),
            zorder=2.5,
        )


def _intervals(axes: Axes, one: Series, low: Float[np.ndarray, "point"], high: Float[np.ndarray, "point"]) -> None:
    at = one.barred
    if at.any():
        axes.errorbar(
            one.x[at],
            one.y[at],
            np.stack([one.y - low, high - one.y])[:, at],
            fmt="none",
            ecolor=one.color,
            elinewidth=0.8,
            alpha=min(0.5, one.opacity),
            zorder=2,
        )
    for part in runs(one.line & one.banded & one.known):
        shade = 0.2 * one.opacity
        axes.fill_between(one.x[part], low[part], high[part], color=one.color, alpha=shade, linewidth=0, zorder=2)


def _cells(figure: Drawing, axes: Axes, matrix: Matrix) -> None:
    if matrix.named_rows:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, max(height, _NAMED * matrix.named_rows + _AROUND))
    image = axes.imshow(
        matrix.values,
        aspect="auto",
        cmap=LinearSegmentedColormap.from_list("matrix", palette.MATRIX_COLORS),
        vmin=matrix.lowest,
        vmax=matrix.highest,
        interpolation="nearest",
    )
    axes.set_xlabel(_plain(matrix.x_label))
    axes.set_ylabel(_plain(matrix.y_label))
    every = 1 if matrix.named_rows else max(1, -(-len(matrix.rows) // 16))
    across, down = thinned(matrix.columns, _ACROSS), list(range(0, len(matrix.rows), every))
    axes.set_xticks(across, [_plain(matrix.columns[at]) for at in across], fontsize=7)
    axes.set_yticks(down, [_plain(matrix.rows[at]) for at in down], fontsize=7)
    middle = (matrix.lowest + matrix.highest) / 2
    for row, texts in enumerate(matrix.texts):
        for column, text in enumerate(texts):
            color = "white" if matrix.values[row, column] > middle else "black"
            axes.text(column, row, _plain(text), ha="center", va="center", fontsize=7.5, color=color)
    figure.colorbar(image, ax=axes, pad=0.01, label=_plain(matrix.unit))


def _ends(panel: Panel) -> tuple[float, float]:
    """Returns the ends of the colour scale: the values of the ok points."""
    values = np.concatenate([one.shade[one.good] for one in panel.series if one.shade is not None])
    return (float(values.min()), float(values.max())) if len(values) else (1.0, 10.0)


def _handle(one: Series) -> Line2D:
    return Line2D(
        [],
        [],
        color=one.color if one.shade is None else "#444444",
        linestyle=_DASHES[one.dash] if one.line else "",
        linewidth=max(one.width, 1.5),
        marker=_MARKERS[one.marker] if one.marker else "",
        markersize=5,
    )


def _plain(text: str) -> str:
    """Keeps a dollar sign from starting mathematics."""
    return text.replace("$", r"\$")
