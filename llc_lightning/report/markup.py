"""The parts that pages are made of: a document, sections, cards with figures and tables; all text is escaped."""

import html
import json
from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from itertools import groupby
from typing import Any

from llc_lightning.report.cells import Table
from llc_lightning.report.figures import draw, svg
from llc_lightning.report.glossary import linked
from llc_lightning.report.interactive import least_height
from llc_lightning.report.panel import Matrix, Panel

# The page may run its own inline code and draw its own images, and can load nothing.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def document(title: str, body: str, figures: dict[str, Any]) -> str:
    """Returns a page that needs nothing from outside; figures by name are drawn where the body has room for them."""
    style = files("llc_lightning.report").joinpath("page.css").read_text(encoding="utf-8")
    scripts = ""
    if figures:
        # plotly has no type stubs.
        offline: Any = import_module("plotly.offline")
        code = files("llc_lightning.report").joinpath("page.js").read_text(encoding="utf-8")
        data = json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        scripts = (
            f'<script>{offline.get_plotlyjs()}</script>\n<script type="application/json" id="figures">{data}</script>\n'
            f"<script>{code}</script>\n"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>{body}\n{scripts}</body>\n</html>\n"
    )


def section(
    heading: str, panels: Sequence[Panel | Matrix], below: Sequence[Table], *, static: bool, above: str = ""
) -> str:
    """Returns a heading with what is above (markup), its figures, and its tables below them."""
    cards = "".join(
        figure_card(panel, static=static, wide=panel.wide or alone)
        for panel, alone in zip(panels, _beside_nothing(panels), strict=True)
    )
    return (
        f'<section id="{anchor(heading)}"><h2>{escaped(heading)}</h2>{above}<div class="grid">{cards}'
        f"{''.join(table_card(one, wide=True) for one in below)}</div></section>\n"
    )


def _beside_nothing(panels: Sequence[Panel | Matrix]) -> list[bool]:
    """Says of each panel whether half a row beside it would be empty; a narrow matrix may stand there."""
    alone = [False] * len(panels)
    for wide, row in groupby(range(len(panels)), key=lambda at: panels[at].wide):
        *_, last = places = list(row)
        one = panels[last]
        alone[last] = not wide and len(places) % 2 == 1 and not (isinstance(one, Matrix) and one.narrow)
    return alone


def figure_card(panel: Panel | Matrix, *, static: bool, wide: bool) -> str:
    """Returns a figure with its title and caption, drawn already (static) or as room for it."""
    height = f' style="min-height: {least}px"' if (least := least_height(panel)) else ""
    room = f'<div class="plot" data-figure="{escaped(panel.name)}"{height}></div>'
    drawing = svg(draw(panel)) if static else room
    note = f'<p class="note">{linked(panel.remark)}</p>' if panel.remark else ""
    title = f"<h3>{linked(panel.title)}</h3>"
    return (
        f'<div class="card{" wide" if wide else ""}" id="figure-{escaped(panel.name)}">{title}{drawing}{note}</div>\n'
    )


def table_card(one: Table, *, wide: bool = False, folded: bool = False) -> str:
    """Returns a table with its title and note; folded it opens at a click."""
    head = "".join(f"<th>{linked(name)}</th>" for name in one.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, range(len(row)), row))}</tr>" for row in one.rows)
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = f'<p class="note">{linked(one.note)}</p>' if one.note else ""
    inner = (
        f"<details><summary>{escaped(one.title)}</summary>{grid}{note}</details>"
        if folded
        else f"<h3>{linked(one.title)}</h3>{grid}{note}"
    )
    return f'<div class="card{" wide" if wide else ""}" id="table-{escaped(one.name)}">{inner}</div>\n'


def _cell(place: int, text: str) -> str:
    """Returns a cell; the first of a row names what the others are of."""
    return f"<td>{escaped(text) if place else linked(text)}</td>"


def anchor(heading: str) -> str:
    """Returns what a link to a section says."""
    return heading.lower().replace(" ", "-")


def escaped(value: object) -> str:
    """Returns a value as text that is no markup."""
    return html.escape(str(value))
