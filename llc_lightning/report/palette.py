"""The colours and markers that mean the same in every figure."""

from collections.abc import Iterable

from llc_lightning.analysis import table

METHODS = {
    **{"zero": "#1f77b4", "mean": "#e6820e", "resample": "#2b9348", "noise": "#8e5bb5", "optimal": "#c0392b"},
    **{"resample(label=class)": "#6fd08c", "counterfactual": "#17849c", "project": "#4d4d9f"},
    **{"weight_zero": "#7fb2e5", "weight_noise": "#c9a0dc", "low_rank": "#f2b705", "quantise": "#a0522d"},
    **{"attribution (zero)": "#1b2a41", "attribution (mean)": "#d977a8"},
}
"""By ablation method, the same in every figure; with settings of their own they take ``OTHERS`` in turn."""
RUNGS = ("#dfa3c7", "#b8428c", "#65105a", "#2a0829")
"""By rank of n_beta on the ladder, low to high; of two the ends."""
MARKERS = ("circle", "square", "diamond", "triangle", "cross")
"""By rank of n_beta on the ladder, low to high."""
DASHES = ("", "dash", "dot", "dashdot")
"""By place among the components that have a curve of their own."""
UNITS = ("#1b2a41", "#b8428c", "#17849c", "#e6820e")
"""By place among the components of a figure in which nothing else has a colour."""
RAW = "#c0392b"
CORRECTED = "#1b2a41"
LOSS = "#1b2a41"
CONTROL = "#8a94a3"
CURVE = "#111111"
HOLLOW = "#9aa3af"
CIRCUITS = "#2b9348"
SHARING = "#8e5bb5"
OTHERS = ("#d81b60", "#795548", "#827717", "#5c677d")
SCALE = "viridis"
"""Of the training step, wherever colour means it."""
MATRIX_COLORS = (*("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"),)
"""Of effect matrices, from 0 up: ColorBrewer's Blues."""


def ordered(names: Iterable[str]) -> list[str]:
    """Returns ablation methods in the order in which figures and tables show them."""
    return table.in_order(names, list(METHODS))


def of_method(name: str, names: list[str]) -> str:
    """Returns the colour of an ablation method among all ``names`` in the figure."""
    others = [one for one in names if one not in METHODS]
    return METHODS.get(name) or OTHERS[others.index(name) % len(OTHERS)]


def of_rung(n_beta: float, ladder: list[float]) -> str:
    """Returns the colour of an n_beta on its ladder."""
    place, last = sorted(ladder).index(n_beta), max(len(ladder) - 1, 1)
    return RUNGS[round(place * (len(RUNGS) - 1) / last)]


def marker_of_rung(n_beta: float, ladder: list[float]) -> str:
    """Returns the marker of an n_beta on its ladder."""
    return MARKERS[sorted(ladder).index(n_beta) % len(MARKERS)]
