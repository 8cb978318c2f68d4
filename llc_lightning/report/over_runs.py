"""Writes the page over several runs: every question with its verdict, what it rests on, and what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llc_lightning.analysis import table
from llc_lightning.analysis.across import Measurements
from llc_lightning.report import glossary
from llc_lightning.report.answers.base import Answer, intervals
from llc_lightning.report.answers.every import answers
from llc_lightning.report.cells import NONE, Table
from llc_lightning.report.figures import draw, save
from llc_lightning.report.glossary import linked
from llc_lightning.report.interactive import plotly_figure
from llc_lightning.report.markup import anchor, document, escaped, section, table_card
from llc_lightning.runtime.errors import StoreError

_ABOUT = (
    "Complexity is the LLC, the local learning coefficient: how many directions of the weights the loss pins down, at "
    "a resolution n_beta; wrLLC is that of one part's own weights. Need is the ablation effect: by how much the loss "
    "rises without the part. Every answer stands with what would change it."
)


def write_over_runs(
    runs: Sequence[Measurements],
    out: Path,
    *,
    commands: Sequence[str] = (),
    told: Sequence[str] = (),
    level: float = table.LEVEL,
    static: bool = False,
    export: Path | None = None,
) -> tuple[list[Path], list[Answer]]:
    """Writes the page over several runs, and returns the files that were written and the answers.

    Args:
        runs: The runs.
        out: The page.
        commands: What made them, to be told.
        told: What else is to be said, such as which runs were left out.
        level: Probability of the intervals.
        static: Draw the figures as SVG, without hover and zoom.
        export: A folder for every figure as PNG and SVG and every table as CSV; none by default.

    Raises:
        StoreError: If a file cannot be written.
        DataError: If a run measured something under several settings, so that it is not known which is meant.
    """
    found = answers(runs, level=level)
    text = _page(runs, found, commands, told, level, static=static)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        return [out, *(_exported(found, export) if export else ())], found
    except OSError as error:
        raise StoreError(
            f"{error.filename or out} cannot be written: {error.strerror}; choose another place."
        ) from error


def asked_for(runs: Sequence[Measurements]) -> Table:
    """Returns what was measured of every net, and how much of it is ok."""
    nets = list(dict.fromkeys(run.net for run in runs))
    rows = tuple(_measured(net, [run for run in runs if run.net == net]) for net in nets)
    head = ("net", "runs", "snapshots", "rows", "ok", *_ASKED)
    note = f"{NONE}: not measured there. Numbers are rows, in brackets the share that is ok."
    return Table("measured", "What was measured", head, rows, note)


_ASKED = {
    "wrLLC": "llc",
    "ablation effect": "ablation_effect",
    "LLC under ablation": "llc_shift",
    "susceptibility": "susceptibility",
}
"""What the questions need, by the quantity of the table."""


def _measured(net: str, runs: Sequence[Measurements]) -> tuple[str, ...]:
    counts = [len(table.steps(run.rows)) for run in runs]
    ok, rows = sum(int(table.ok(run.rows).sum()) for run in runs), sum(len(run.rows) for run in runs)
    cells = [net, str(len(runs)), "-".join(map(str, sorted({min(counts), max(counts)}))), str(rows), _share(ok, rows)]
    for quantity in _ASKED.values():
        own = [table.select(run.rows, quantity=quantity) for run in runs]
        total = sum(map(len, own))
        cells.append(f"{total} ({_share(sum(int(table.ok(one).sum()) for one in own), total)})" if total else NONE)
    return tuple(cells)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else NONE


def _page(
    runs: Sequence[Measurements],
    found: Sequence[Answer],
    commands: Sequence[str],
    told: Sequence[str],
    level: float,
    *,
    static: bool,
) -> str:
    parts = [section(one.question, one.panels, one.tables, static=static, above=_said(one)) for one in found]
    headings = [*(one.question for one in found), "What was measured", "Words"]
    links = "".join(f'<a href="#{anchor(one)}">{escaped(one)}</a>' for one in headings)
    figures = {panel.name: plotly_figure(panel) for one in found for panel in one.panels}
    nets = dict.fromkeys(run.net for run in runs)
    body = f"""
<header>
<h1>What the LLC and ablations say of each other, over runs</h1>
<p class="sub">{len(runs)} runs of {escaped(", ".join(nets))}</p>
<p class="about">{linked(_ABOUT)} {escaped(_brackets(level))}</p>
<nav>{links}</nav>
<div class="verdicts">{"".join(_short(one) for one in found)}</div>
</header>
<main>
{"".join(parts)}
<section id="{anchor("What was measured")}"><h2>What was measured</h2>{table_card(asked_for(runs), wide=True)}
{"".join(f'<p class="note">{escaped(one)}</p>' for one in told)}{_commands(commands)}</section>
{glossary.section()}
</main>
<footer>Made by llc_lightning from the rows of these runs alone.</footer>"""
    return document("LLC and ablations over runs", body, {} if static else figures)


def _brackets(level: float) -> str:
    """Returns what square brackets are; those of steps come from one run."""
    return (
        f"{intervals(level, 'the bootstrap over its components, of the LLC under ablation over its chains')} Those of "
        "steps at which something is half done are of one run, by the errors of its values."
    )


def _short(one: Answer) -> str:
    return f'<div class="verdict"><h3>{escaped(one.question)}</h3><p class="answer">{linked(one.verdict)}</p></div>'


def _said(one: Answer) -> str:
    items = "".join(f"<li>{linked(sentence)}</li>" for sentence in one.details)
    return f'<ul class="says">{items}</ul><p class="note">What would change it: {linked(one.change)}</p>'


def _commands(commands: Sequence[str]) -> str:
    lines = "\n".join(commands)
    return f'<p class="note">Made by:</p><pre>{escaped(lines)}</pre>' if commands else ""


def _exported(found: Sequence[Answer], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for panel in (panel for one in found for panel in one.panels):
        figure = draw(panel, size=(10.0, 4.6))
        written += [save(figure, folder / f"{panel.name}.{suffix}") for suffix in ("png", "svg")]
    for one in (one for answer in found for one in answer.tables):
        path = folder / f"{one.name}.csv"
        one.frame().to_csv(path, index=False)
        written.append(path)
    return written
