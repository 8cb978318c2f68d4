"""Writes ``report.html``: one file that opens from disk, with no network."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from llc_lightning.analysis.table import components
from llc_lightning.report import glossary, tables
from llc_lightning.report.cells import Table, flat_table
from llc_lightning.report.glossary import linked
from llc_lightning.report.interactive import plotly_figure
from llc_lightning.report.markup import anchor, document, escaped, section, table_card
from llc_lightning.report.panels import other
from llc_lightning.report.sections import Findings, sections
from llc_lightning.report.source import Source
from llc_lightning.report.tensorboard import write_figures
from llc_lightning.runtime.errors import StoreError
from llc_lightning.runtime.kinds import called

NAME = "report.html"
_ABOUT = (
    "Complexity is the LLC, the local learning coefficient: how many directions of the weights the loss pins down, at "
    "a resolution n_beta; wrLLC is that of one part's own weights. Need is the ablation effect: by how much the loss "
    "rises without the part. Dotted words lead to their explanation."
)


def write_report(
    source: Source, *, control: Source | None = None, out: Path | None = None, static: bool = False
) -> Path:
    """Writes the report of a run and returns its path; its figures also go to the run's TensorBoard, under Images.

    Args:
        source: The run.
        control: A run to compare with: its loss, circuits and verdict are shown beside.
        out: The file to write; by default ``report.html`` in the run folder.
        static: Draw the figures as SVG, without hover and zoom, for a file of a tenth of the size.

    Raises:
        StoreError: If the file cannot be written.
    """
    text = page(source, control=control, static=static)
    path = out or source.folder / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; choose another place with --out.") from error
    # The figures are copies: a run folder that cannot be written to does not keep the page from anyone.
    with suppress(OSError):
        write_figures(source)
    return path


def page(source: Source, *, control: Source | None = None, static: bool = False) -> str:
    """Returns the whole page; text from outside is escaped wherever it stands."""
    found = source.found
    shown = source.sections
    if control:
        shown = sections(found, source.logged, posterior=source.posterior, control=(control.found, control.logged))
    below: dict[str, list[Table | None]] = {
        "Complexity against need": [tables.agreement_table(found), tables.residual_table(found)],
        "Tasks": [tables.task_table(found)],
        other.SECTION: [tables.other_table(found)],
        "Circuits": [tables.verdict_table([found, *([control.found] if control else [])])],
    }
    parts = [
        section(heading, panels, [one for one in below.get(heading, []) if one], static=static)
        for heading, panels in shown.items()
    ]
    headings = [*shown, "Health", "Settings", "Words"]
    links = "".join(f'<a href="#{anchor(one)}">{escaped(one)}</a>' for one in headings)
    figures = {panel.name: plotly_figure(panel) for panels in shown.values() for panel in panels}
    body = f"""
<header>
<h1>How complex each part is, and how much the network needs it: {escaped(found.run)}</h1>
<p class="sub">{escaped(_subtitle(source, control))}</p>
<p class="about">{linked(_ABOUT)}</p>
<nav>{links}</nav>
{_verdicts([found, *([control.found] if control else [])])}
<ul class="says">{"".join(f"<li>{linked(one)}</li>" for one in source.said(verdict=False))}</ul>
{"" if static else _follow(found)}
</header>
<main>
{"".join(parts)}
{_health(source)}
{_settings(source, control)}
{glossary.section()}
</main>
<footer>Made by llc_lightning from the rows in measurements/. ± is one standard error; bands and bars are
{100 * found.level:g} % intervals. Errors along a trajectory are correlated, since all steps share their random streams.
</footer>"""
    return document(f"{found.run}: LLC against ablation", body, {} if static else figures)


def _verdicts(runs: list[Findings]) -> str:
    blocks: list[str] = []
    for one in runs:
        if one.verdict:
            answer, *reasons = one.verdict.sentences()
            paragraphs = "".join(f"<p>{linked(reason)}</p>" for reason in reasons)
            blocks.append(
                f'<div class="verdict {"yes" if one.verdict.superposition else "no"}"><h3>{escaped(one.run)}</h3>'
                f'<p class="answer">{linked(answer)}</p>{paragraphs}</div>'
            )
    return f'<div class="verdicts">{"".join(blocks)}</div>' if blocks else ""


def _follow(found: Findings) -> str:
    """Returns the choice of a unit to draw in black in every figure."""
    units = components(found.rows, found.units)
    choices = "".join(f'<option value="{escaped(unit)}">{escaped(unit)}</option>' for unit in units)
    label = f'<label class="follow">follow one {escaped(called(found.units or ""))} in all figures: '
    return f'{label}<select id="follow"><option value="">none</option>{choices}</select></label>' if units else ""


def _health(source: Source) -> str:
    some = [tables.health_table(source.found), tables.trouble_table(source.found), tables.timing_table(source.time)]
    cards = "".join(table_card(one) for one in some if one)
    return f'<section id="health"><h2>Health</h2>{cards}</section>\n'


def _settings(source: Source, control: Source | None) -> str:
    some = [tables.settings_table(source.found), tables.quantity_table(source.found)]
    folded: list[Table | None] = []
    for one, name in ((source, ""), (control, "control-")):
        if one:
            of = f" of {one.found.run}"
            for at, session in enumerate(one.provenance):
                part = f", part {at + 1}" if len(one.provenance) > 1 else ""
                folded.append(flat_table(f"{name}provenance-{at}", f"Provenance{of}{part}", session))
            folded.append(flat_table(f"{name}config", f"Configuration{of}", one.config))
    cards = "".join(table_card(one) for one in some if one)
    cards += "".join(table_card(one, folded=True) for one in folded if one)
    return f'<section id="settings"><h2>Settings</h2>{cards}</section>\n'


def _subtitle(source: Source, control: Source | None) -> str:
    steps, last = source.found.steps, source.provenance[-1] if source.provenance else {}
    seeds: dict[str, Any] = last.get("seeds") or {}
    parts = (
        f"{len(source.found.rows)} measurements at {len(steps)} steps, {steps[0]} to {steps[-1]}",
        f"llc_lightning {last.get('llc_lightning')}" if last else "",
        f"seeds {', '.join(f'{name} {seed}' for name, seed in seeds.items())}" if seeds else "",
        f"control: {control.found.run}" if control else "",
    )
    return "; ".join(part for part in parts if part)
