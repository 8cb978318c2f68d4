"""The command ``analyze.py ablate``: any methods on any components of a run's snapshots."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from llc_lightning.analysis.co_ablation import interactions, unmatched
from llc_lightning.analysis.measured import Measured
from llc_lightning.analysis.method_agreement import MethodAgreement, method_agreement
from llc_lightning.cli.offline import model_and_examples
from llc_lightning.components.listing import PAIRS
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.measure.plans import AblationPlan
from llc_lightning.report.cells import Table, number
from llc_lightning.report.figures import draw, save
from llc_lightning.report.findings import find
from llc_lightning.report.panels.methods import agreement_of_methods, component_by_method
from llc_lightning.results.run import Run
from llc_lightning.results.schema import settings_hash
from llc_lightning.runtime.progress import Progress

PART = "ablate"
"""How the names of the command's parts begin; what was asked for follows, so that asking for more loses nothing."""
_RESAMPLES = 999
_SHOWN = 12
_VERDICTS = (
    "±: one standard error, of all three effects. additive: within 2 standard errors of the members' sum. More than "
    "the sum: redundant where the pair is more than each alone, else amplifying. Less than the sum: cancelling where "
    "it is less than each alone, else overlapping."
)


def ablate_run(options: Namespace, *, progress: Progress) -> tuple[list[Path], list[Table]]:
    """Returns the files that were written, and tables of what was found.

    Args:
        options: ``run``, ``components``, ``methods``, ``metrics``, ``steps``, ``examples``, ``figures``, ``again``,
            ``out``.
        progress: Shows how far it is.
    """
    run = Run.open(options.run)
    model, data = model_and_examples(options.run)
    plan = AblationPlan(
        components=_with_members(options.components),
        methods=tuple(options.methods),
        metrics=tuple(options.metrics),
        examples=options.examples,
        resamples=_RESAMPLES,
    )
    steps = options.steps or [max(run.snapshots, default=0)]
    plans = {f"{PART}-{settings_hash(asdict(plan))[:8]}": plan}
    written = measure_snapshots(
        model, data, plans, run, steps=steps, again=options.again, out=options.out, progress=progress
    )
    measured = Run.open(options.out or options.run)
    rows = measured.measurements()
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
        found = find(rows, run=measured.name)
        panels = [panel for panel in (component_by_method(found), agreement_of_methods(found)) if panel]
        written += [save(draw(panel), options.figures / f"{panel.name}.png") for panel in panels]
    agreement = method_agreement(rows)
    tables = [] if agreement is None else [correlation_table(agreement), disagreement_table(agreement)]
    return written, [table for table in (*tables, interaction_table(rows)) if table is not None]


def correlation_table(one: MethodAgreement) -> Table:
    """Returns the rank correlations between methods."""
    return Table(
        "methods",
        f"Rank correlations between methods over {len(one.components)} {one.kind}s at step {one.step}",
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
        (one.component, one.method, str(Measured(one.surplus, one.stderr)), number(one.together, 4), one.verdict)
        for one in found
    )
    columns = ("pair", "method", "together minus alone", "together", "verdict")
    alone = unmatched(rows)
    missing = f" Left out, since their members are not measured on the same examples: {len(alone)} pairs."
    note = f"{_VERDICTS if told else ''}{missing if alone else ''}".strip()
    title = "Pairs that single ablations hide or make up"
    return Table("pairs", title, columns, told, note) if told or alone else None


def _with_members(components: Sequence[str]) -> tuple[str, ...]:
    """Returns what to ablate, with the members of pairs: a pair says nothing without them, on the same examples."""
    members = [one.removeprefix(PAIRS) for one in components if one.startswith(PAIRS)]
    return tuple(dict.fromkeys((*components, *members)))
