"""Two small image tasks that are drawn when asked for, for where there is no data and no network.

They stand in for MNIST and Fashion-MNIST and are neither: ``segments`` are the ten figures of a seven-segment display,
moved, slanted, scaled and noisy; ``gratings`` are sine waves in ten directions with any phase and wavelength, which no
linear map can tell apart. Both are pure functions of :data:`SEED`, the same on every machine.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from llc_lightning.data.image_sets import CLASSES, SIZE, ImageSet, ImageTask
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.seeding import generator

SEED = 0
"""Of the drawings. The tasks are fixed as a downloaded set is, so that runs of different seeds share them."""
TRAIN, TEST = 6000, 1000
"""Images of each task."""

_BLOCK = 500
# x and y of both ends of the segments a to g, y downward
_ENDS = (
    *((-1.0, -2.0, 1.0, -2.0), (1.0, -2.0, 1.0, 0.0), (1.0, 0.0, 1.0, 2.0), (-1.0, 2.0, 1.0, 2.0)),
    *((-1.0, 0.0, -1.0, 2.0), (-1.0, -2.0, -1.0, 0.0), (-1.0, 0.0, 1.0, 0.0)),
)
_LIT = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")

Draw = Callable[[Int64[Tensor, "image"], torch.Generator], Float[Tensor, "image row column"]]


def drawn_tasks() -> tuple[ImageTask, ImageTask]:
    """Returns both tasks, ten classes each, equally frequent."""
    return _task("segments", draw_segments), _task("gratings", draw_gratings)


def draw_segments(labels: Int64[Tensor, "image"], draws: torch.Generator) -> Float[Tensor, "image row column"]:
    """Returns figures of a seven-segment display, one of each label, with brightness from 0 to 1.

    The centre moves by up to 3 pixels, a segment is 4 to 5 pixels long, and the slant is up to 0.25.
    """
    n = len(labels)
    lit = torch.tensor([[segment in figure for segment in "abcdefg"] for figure in _LIT])[labels]
    centre = _uniform(n, -3.0, 3.0, draws), _uniform(n, -3.0, 3.0, draws)
    scale, slant = _uniform(n, 4.0, 5.0, draws), _uniform(n, -0.25, 0.25, draws)
    down, right = _grid()
    y = (down - centre[0]) / scale
    x = (right - centre[1]) / scale + slant * y
    distance = torch.full_like(x, math.inf)
    for segment, ends in enumerate(_ENDS):
        away = _distance(x, y, ends)
        distance = torch.where(lit[:, segment, None, None], torch.minimum(distance, away), distance)
    ink = (1.5 - distance * scale).clamp(0, 1) * _uniform(n, 0.6, 1.0, draws)
    return _noisy(ink, 0.15, draws)


def draw_gratings(labels: Int64[Tensor, "image"], draws: torch.Generator) -> Float[Tensor, "image row column"]:
    """Returns sine waves whose direction is the label times 18 degrees, give or take 3, with brightness from 0 to 1.

    The wavelength is between 7 and 14 pixels, the phase is any.
    """
    n = len(labels)
    angle = (labels[:, None, None] + torch.randn(n, 1, 1, generator=draws) / 6) * (math.pi / CLASSES)
    frequency, phase = 2 * math.pi / _uniform(n, 7.0, 14.0, draws), _uniform(n, 0.0, 2 * math.pi, draws)
    down, right = _grid()
    wave = torch.sin(frequency * (right * angle.cos() + down * angle.sin()) + phase)
    return _noisy(0.5 + 0.5 * _uniform(n, 0.4, 1.0, draws) * wave, 0.15, draws)


def _task(name: str, draw: Draw) -> ImageTask:
    return ImageTask(name, *(_images(f"{name} {part}", draw, n) for part, n in (("train", TRAIN), ("test", TEST))))


def _images(kind: str, draw: Draw, n: int) -> ImageSet:
    labels = torch.arange(n) % CLASSES
    draws = generator(SEED, "drawn", kind)
    bright = [draw(labels[block], draws) for block in chunks(n, _BLOCK)]
    return ImageSet(torch.cat([(255 * one).round().to(torch.uint8) for one in bright]), labels)


def _uniform(n: int, low: float, high: float, draws: torch.Generator) -> Float[Tensor, "image 1 1"]:
    return torch.empty(n, 1, 1).uniform_(low, high, generator=draws)


def _grid() -> tuple[Float[Tensor, "row 1"], Float[Tensor, "1 column"]]:
    """Returns how far each pixel lies below and right of the middle."""
    places = torch.arange(SIZE) - (SIZE - 1) / 2
    return places[:, None], places[None, :]


def _distance(
    x: Float[Tensor, "image row column"], y: Float[Tensor, "image row 1"], ends: tuple[float, float, float, float]
) -> Float[Tensor, "image row column"]:
    """Returns the distance of every pixel from a stroke between two points, horizontal or vertical."""
    left, top, right, bottom = ends
    return torch.hypot(x - x.clamp(left, right), y - y.clamp(top, bottom))


def _noisy(
    ink: Float[Tensor, "image row column"], sd: float, draws: torch.Generator
) -> Float[Tensor, "image row column"]:
    return (ink + sd * torch.randn(ink.shape, generator=draws)).clamp(0, 1)
