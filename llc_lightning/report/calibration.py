"""The picture of a calibration: the LLC over step size and n_beta, the acceptance and R-hat."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from llc_lightning.llc.calibrate.checks import RHAT
from llc_lightning.llc.calibrate.search import Calibration
from llc_lightning.llc.calibrate.sweep import Sweep
from llc_lightning.llc.record import LLCRecord
from llc_lightning.report import palette

# The type stubs of matplotlib leave keyword arguments unknown, which strict typing refuses at every call.
Axes = Any


def draw_calibration(calibration: Calibration, swept: Sweep) -> Figure:
    """Returns the figure; estimates that are not ok are hollow, and what was chosen is the dashed line."""
    figure = Figure(figsize=(10.5, 6.6), layout="constrained")
    grid: Any = figure.subplots(2, 2, height_ratios=(2, 1))
    (steps, rungs), (acceptance, mixing) = grid
    chosen, at = calibration.record.step_size, calibration.choice.resolution
    _llcs(steps, swept.over_steps, lambda record: record.step_size, f"LLC at n_beta = {at.n_beta:.4g}")
    _llcs(rungs, swept.over_n_beta, lambda record: record.n_beta, f"LLC at gamma = {at.gamma:.4g}")
    for low, high in swept.plateaus:
        rungs.axvspan(low, high, color=palette.OTHERS[0], alpha=0.12, linewidth=0)
    flat = "shaded" if swept.plateaus else "none here"
    rungs.set_title(f"plateau, |d ln LLC / d ln n_beta| < 0.1: {flat}", fontsize=8, loc="right")
    sizes = [record.step_size for record in swept.over_steps]
    acceptance.plot(sizes, swept.acceptances, "o-", color=palette.OTHERS[0])
    acceptance.set(ylim=(-0.03, 1.03), ylabel="accepted by MALA")
    mixing.plot([record.n_beta for record in swept.over_n_beta], [r.rhat for r in swept.over_n_beta], "o-", color="k")
    mixing.axhline(RHAT, color=palette.RAW, linewidth=1)
    mixing.annotate(f"{RHAT}", (1.0, RHAT), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    mixing.set(ylabel="R-hat")
    for axes, value, name in (
        (steps, chosen, "step size"),
        (acceptance, chosen, "step size"),
        (rungs, at.n_beta, "n_beta (inverse temperature x examples)"),
        (mixing, at.n_beta, "n_beta (inverse temperature x examples)"),
    ):
        axes.set(xscale="log", xlabel=name)
        axes.axvline(value, color=palette.HOLLOW, linestyle="--", linewidth=1, zorder=0)
        axes.grid(color="#e6e8ec", linewidth=0.6)
    drawing: Any = figure
    drawing.suptitle("\n".join(wrap(title_of(calibration, swept), 130)), fontsize=10, x=0.01, ha="left")
    return figure


def title_of(calibration: Calibration, swept: Sweep) -> str:
    """Returns the verdict, and whether the sweep's chains are shorter than those that it is about."""
    settings = calibration.choice.settings
    verdict = "accepted." if calibration.accepted else calibration.refusal
    title = f"Calibration of {settings.sampler}: {verdict}"
    draws = swept.over_n_beta[0].settings.draws
    if draws < settings.draws:
        title += f" The sweep stays within the budget with {draws} draws a chain in place of {settings.draws}."
    return title


def _llcs(axes: Axes, records: Sequence[LLCRecord], of: Callable[[LLCRecord], float], label: str) -> None:
    for ok in (True, False):
        some = [record for record in records if (record.status == "ok") == ok]
        face = palette.CORRECTED if ok else "white"
        axes.errorbar(
            np.array([of(record) for record in some]), np.array([record.value for record in some]),
            np.array([2 * record.stderr for record in some]),
            fmt="o", color=palette.CORRECTED, markerfacecolor=face, capsize=3,
            label="mean, 2 standard errors" if ok else "flagged",
        )  # fmt: skip
    stein = [(of(record), record.estimates["stein"].value) for record in records if "stein" in record.estimates]
    if stein:
        axes.plot(*zip(*stein, strict=True), "x--", color=palette.OTHERS[1], label="Stein estimate", linewidth=1)
    axes.set(ylabel=label)
    axes.legend(fontsize=8, frameon=False)
