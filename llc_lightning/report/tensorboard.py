"""The TensorBoard dashboard of a run: tags, values of one step, the prepared layout, and figures."""

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import superposition_over_training
from llc_lightning.analysis.health import health
from llc_lightning.analysis.trajectories import trajectories
from llc_lightning.report.charts import method_tag, rung_tag
from llc_lightning.report.sections import other_quantities
from llc_lightning.report.source import Source
from llc_lightning.results.schema import COLUMNS, Row
from llc_lightning.runtime.kinds import at_level, level_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 32
"""So many components, the largest, get a curve of their own in each group."""

_SUFFIX = ".report"
_FLAGGED = "flagged/"


def scalars(rows: Iterable[Row]) -> dict[str, float]:
    """Returns what one step's rows say, by tag, for ``logger.log_metrics``.

    Values that are not ok are logged under ``flagged/`` and so enter no curve of the dashboard; failed ones are counted
    in ``health/`` alone. Replicates are left out.

    ===============================================  ==================================================
    tag                                              value
    ===============================================  ==================================================
    ``llc/full``, ``llc/full_lo``, ``llc/full_hi``   LLC of the whole model at the largest n_beta, and its 95 % interval
    ``llc/full_plus_delta``, ``llc/rhat``            with its correction; R-hat of its chains
    ``llc_units/n_beta_300/net.hook_hidden.7``       wrLLC of a unit; ``llc_layers/`` of a layer
    ``ablation/zero/net.hook_hidden.7``              effect of ablating a unit; ``ablation_layers/``
    ``llc_over_units/n_beta_300/median``             over the units that are ok; ``lowest``, ``highest``
    ``ablation_over_units/zero/median``              the same of effects
    ``analysis/loss_on_16384``                       loss on an analysis set, by its number of examples
    ``cis/circuits_solved``, ``cis/accuracy``, ...   of nets with circuits
    ``health/llc.neuron/flagged``                    rows that are not ok
    ``attention_score/induction/blocks.0...``        any quantity that no panel is about, by method and loss
    ===============================================  ==================================================
    """
    return scalars_of(pd.DataFrame([vars(row) for row in rows], columns=list(COLUMNS)))


def scalars_of(rows: pd.DataFrame) -> dict[str, float]:
    """Returns what the table of one step says, by tag."""
    frame = table.first_replicate(rows)
    curves = trajectories(frame)
    found: dict[str, float] = {**_full(curves, frame)}
    for kind in table.natural(table.distinct(curves, "kind") - {"", *at_level("model")}):
        suffix = "layers" if level_of(kind) == "layers" else "units"
        llc = table.select(curves, quantity="llc", kind=kind)
        llc = llc.loc[np.asarray(llc["component"] == llc["params_moved"], dtype=bool)]
        for n_beta, part in table.by(llc, "n_beta"):
            found |= _largest(part, f"llc_{suffix}/{rung_tag(n_beta)}")
            found |= _over(part, f"llc_over_{suffix}/{rung_tag(n_beta)}")
        effects = table.select(curves, quantity="ablation_effect", kind=kind)
        for method, part in table.by(effects, "method"):
            group = "ablation_layers" if suffix == "layers" else "ablation"
            found |= _largest(part, f"{group}/{method_tag(method)}")
            found |= _over(part, f"ablation_over_{suffix}/{method_tag(method)}")
    found |= _whole(curves, frame) | _others(frame)
    return {tag: value for tag, value in found.items() if math.isfinite(value)}


def figures(source: Source) -> "dict[str, Figure]":
    """Returns the figures of a run's report by tag, for ``SummaryWriter.add_figure``."""
    from llc_lightning.report.figures import draw

    return {f"report/{panel.name}": draw(panel) for some in source.sections.values() for panel in some}


def write_figures(source: Source) -> int:
    """Adds the figures of the report to a run's event files, in place of those of an earlier call; returns how many.

    Raises:
        OSError: If the folder cannot be written to.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder, drawn = source.folder, figures(source)
    for path in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
        path.unlink()
    writer: Any = SummaryWriter(str(folder), filename_suffix=_SUFFIX)
    for tag, figure in drawn.items():
        writer.add_figure(tag, figure, global_step=source.found.steps[-1])
    writer.close()
    return len(drawn)


def address_tag(address: str) -> str:
    """Returns an address in the characters that TensorBoard keeps in tags.

    Example:
        >>> address_tag("net.hook_hidden[3,5]")
        'net.hook_hidden.3-5'
    """
    return re.sub(r"[^-/\w.]", "_", address.replace("[", ".").replace("]", "").replace(",", "-"))


def _full(curves: pd.DataFrame, frame: pd.DataFrame) -> dict[str, float]:
    """Returns the full LLC; where several (n_beta, gamma) were measured, all but the last under names of their own."""
    whole = table.select(curves, component="", params_moved="all", quantity=("llc", "llc_plus_delta"))
    resolutions = table.by(whole, "n_beta", "gamma")
    rhat = table.select(table.full_llc(frame), status="ok")
    found: dict[str, float] = {}
    for (n_beta, gamma), here in resolutions:
        group = "llc" if (n_beta, gamma) == resolutions[-1][0] else f"llc/{rung_tag(n_beta)}_gamma_{gamma:.12g}"
        for quantity, name in (("llc", "full"), ("llc_plus_delta", "full_plus_delta")):
            found |= _one(table.select(here, quantity=quantity), f"{group}/{name}")
        raw = table.select(here, quantity="llc")
        for column, name in (("low", "full_lo"), ("high", "full_hi")) if table.ok(raw).any() else ():
            found[f"{group}/{name}"] = float(table.numbers(raw, column)[-1])
        values = table.numbers(table.select(rhat, n_beta=n_beta, gamma=gamma), "rhat")
        found |= {f"{group}/rhat": float(values[-1])} if len(values) else {}
    return found


def _whole(curves: pd.DataFrame, frame: pd.DataFrame) -> dict[str, float]:
    """Returns the loss, what is known about circuits, and how many rows are not ok."""
    losses = table.select(curves, quantity="loss", component="", method="")
    found: dict[str, float] = {}
    for n, part in table.by(losses, "n_examples"):
        found |= _one(part, f"analysis/loss_on_{n}")
    circuits = superposition_over_training(frame)
    names, values = table.texts(circuits, "quantity"), table.numbers(circuits, "value").tolist()
    found |= {f"cis/{name}": value for name, value in zip(names, values, strict=True)}
    for count in health(frame).counts:
        if count.kind:
            group = f"health/{count.quantity}.{count.kind}"
            found |= {f"{group}/flagged": float(count.flagged), f"{group}/failed": float(count.failed)}
    return found


def _others(frame: pd.DataFrame) -> dict[str, float]:
    """Returns the quantities that no panel is about: of the whole network and of the largest components."""
    rows = table.select(frame, quantity=other_quantities(table.distinct(frame, "quantity")))
    found: dict[str, float] = {}
    for _, part in rows.groupby(["quantity", "method", "loss", "n_beta"], sort=False, dropna=False):
        quantity, method, loss = (table.texts(part, name)[0] for name in ("quantity", "method", "loss"))
        n_beta = float(table.numbers(part, "n_beta")[0])
        words = (method, "" if loss == "train" else loss, rung_tag(n_beta) if math.isfinite(n_beta) else "")
        group = "/".join([quantity, *(method_tag(word) for word in words if word)])
        found |= _one(table.select(part, component=""), f"{group}/full")
        found |= _largest(part.loc[np.asarray(part["component"] != "", dtype=bool)], group)
    return found


def _largest(rows: pd.DataFrame, group: str) -> dict[str, float]:
    """Returns the largest values among the components, those that are not ok set apart."""
    kept = rows.sort_values("value", ascending=False, kind="stable").head(MOST)
    values = zip(
        table.texts(kept, "component"), table.ok(kept).tolist(), table.numbers(kept, "value").tolist(), strict=True
    )
    return {f"{'' if good else _FLAGGED}{group}/{address_tag(address)}": value for address, good, value in values}


def _over(rows: pd.DataFrame, group: str) -> dict[str, float]:
    """Returns the median, lowest and highest of the values that are ok; none of layers, which are few."""
    good = table.numbers(rows.loc[table.ok(rows)], "value")
    if not len(good) or "_over_layers/" in group:
        return {}
    named = {"lowest": good.min(), "median": np.median(good), "highest": good.max()}
    return {f"{group}/{name}": float(value) for name, value in named.items()}


def _one(rows: pd.DataFrame, tag: str) -> dict[str, float]:
    """Returns the last of the rows, set apart if it is not ok."""
    if not len(rows):
        return {}
    return {f"{'' if table.ok(rows)[-1] else _FLAGGED}{tag}": float(table.numbers(rows, "value")[-1])}
