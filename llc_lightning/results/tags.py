"""How values are called in TensorBoard, and the charts that show them: plain data, for whoever logs or lays out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Charts: TypeAlias = Mapping[str, Mapping[str, list[Any]]]
"""Groups of charts by heading, and in each the charts by title: ``["Multiline", [pattern, ...]]`` of the tags shown, or
``["Margin", [value, low, high]]`` of three tags, as TensorBoard's custom scalars read them."""


def address_tag(address: str) -> str:
    """Returns an address in the characters that TensorBoard keeps in tags.

    Example:
        >>> address_tag("net.hook_hidden[3,5]")
        'net.hook_hidden.3-5'
    """
    return re.sub(r"[^-/\w.]", "_", address.replace("[", ".").replace("]", "").replace(",", "-"))


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


def charts_of(quantities: Iterable[str]) -> Charts:
    """Returns a chart for each of some quantities, for a kind of measurement that has none of its own.

    Example:
        >>> charts_of(["attention_score"])
        {'Other quantities': {'attention_score': ['Multiline', ['^attention_score/']]}}
    """
    return {"Other quantities": {name: ["Multiline", [f"^{re.escape(name)}/"]] for name in quantities}}
