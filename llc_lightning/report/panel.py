"""What a figure shows, before anything draws it: series, axes, limits.

Two renderers read these values: :mod:`.figures` (matplotlib, for files and TensorBoard) and :mod:`.interactive`
(plotly, for the page). So each figure is described once and looks the same in both.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from llc_lightning.runtime.errors import SettingError

_ROOM = 0.06
_LABELLED = 0.25
"""Of its height a panel leaves so much above its points where spans have labels there."""
_MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, its scale, and where its ticks are (None: the renderer decides)."""

    label: str
    log: bool = False
    ticks: tuple[tuple[float, str], ...] | None = None
    limits: tuple[float, float] | None = None
    """Fixed ends, in data units; None takes them from the points that are ok."""
    zero: float | None = None
    """Where 0 lies on a logarithmic axis that shows it."""
    unit: str = ""
    """What its values are counted in, as the label says; '' for pure numbers, or where it is not known."""

    def place(self, values: Sequence[int] | Sequence[float] | Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
        """Returns where values lie on the axis."""
        at = np.asarray(values, dtype=np.float64)
        return at if self.zero is None else np.where(at <= 0, self.zero, at)


@dataclass(frozen=True)
class Series:
    """Points that belong together. NaN in ``y`` breaks the line; points that are not ``ok`` are drawn hollow."""

    name: str
    """In the legend; '' for none."""
    x: Float[np.ndarray, "point"]
    y: Float[np.ndarray, "point"]
    color: str
    ok: Bool[np.ndarray, "point"] | None = None
    """None: all are."""
    low: Float[np.ndarray, "point"] | None = None
    high: Float[np.ndarray, "point"] | None = None
    """Ends of each interval; drawn as a band along a line, as a bar on single points, also where a line has one."""
    banded: bool = True
    """Whether a line has its band; those of many lines would hide each other."""
    line: bool = True
    marker: str = ""
    """Shape of ok points: '', ``circle``, ``square``, ``diamond``, ``triangle``, ``cross``."""
    dash: str = ""
    """Of the line: '', ``dash``, ``dot``, ``dashdot``."""
    width: float = 1.8
    opacity: float = 1.0
    hover: tuple[str, ...] = ()
    """What a point says when pointed at; empty: its numbers."""
    shade: Float[np.ndarray, "point"] | None = None
    """Values that colour the points on the panel's scale."""
    group: str = ""
    """The legend entry that hides and shows it; '' means its own."""
    framing: bool = True
    """Whether its points decide the limits of the axes."""
    unit: str = ""
    """What ``y`` is counted in; '' for pure numbers, or where it is not known."""

    @property
    def good(self) -> Bool[np.ndarray, "point"]:
        """Which points are ok and can be drawn."""
        return np.isfinite(self.y) if self.ok is None else self.ok & np.isfinite(self.y)

    @property
    def hollow(self) -> Bool[np.ndarray, "point"]:
        """Which points are drawn but not ok."""
        return np.isfinite(self.y) & ~self.good

    @property
    def dots(self) -> Bool[np.ndarray, "point"]:
        """Which points of a line without markers need one, since no line goes through them."""
        return lone(np.isfinite(self.y)) & self.good & (self.line and not self.marker)

    @property
    def barred(self) -> Bool[np.ndarray, "point"]:
        """Which points show their interval as a bar: single points, and those of a line where no band can be drawn."""
        return lone(self.known) if self.line else self.known

    @property
    def known(self) -> Bool[np.ndarray, "point"]:
        """Which points are ok and have an interval: that of another would fill the panel, and says nothing."""
        if self.low is None or self.high is None:
            return np.zeros(len(self.y), dtype=bool)
        return self.good & np.isfinite(self.low) & np.isfinite(self.high)


@dataclass(frozen=True)
class Rule:
    """A horizontal reference line."""

    y: float
    label: str
    color: str = "#666666"


@dataclass(frozen=True)
class Note:
    """A label beside a point."""

    x: float
    y: float
    text: str
    above: bool = True
    """Whether the label stands above the point."""


@dataclass(frozen=True)
class Place:
    """Where a label stands, from its point, in points of a font of 11: of its near end and its middle line."""

    right: float
    """To the right; negative to the left, where the label ends."""
    up: float


@dataclass(frozen=True)
class Span:
    """A shaded stretch of the horizontal axis, with its label at the upper left."""

    left: float
    right: float
    label: str
    color: str = "#e9edf3"


@dataclass(frozen=True)
class Panel:
    """One figure with axes."""

    name: str
    """Short and unique on the page: a file name, an anchor."""
    title: str
    """A sentence that says what is to be seen."""
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    notes: tuple[Note, ...] = ()
    spans: tuple[Span, ...] = ()
    scale: Axis | None = None
    """The colour scale of ``Series.shade``."""
    caption: str = ""
    """What the reader must know to read it: what bands are, what is left out."""
    wide: bool = False

    def __post_init__(self) -> None:
        units = {one.unit for one in (*self.series, self.y)} - {""}
        if len(units) > 1:
            raise SettingError(
                f"the figure {self.name!r} would show {' and '.join(sorted(units))} on one axis; draw one for each."
            )

    @property
    def x_limits(self) -> tuple[float, float]:
        """The ends of the horizontal axis."""
        return self.x.limits or _limits([one.x[self._framing(one)] for one in self.series], log=self.x.log)

    @property
    def y_limits(self) -> tuple[float, float]:
        """The ends of the vertical axis: around the ok points, their intervals and the reference lines."""
        if self.y.limits:
            return self.y.limits
        spans = [np.array([rule.y for rule in self.rules])]
        for one in self.series:
            intervals = (one.low, one.high) if self._has_ok and (one.banded or one.barred.any()) else ()
            ends = [one.y, *(each for each in intervals if each is not None)]
            spans += [each[self._framing(one)] for each in ends]
        low, high = _limits(spans, log=self.y.log)
        if not self.spans:
            return low, high
        return (low, high * (high / low) ** _LABELLED) if self.y.log else (low, high + _LABELLED * (high - low))

    @property
    def _has_ok(self) -> bool:
        """Whether there are ok points to frame; where there are not, the others are framed, so as to be seen."""
        return sum(int(one.good.sum()) for one in self.series if one.framing) > 1

    def _framing(self, one: Series) -> Bool[np.ndarray, "point"]:
        if not one.framing:
            return np.zeros(len(one.y), dtype=bool)
        return one.good if self._has_ok else np.isfinite(one.y)

    @property
    def places(self) -> list[Place]:
        """Where the labels of the notes stand: clear of each other, of other notes' points and of their lines."""
        x, y = (np.concatenate([getattr(one, name) for one in self.series] or [np.zeros(0)]) for name in ("x", "y"))
        return placed(self.notes, self.x, self.x_limits, self.y, self.y_limits, crowd=(x, y))

    @property
    def outside(self) -> int:
        """How many points lie beyond the limits."""
        (left, right), (bottom, top) = self.x_limits, self.y_limits
        return sum(
            int((np.isfinite(one.y) & ((one.x < left) | (one.x > right) | (one.y < bottom) | (one.y > top))).sum())
            for one in self.series
        )

    @property
    def remark(self) -> str:
        """The caption, how many points it leaves out of sight, and whether none is ok."""
        lost = self.outside
        unseen = f"{lost} {'point lies' if lost == 1 else 'points lie'} beyond the frame." if lost else ""
        doubtful = "" if self._has_ok else "Too few points are ok to set the axes, so the others do."
        return " ".join(part for part in (self.caption, doubtful, unseen) if part)


@dataclass(frozen=True)
class Matrix:
    """A figure of coloured cells."""

    name: str
    title: str
    x_label: str
    y_label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[np.ndarray, "row column"]
    """NaN leaves a cell empty."""
    unit: str
    texts: tuple[tuple[str, ...], ...] = ()
    """What each cell says; nothing by default."""
    hover: tuple[tuple[str, ...], ...] = ()
    """What each cell says when pointed at; its number by default."""
    lowest: float = 0.0
    """The value of the lightest colour."""
    caption: str = ""
    wide: bool = False
    narrow: bool = False
    """Whether it stays narrow where it stands alone in its row: a few cells as wide as the page say nothing more."""

    @property
    def remark(self) -> str:
        """The caption."""
        return self.caption

    @property
    def named_rows(self) -> int | None:
        """How many rows must all have room for their names, since their cells are read one by one; None: as many fit.

        Cells that say nothing are looked at together, and say whose they are when pointed at.
        """
        return len(self.rows) if self.texts else None

    @property
    def highest(self) -> float:
        """The value of the darkest colour."""
        return float(np.nanmax(self.values)) if np.isfinite(self.values).any() else self.lowest + 1.0


def thinned(names: Sequence[str], room: int) -> list[int]:
    """Returns which of some labels are shown side by side, so that there is a gap between them: every so many.

    Args:
        names: The labels, the same distance apart.
        room: How many letters go side by side.

    Example:
        >>> thinned(["30", "100", "300", "1000", "3000"], 12)
        [0, 3]
    """
    longest = max(map(len, names), default=0) + 2
    every = max(1, -(-len(names) * longest // max(room, 1)))
    return list(range(0, len(names), every))


def axis_in(what: str, unit: str, *, log: bool = False) -> Axis:
    """Returns the axis of values that are counted in a unit, or of pure numbers, whose unit is 1."""
    if unit == "1":
        return Axis(what, log=log)
    return Axis(f"{what} ({unit})", log=log, unit=unit)


def step_axis(steps: Sequence[int]) -> Axis:
    """Returns the axis of the training step: logarithmic with step 0 at its left end, or linear for a short range."""
    positive = sorted({step for step in steps if step > 0})
    if len(positive) < 2 or positive[-1] < 8 * positive[0]:
        return Axis(
            "training step",
            limits=_limits([np.array(steps, dtype=np.float64)], log=False) if len(set(steps)) > 1 else None,
        )
    zero = positive[0] / 2.2 if 0 in steps else None
    ticks = [(float(one), f"{one:g}") for one in nice_ticks(float(positive[0]), float(positive[-1]))]
    left, right = zero or positive[0], positive[-1]
    room = (right / left) ** 0.03
    return Axis(
        "training step",
        log=True,
        ticks=(*([(zero, "0")] if zero else []), *ticks),
        limits=(left / room, right * room),
        zero=zero,
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Returns round numbers between two positive ends, four to nine where that can be had.

    Example:
        >>> nice_ticks(30.0, 3000.0)
        [30.0, 100.0, 300.0, 1000.0, 3000.0]
        >>> nice_ticks(3.25, 3.75)
        [3.3, 3.4, 3.5, 3.6, 3.7]
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    options = [
        [
            mantissa * 10.0**decade
            for decade in decades
            for mantissa in mantissas
            if low <= mantissa * 10.0**decade <= high
        ]
        for mantissas in _MANTISSAS
    ]
    found = next((ticks for ticks in options if len(ticks) >= 4), options[-1])
    return found if len(found) > 1 or high <= low else _even_ticks(low, high)


def lone(mask: Bool[np.ndarray, "point"]) -> Bool[np.ndarray, "point"]:
    """Says where ``mask`` holds but at neither neighbour.

    Example:
        >>> lone(np.array([True, False, True, True])).tolist()
        [True, False, False, False]
    """
    padded = np.concatenate(([False], mask, [False]))
    return mask & ~padded[:-2] & ~padded[2:]


def runs(mask: Bool[np.ndarray, "point"]) -> Sequence[slice]:
    """Returns the stretches where ``mask`` holds without a gap.

    Example:
        >>> runs(np.array([True, True, False, True]))
        [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _even_ticks(low: float, high: float) -> list[float]:
    """Returns round numbers the same distance apart, for a range in which a logarithm is nearly a line."""
    size = 10.0 ** np.floor(np.log10(high - low))
    distance = size / (5 if high - low < 2 * size else 2 if high - low < 5 * size else 1)
    return [
        float(round(count * distance, 12)) for count in range(int(np.ceil(low / distance)), int(high // distance) + 1)
    ]


def _limits(spans: Sequence[Float[np.ndarray, "..."]], *, log: bool) -> tuple[float, float]:
    values = np.concatenate([np.asarray(span, dtype=np.float64).reshape(-1) for span in spans] or [np.zeros(0)])
    values = values[np.isfinite(values) & (values > 0 if log else True)]
    if not len(values):
        return (0.1, 10.0) if log else (0.0, 1.0)
    if log:
        low, high = np.log10(values.min()), np.log10(values.max())
        room = max(_ROOM * (high - low), 0.05)
        return float(10 ** (low - room)), float(10 ** (high + room))
    low, high = float(values.min()), float(values.max())
    room = _ROOM * (high - low) or max(abs(high) * 0.1, 1e-3)
    return low - room, high + room


_SIZES = ((640.0, 300.0), (1000.0, 400.0), (650.0, 430.0), (740.0, 430.0), (990.0, 430.0), (1090.0, 430.0))
"""Widths and heights of axes, in points, at which labels must be clear of each other: of images, and of the page at 900
and at 1400 pixels with and without a colour scale."""
_LETTER, _LINE, _EDGE = 6.2, 15.0, 4.0
_TRIES = 5000
_QUADRANTS = ((-1, 1), (1, 1), (1, -1), (-1, -1))
"""To which side of its point a label above the others stands, best first, and the opposite of it one below them: a
rising cloud leaves room above it to the left, and below it to the right."""
_WAYS = tuple((x * (14.0 + 10 * lift), y * (16.0 + 15 * lift)) for x, y in _QUADRANTS for lift in range(8))


def placed(
    notes: Sequence[Note],
    x: Axis,
    x_limits: tuple[float, float],
    y: Axis,
    y_limits: tuple[float, float],
    *,
    crowd: tuple[Float[np.ndarray, "point"], Float[np.ndarray, "point"]] | None = None,
) -> list[Place]:
    """Returns where labels stand beside their points: where no other label is, and then the fewest points are.

    Args:
        notes: The labels.
        x: The horizontal axis.
        x_limits: Its ends.
        y: The vertical axis.
        y_limits: Its ends.
        crowd: Points of the figure, which labels may hide.
    """
    across, upward = (_along([getattr(n, axis) for n in notes], *ends) for axis, ends in
                      (("x", (x.log, x_limits)), ("y", (y.log, y_limits))))  # fmt: skip
    places = (np.zeros(0), np.zeros(0)) if crowd is None else crowd
    points = np.stack([_along(places[0], x.log, x_limits), _along(places[1], y.log, y_limits)], 1)

    def cost(at: int, way: Place) -> float:
        boxes = ((_box(across[at] * w, upward[at] * h, way, notes[at].text), (w, h)) for w, h in _SIZES)
        hidden = [int(_inside(points * np.array(size), box).sum()) for box, size in boxes]
        # A label one line nearer is worth two points that it hides.
        return abs(way.up) / _LINE + sum(hidden) / (2 * len(_SIZES))

    def clear(at: int, way: Place, found: Sequence[Place]) -> bool:
        return all(_is_clear(at, way, found, notes, across * w, upward * h, (w, h)) for w, h in _SIZES)

    ways = [sorted(_ways(note), key=lambda way, at=at: cost(at, way)) for at, note in enumerate(notes)]
    on_its_side = [
        [way for way in some if (way.up > 0) == note.above and clear(at, way, [])] or some
        for at, (some, note) in enumerate(zip(ways, notes, strict=True))
    ]
    found = _arranged(on_its_side, clear) or _arranged(ways, clear)
    return found or [_ways(note)[at % len(_WAYS)] for at, note in enumerate(notes)]


def _arranged(
    ways: Sequence[Sequence[Place]], clear: Callable[[int, Place, Sequence[Place]], bool]
) -> list[Place] | None:
    """Returns the first choice of a place for each label in which all are clear, None where few tries find none."""
    found: list[Place] = []
    tries = itertools.count()

    def place_from(at: int) -> bool:
        """Places the labels from one on, and says whether that could be done."""
        if at == len(ways):
            return True
        for way in ways[at]:
            if next(tries) > _TRIES:
                return False
            if clear(at, way, found):
                found.append(way)
                if place_from(at + 1):
                    return True
                found.pop()
        return False

    return found if place_from(0) else None


def _ways(note: Note) -> list[Place]:
    """Returns places beside a point, the nearest of the best side first."""
    sign = 1 if note.above else -1
    return [Place(sign * right, sign * up) for right, up in _WAYS]


def _is_clear(
    at: int,
    way: Place,
    found: Sequence[Place],
    notes: Sequence[Note],
    across: Float[np.ndarray, "note"],
    upward: Float[np.ndarray, "note"],
    size: tuple[float, float],
) -> bool:
    """Says whether a label at a place touches no label, line or point of the other notes, and no edge."""
    box, line = _box(across[at], upward[at], way, notes[at].text), _leader(across[at], upward[at], way)
    if box[0] < 0 or box[1] > size[0] or box[2] < 0 or box[3] > size[1]:
        return False
    points = np.stack([across, upward], 1)
    if _within(np.delete(points, at, axis=0), box):
        return False
    for other, its in enumerate(found):
        theirs = _box(across[other], upward[other], its, notes[other].text)
        apart = box[0] > theirs[1] or theirs[0] > box[1] or box[2] > theirs[3] or theirs[2] > box[3]
        if not apart or _within(line, theirs) or _within(_leader(across[other], upward[other], its), box):
            return False
    return True


def _box(x: float, y: float, way: Place, text: str) -> tuple[float, float, float, float]:
    """Returns left, right, bottom and top of a label, with a little room."""
    near, length = x + way.right, _LETTER * len(text)
    left, right = (near, near + length) if way.right > 0 else (near - length, near)
    return left - _EDGE, right + _EDGE, y + way.up - _LINE / 2, y + way.up + _LINE / 2


def _leader(x: float, y: float, way: Place) -> Float[np.ndarray, "point 2"]:
    return np.array([x, y]) + np.linspace(0, 1, 12)[:, None] * np.array([way.right, way.up])


def _within(points: Float[np.ndarray, "point 2"], box: tuple[float, float, float, float]) -> bool:
    return bool(_inside(points, box).any())


def _inside(points: Float[np.ndarray, "point 2"], box: tuple[float, float, float, float]) -> Bool[np.ndarray, "point"]:
    x, y = points.T
    return (x > box[0]) & (x < box[1]) & (y > box[2]) & (y < box[3])


def _along(
    values: Sequence[float] | Float[np.ndarray, "note"], log: bool, limits: tuple[float, float]
) -> Float[np.ndarray, "note"]:
    """Returns where values lie on an axis, from 0 to 1; NaN for what has no place there."""
    at, ends = np.asarray(values, dtype=np.float64), np.asarray(limits)
    if log:
        at, ends = np.log(np.where(at > 0, at, np.nan)), np.log(ends)
    return (at - ends[0]) / (ends[1] - ends[0])
