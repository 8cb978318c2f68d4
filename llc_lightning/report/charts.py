"""The prepared dashboard of TensorBoard's custom scalars: which tags are drawn together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Charts: TypeAlias = Mapping[str, Mapping[str, list[Any]]]
"""By the names of the group and the chart: ``["Multiline", patterns of tags]`` or ``["Margin", three tags]``."""

_OVER = ": lowest, median and highest unit"
UNITS = "LLC against ablation"
"""The group of what is measured of every unit. Its charts have three curves each, since TensorBoard names those of a
chart when they are pointed at alone; those of single units stand among the scalars."""

LAYERS = "Layers"


def layout(charts: Iterable[Charts] = (), *, circuits: bool = True) -> dict[str, dict[str, list[Any]]]:
    """Returns the dashboard for ``SummaryWriter.add_custom_scalars``: what every training has, and the given charts.

    Args:
        charts: Those of what is measured, as the measuring callbacks give them.
        circuits: Whether the net has circuits that can be counted.
    """
    counted = {"circuits": ["Multiline", ["^cis/circuits_solved$", "^cis/circuits_per_unit$"]]} if circuits else {}
    groups: dict[str, dict[str, list[Any]]] = {
        UNITS: {
            "full LLC with its interval": ["Margin", ["llc/full", "llc/full_lo", "llc/full_hi"]],
            "full LLC, raw and with Delta": ["Multiline", ["^llc/(n_beta_[^/]*/)?full(_plus_delta)?$"]],
        },
        LAYERS: {"ablation effects of layers": ["Multiline", ["^ablation_layers/"]]},
        "Training": {
            "loss": ["Multiline", ["^train/loss$", "^val/loss$", "^analysis/loss_on_"]],
            **counted,
            "accuracy": ["Multiline", ["^(cis|train|val)/(.*_)?accuracy(_.*)?$"]],
        },
        "Health": {
            "R-hat of the full LLC": ["Multiline", ["^llc/rhat$"]],
            "rows that are not ok": ["Multiline", ["^health/.*/(flagged|failed)$"]],
        },
    }
    for given in charts:
        for group, more in given.items():
            groups.setdefault(group, {}).update(more)
    return groups


def rung_charts(n_beta: Sequence[float], *, units: bool = True, layers: bool = True) -> Charts:
    """Returns charts of wrLLC: of units for every rung of a ladder, and of layers, where they are measured."""
    of_units = {
        f"wrLLC at n_beta {rung:g}{_OVER}": ["Multiline", [f"^llc_over_units/{rung_tag(rung)}/"]] for rung in n_beta
    }
    of_layers = {"wrLLC of layers": ["Multiline", ["^llc_layers/"]]}
    return {**({UNITS: of_units} if units else {}), **({LAYERS: of_layers} if layers else {})}


def method_charts(methods: Sequence[str]) -> Charts:
    """Returns a chart of the units' effects for every ablation method."""
    return {
        UNITS: {
            f"effect of {name} ablation{_OVER}": ["Multiline", [f"^ablation_over_units/{method_tag(name)}/"]]
            for name in methods
        }
    }


def quantity_charts(quantities: Iterable[str]) -> Charts:
    """Returns a chart for each of some quantities, for a kind of measurement that has none of its own.

    Example:
        >>> quantity_charts(["attention_score"])
        {'Other quantities': {'attention_score': ['Multiline', ['^attention_score/']]}}
    """
    return {"Other quantities": {name: ["Multiline", [f"^{re.escape(name)}/"]] for name in quantities}}


def method_tag(method: str) -> str:
    """Returns a method with its options in the characters that TensorBoard keeps in tags.

    Example:
        >>> method_tag("noise(scale=0.5,draws=8)")
        'noise_scale_0.5_draws_8'
    """
    return re.sub(r"[^-\w.]+", "_", method).strip("_")


def rung_tag(n_beta: float) -> str:
    """Returns an n_beta in the characters that TensorBoard keeps in tags.

    Example:
        >>> rung_tag(10000.0)
        'n_beta_10000'
    """
    return f"n_beta_{n_beta:.12g}".replace("+", "")
