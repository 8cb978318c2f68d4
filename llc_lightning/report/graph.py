"""A circuit as a picture: parts from left to right, edges between them, over training steps where there are several.

Width is the size of an edge's score, colour its sign, opacity its stability. The page is one file that opens from disk,
and so is the picture; both tell the numbers where the pointer rests.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from llc_lightning.report.palette import CORRECTED, RAW
from llc_lightning.runtime.errors import SettingError

_MOST = 1000
"""Edges that a picture may have and still be read."""
_COLUMN, _ROW, _BOX, _MARGIN = 190, 46, (92, 26), 24
"""Pixels between columns and rows, of a part's box, and around all."""
_WIDEST = 7.0
"""Pixels of the widest edge."""
_PORTS = {"q": -8, "k": 0, "v": 8}
"""Pixels below a box's middle at which a head's query, key and value are read."""
_HEAD = re.compile(r"(?P<part>.*attn)\.(?:hook_|.*[:.])?(?P<port>[qkv])?[^\[]*\[(?P<unit>\d+)\]")
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Line:
    """An edge of a picture."""

    sender: str
    reader: str
    value: float
    """Its score."""
    stderr: float = float("nan")
    status: str = "ok"
    share: float | None = None
    """The share of circuits that hold it; None where it is not known."""

    @property
    def told(self) -> str:
        """What is told where the pointer rests."""
        error = "" if self.stderr != self.stderr else f" ± {self.stderr:.3g}"
        share = "" if self.share is None else f", in {self.share:.0%} of circuits"
        return f"{self.sender} -> {self.reader}: {self.value:.4g}{error}, {self.status}{share}"


@dataclass(frozen=True)
class Frame:
    """A picture: the edges of one circuit."""

    name: str
    """Such as the step of training."""
    lines: tuple[Line, ...]
    about: str = ""
    """What is said below it."""


def part_of(address: str) -> str:
    """Returns what stands in the box of a sender or reader.

    Example:
        >>> part_of("net.blocks.1.attn.hook_q[2]"), part_of("net.blocks.0.hook_mlp_out"), part_of("net.hook_embed")
        ('head 1.2', 'MLP 0', 'token')
    """
    first, layer = address.split("+")[0], _LAYER.search(address)
    number, head = layer[1] if layer else "", _HEAD.fullmatch(first)
    if head is not None:
        return f"head {number}.{head['unit']}" if number else f"head {head['unit']}"
    unit = re.search(r"\[[\d,]+\]", first)
    if "mlp" in first:
        return f"MLP {number}" if unit is None else f"neuron {number}{unit[0]}"
    if "pos_embed" in first:
        return "position"
    if "embed" in first or first.endswith(".drop"):
        return "token and position" if "+" in address else "token"
    if "resid_post" in first or re.search(r"\.(ln_f|norm):input$", first):
        return "output"
    return first


def _port(address: str) -> int:
    head = _HEAD.fullmatch(address)
    return _PORTS.get(head["port"] or "", 0) if head else 0


@dataclass(frozen=True)
class Drawing:
    """Pictures with the same boxes in the same places.

    Raises:
        SettingError: If there is no edge, or a picture has more than can be read.
    """

    frames: tuple[Frame, ...]

    def __post_init__(self) -> None:
        """Checks the frames."""
        if not any(frame.lines for frame in self.frames):
            raise SettingError("there is no edge to draw; take a lower threshold, or more edges.")
        most = max(len(frame.lines) for frame in self.frames)
        if most > _MOST:
            raise SettingError(
                f"a picture of {most} edges cannot be read; take up to {_MOST}, the most important ones."
            )

    @cached_property
    def places(self) -> Mapping[str, tuple[float, float]]:
        """The middle of every box."""
        columns: dict[int, list[str]] = {}
        for name, column in sorted(self._depths().items(), key=lambda one: (one[1], _natural(one[0]))):
            columns.setdefault(column, []).append(name)
        tallest = max(map(len, columns.values()))
        places: dict[str, tuple[float, float]] = {}
        for at, column in enumerate(sorted(columns)):
            names = columns[column]
            for row, name in enumerate(names):
                y = _MARGIN + (row + 0.5 + (tallest - len(names)) / 2) * _ROW
                places[name] = (_MARGIN + _BOX[0] / 2 + at * _COLUMN, y)
        return places

    def _depths(self) -> dict[str, int]:
        """Returns the column of every part: behind all that it hears, parts of one layer and sort in one."""
        ends = [(part_of(one.sender), part_of(one.reader)) for frame in self.frames for one in frame.lines]
        kinds = {name: _kind(name) for pair in ends for name in pair}
        depth = dict.fromkeys(kinds.values(), 0)
        for _ in depth:  # long enough for the longest path
            for sender, reader in ends:
                if kinds[sender] != kinds[reader]:
                    depth[kinds[reader]] = max(depth[kinds[reader]], min(depth[kinds[sender]] + 1, len(depth)))
        return {name: depth[kind] for name, kind in kinds.items()}

    @cached_property
    def largest(self) -> float:
        """The largest absolute score."""
        known = (abs(one.value) for frame in self.frames for one in frame.lines if one.value == one.value)
        return max(known, default=0.0) or 1.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        middles = self.places.values()
        return (
            max(x for x, _ in middles) + _BOX[0] / 2 + _MARGIN,
            max(y for _, y in middles) + _ROW / 2 + _MARGIN,
        )

    def svg(self, frame: Frame) -> str:
        """Returns one picture."""
        width, height = self.size
        lines = sorted(frame.lines, key=lambda one: abs(one.value))  # the strongest on top
        used = {part_of(side) for one in frame.lines for side in (one.sender, one.reader)}
        boxes = [self._box(name, is_used=name in used) for name in self.places]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f"{''.join(map(self._curve, lines))}{''.join(boxes)}</svg>"
        )

    def _curve(self, one: Line) -> str:
        (x0, y0), (x1, y1) = self.places[part_of(one.sender)], self.places[part_of(one.reader)]
        x0, x1, y1 = x0 + _BOX[0] / 2, x1 - _BOX[0] / 2, y1 + _port(one.reader)
        wide = 1 + (_WIDEST - 1) * abs(one.value) / self.largest if one.value == one.value else 1
        color, dash = CORRECTED if one.value >= 0 else RAW, "" if one.status == "ok" else ' stroke-dasharray="5 4"'
        solid = 0.9 if one.share is None else 0.2 + 0.7 * one.share
        return (
            f'<path d="{self._path(x0, y0, x1, y1)}" '
            f'fill="none" stroke="{color}" stroke-width="{wide:.2f}" stroke-opacity="{solid:.2f}"{dash}>'
            f"<title>{html.escape(one.told)}</title></path>"
        )

    def _path(self, x0: float, y0: float, x1: float, y1: float) -> str:
        """Returns the way from one point to another: between the boxes of every column that it passes over."""
        half, path, x, y = _BOX[0] / 2, f"M{x0:g} {y0:g}", x0, y0
        for column in sorted({at for at, _ in self.places.values() if x0 < at - half and at + half < x1}):
            straight = y0 + (y1 - y0) * (column - x0) / (x1 - x0)
            lanes = [up + side for at, up in self.places.values() if at == column for side in (-_ROW / 2, _ROW / 2)]
            lane = min(lanes, key=lambda one: abs(one - straight))
            path += f"{_bent(x, y, column - half, lane)} L{column + half:g} {lane:g}"
            x, y = column + half, lane
        return path + _bent(x, y, x1, y1)

    def _box(self, name: str, *, is_used: bool) -> str:
        (x, y), (wide, high) = self.places[name], _BOX
        ink = "#222" if is_used else "#bbb"
        shown = name if len(name) <= 15 else f"{name[:14]}…"
        return (
            f'<g><title>{html.escape(name)}</title><rect x="{x - wide / 2:g}" y="{y - high / 2:g}" width="{wide}" '
            f'height="{high}" rx="6" fill="white" stroke="{ink}"/><text x="{x:g}" y="{y + 4:g}" text-anchor="middle" '
            f'fill="{ink}">{html.escape(shown)}</text></g>'
        )

    def page(self, title: str) -> str:
        """Returns the page: a slider over the pictures where there are several, each with a table of its edges."""
        frames = "".join(
            f'<section data-name="{html.escape(frame.name)}"{" hidden" if at else ""}>{self.svg(frame)}'
            f"<p>{html.escape(frame.about)}</p>{_table(frame)}</section>"
            for at, frame in enumerate(self.frames)
        )
        slider = ""
        if len(self.frames) > 1:
            slider = (
                f"<p><label>{html.escape(self.frames[0].name.rpartition(' ')[0] or 'picture')} <output>"
                f'</output> <input type="range" min="0" max="{len(self.frames) - 1}" value="0"></label></p>'
            )
        return _PAGE.format(title=html.escape(title), slider=slider, frames=frames, positive=CORRECTED, negative=RAW)


def _bent(x0: float, y0: float, x1: float, y1: float) -> str:
    bend = max(30.0, (x1 - x0) / 2)
    return f" C{x0 + bend:g} {y0:g} {x1 - bend:g} {y1:g} {x1:g} {y1:g}"


def _kind(name: str) -> str:
    """Returns what parts share a column: the heads of a layer, its MLP or neurons, the inputs."""
    if name in {"token", "position", "token and position"}:
        return "input"
    return re.sub(r"(\.\d+$|\[[\d,]+\]$)", "", name)


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns what sorts names with numbers by these."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def _table(frame: Frame) -> str:
    if not frame.lines:
        return "<p>There is no edge.</p>"
    rows = "".join(
        f"<tr><td>{html.escape(one.sender)}</td><td>{html.escape(one.reader)}</td><td>{one.value:.4g}</td>"
        f"<td>{'' if one.stderr != one.stderr else f'± {one.stderr:.2g}'}</td><td>{html.escape(one.status)}</td>"
        f"<td>{'' if one.share is None else f'{one.share:.0%}'}</td></tr>"
        for one in sorted(frame.lines, key=lambda one: -abs(one.value))
    )
    head = "".join(f"<th>{name}</th>" for name in ("sender", "reader", "score", "error", "status", "in circuits"))
    count = f"{len(frame.lines)} edge{'s' * (len(frame.lines) != 1)}"
    return f"<details><summary>{count}</summary><table><tr>{head}</tr>{rows}</table></details>"


# The page may run its own inline code and load nothing.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<style>
body {{ font-family: sans-serif; margin: 2em; color: #222; max-width: 1100px }}
svg {{ max-width: 100%; height: auto }}
path:hover {{ stroke-opacity: 1; stroke: #e6820e }}
table {{ border-collapse: collapse; font-size: 13px }} td, th {{ padding: 2px 10px; text-align: left }}
input {{ width: 60% }}
</style></head><body>
<h1>{title}</h1>
<p>Width is the size of an edge's score, colour its sign (<b style="color:{positive}">positive</b>: the loss rises
without it; <b style="color:{negative}">negative</b>), opacity the share of circuits that hold it, dashes what is
flagged. Into a head query, key and value lead from above to below. Numbers are told where the pointer rests.</p>
{slider}{frames}
<script>
const frames = [...document.querySelectorAll("section")], slider = document.querySelector("input");
if (slider) {{
  const show = () => {{
    frames.forEach((frame, at) => {{ frame.hidden = at != slider.value; }});
    document.querySelector("output").textContent = frames[slider.value].dataset.name.split(" ").pop();
  }};
  slider.addEventListener("input", show);
  show();
}}
</script></body></html>
"""
