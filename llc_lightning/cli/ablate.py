"""The command ``analyze.py ablate``: any methods on any components of a run's snapshots."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from llc_lightning.analysis import revisions, table
from llc_lightning.analysis.co_ablation import interactions, unmatched
from llc_lightning.analysis.method_agreement import MethodAgreement, method_agreement
from llc_lightning.cli.console import make_folder
from llc_lightning.cli.offline import model_and_examples
from llc_lightning.cli.own import Own
from llc_lightning.components.kinds.joined import PAIRS
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.jobs import Job, data_digest
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.report.cells import Table, number
from llc_lightning.report.events import Logged
from llc_lightning.report.figures import draw, save
from llc_lightning.report.sections import PANELS, Findings, View, find
from llc_lightning.results.run import Run
from llc_lightning.results.schema import plain, settings_hash
from llc_lightning.runtime.batches import n_examples
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.kinds import plural
from llc_lightning.runtime.progress import Progress

PART = "ablate"
"""How the names of the command's parts begin; what was asked for follows, so that asking for more loses nothing."""
_RESAMPLES = 999
_SHOWN = 12
_MOST = 20
_COLUMNS = ("step", "component", "kind", "method", "loss", "value", "stderr", "n_examples", "status")
_VERDICTS = (
    "±: one standard error, of all three effects. additive: within 2 standard errors of the members' sum. More than "
    "the sum: redundant where the pair is more than each alone, else amplifying. Less than the sum: cancelling where "
    "it is less than each alone, else overlapping. Given: the effect of one where the other is ablated already."
)


@dataclass(frozen=True)
class Ablated:
    """What one call of the command gives."""

    written: list[Path]
    effects: pd.DataFrame
    """The rows that it asked for, the largest effects first."""
    tables: list[Table]
    notes: list[str]
    """What was asked for and could not be drawn."""

    def records(self) -> list[dict[str, object]]:
        """Returns all effects, with None for what is not finite."""
        return cast("list[dict[str, object]]", plain(self.effects[list(_COLUMNS)].to_dict("records")))


def ablate_run(options: Namespace, *, progress: Progress) -> Ablated:
    """Returns the files that were written, and what was found.

    Args:
        options: ``run``, ``components``, ``methods``, ``metrics``, ``mask``, ``steps``, ``examples``, ``figures``,
            ``again``, ``out``, ``module``, ``data``.
        progress: Shows how far it is.

    Raises:
        LLCLightningError: If it cannot be measured, or the folder of the figures cannot be made.
    """
    if options.figures:
        make_folder(options.figures, option="--figures")
    run = Run.open(options.run)
    model, data = model_and_examples(options.run, Own.of(options))
    plan = AblationPlan(
        components=_with_members(options.components),
        methods=tuple(options.methods),
        metrics=tuple(options.metrics),
        examples=options.examples,
        mask=options.mask,
        resamples=_RESAMPLES,
    )
    steps = options.steps or [max(run.snapshots, default=0)]
    plans = {f"{PART}-{settings_hash(asdict(plan))[:8]}": plan}
    written = measure_snapshots(
        model, data, plans, run, steps=steps, again=options.again, out=options.out, progress=progress
    )
    measured = Run.open(options.out or options.run)
    fitted = plan.fitted(n_examples(data))
    jobs = fitted.jobs(fitted.components_of(model, data), data=data_digest(data, fitted.examples))
    every = _rows_of(measured.measurements(), jobs, steps)
    rows, left_out = revisions.newest(every), revisions.older(every)
    drawn, notes = _drawn(find(rows, run=measured.name), options.figures) if options.figures else ([], [])
    notes += [revisions.told(left_out)] if left_out else []
    effects = _largest_first(table.select(rows, method={job.method for job in jobs}))
    agreement = method_agreement(rows)
    compared = [correlation_table(agreement), disagreement_table(agreement)] if agreement else []
    tables = [effect_table(effects), *compared, interaction_table(rows)]
    return Ablated([*written, *drawn], effects, [one for one in tables if one is not None], notes)


def effect_table(effects: pd.DataFrame) -> Table | None:
    """Returns the first of the effects that a call asked for; None where there are none."""
    several = ("step",) if len(table.steps(effects)) > 1 else ()
    told = [str(table.measured(effects, at)) for at in range(len(effects))]
    names = ("component", "method", "loss", "n_examples", "status", *several)
    what, how = [table.texts(effects, name) for name in names[:3]], [table.texts(effects, name) for name in names[3:]]
    rows = tuple(zip(*what, told, *how, strict=True))
    if not rows:
        return None
    more = f" {len(rows) - _MOST} more: --json gives all." if len(rows) > _MOST else ""
    return Table(
        "effects",
        "Effects of ablating, the largest first",
        ("component", "method", "loss or metric", "effect", "examples", "status", *several),
        rows[:_MOST],
        f"Effect: the rise of the loss or metric by ablating, ± its standard error over examples.{more}",
    )


def correlation_table(one: MethodAgreement) -> Table:
    """Returns the rank correlations between methods."""
    return Table(
        "methods",
        f"Rank correlations between methods over {len(one.components)} {plural(one.kind)} at step {one.step}",
        ("methods", "rank correlation"),
        tuple((f"{a} ~ {b}", str(found)) for (a, b), found in one.correlations.items()),
        one.told,
    )


def disagreement_table(one: MethodAgreement) -> Table | None:
    """Returns the components that methods disagree about most; None where they agree."""
    rows = tuple(
        (
            *(each.component, each.methods[0], number(each.effects[0], 4), number(each.ranks[0])),
            *(each.methods[1], number(each.effects[1], 4), number(each.ranks[1])),
        )
        for each in one.disagreements[:_SHOWN]
    )
    columns = (one.kind, *("by", "effect", "rank") * 2)
    note = "Ranks are shares of the components below: clear of 0 by one method alone, or half of all ranks apart."
    return Table("disagreements", "What the methods disagree about", columns, rows, note) if rows else None


def interaction_table(rows: pd.DataFrame) -> Table | None:
    """Returns the pairs that are more or less than their members; None where no pair was measured.

    Pairs whose members were not measured on the same examples have no row, but the note counts them.
    """
    found = interactions(rows)[:_SHOWN]
    told = tuple(
        (
            *(one.component, one.method, str(table.Measured(one.surplus, one.stderr)), number(one.together, 4)),
            *(number(one.ratio), *(str(table.Measured(given, one.stderr)) for given in one.given), one.verdict),
        )
        for one in found
    )
    alone = unmatched(rows)
    if not told and not alone:
        return None
    missing = f" Left out, since their members are not measured on the same examples: {len(alone)} pairs."
    return Table(
        "pairs",
        "Pairs that single ablations hide or make up",
        (
            *("pair", "method", "together minus alone", "together", "together / alone"),
            *("first, given the second", "second, given the first", "verdict"),
        ),
        told,
        f"{_VERDICTS if told else ''}{missing if alone else ''}".strip(),
    )


def _drawn(found: Findings, folder: Path) -> tuple[list[Path], list[str]]:
    """Draws the figures that can be drawn; returns their files, and a sentence about every other one."""
    view, written, notes = View(found, Logged({}, 0.0)), list[Path](), list[str]()
    for name, entry in PANELS.items():
        if entry.facts.needs:
            panels = list(entry.item(view))
            if len(panels) != 1:
                raise SettingError(
                    f"the panel {name!r} says what it needs, and gives {len(panels)} figures; give one, or None, or "
                    "leave needs out."
                )
            if panel := panels[0]:
                written.append(save(draw(panel), folder / f"{name}.png"))
            else:
                notes.append(f"{name}.png is not drawn: it takes {entry.facts.needs}.")
    return written, notes


def _rows_of(rows: pd.DataFrame, jobs: Sequence[Job], steps: Sequence[int]) -> pd.DataFrame:
    """Returns the effects on the components of some jobs, on their examples, at some steps, by any method."""
    here = table.select(rows, quantity="ablation_effect", settings={job.settings for job in jobs})
    here = table.select(here, component={job.component.address for job in jobs})
    return here.loc[np.asarray(here["step"].isin(list(steps)), dtype=bool)]


def _largest_first(effects: pd.DataFrame) -> pd.DataFrame:
    """Returns effects by their size; those on single tasks, of which there may be many, behind those on all."""
    task = ~np.asarray((effects["loss"] == "train") | effects["loss"].str.startswith("metric:"), dtype=bool)
    values = table.numbers(effects, "value")
    size = np.where(np.isfinite(values), np.abs(values), -1.0)
    return effects.iloc[np.lexsort((-size, task))]


def _with_members(components: Sequence[str]) -> tuple[str, ...]:
    """Returns what to ablate, with the members of pairs: a pair says nothing without them, on the same examples."""
    members = [one.removeprefix(PAIRS) for one in components if one.startswith(PAIRS)]
    return tuple(dict.fromkeys((*components, *members)))
