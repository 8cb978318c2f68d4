"""The known answers of ``llc_lightning.exact`` that have a value at finite n_beta."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.truth.case import Case, of_weights
from benchmarks.truth.crossings import crossing
from llc_lightning.exact import displaced_value, quadratic_value, reduced_rank_value, unit_value

GROUP = "catalogue"
SPECTRA = {
    "three scales": (*[1.0] * 5, *[0.1] * 5, *[0.01] * 5, *[0.0] * 5),
    "six scales": tuple(10.0**-k for k in range(6)),
    "round": (1.0,) * 6,
}
CROSSINGS = (((1,), 100.0), ((2,), 100.0), ((3,), 1000.0), ((1, 1), 100.0), ((1, 2), 1000.0), ((2, 2), 1000.0))
WIDTHS = (((1, 1, 1), 100.0), ((2, 1, 2), 1000.0), ((3, 1, 2), 100.0), ((2, 2, 2), 100.0), ((3, 2, 3), 1000.0))
UNITS = ((4, 4, 0.0, 1000.0), (4, 4, 0.03, 1000.0), (4, 4, 1.0, 1000.0), (3, 6, 0.3, 100.0))


def cases() -> Iterator[Case]:
    """Yields the catalogue."""
    for name, curvature in SPECTRA.items():
        yield _quadratic(name, curvature)
    yield _displaced("displaced by 0.02", 0.02)
    yield _displaced("displaced by 1", 1.0)
    for powers, n_beta in CROSSINGS:
        yield crossing(powers, n_beta, GROUP)
    for widths, n_beta in WIDTHS:
        yield _reduced_rank(*widths, n_beta)
    for inputs, outputs, strength, n_beta in UNITS:
        yield _unit(inputs, outputs, strength, n_beta)


def _quadratic(name: str, curvature: tuple[float, ...]) -> Case:
    at, h = {"n_beta": 100.0, "gamma": 10.0}, torch.tensor(curvature)
    return Case(
        name=f"quadratic, {name}", group=GROUP, loss=of_weights(lambda w: (h.to(w) * w.square()).sum() / 2),
        params={"w": torch.zeros(len(h))}, known="quadratic", value=partial(quadratic_value, curvature, **at), **at,
    )  # fmt: skip


def _displaced(name: str, away: float) -> Case:
    at, h = {"n_beta": 100.0, "gamma": 10.0}, torch.tensor([1.0, 0.3, 0.1], dtype=torch.float64).diag()
    mu = torch.full((3,), away, dtype=torch.float64)
    hessian, minimum = h.float(), mu.float()
    return Case(
        name=f"quadratic, {name}", group=GROUP, params={"w": torch.zeros(3)}, known="displaced",
        loss=of_weights(lambda w: (w - minimum.to(w)) @ hessian.to(w) @ (w - minimum.to(w)) / 2),
        value=lambda: displaced_value(h, mu, **at)[0], holds=frozenset({"not-a-minimum"}), **at,
    )  # fmt: skip


def _reduced_rank(inputs: int, hidden: int, outputs: int, n_beta: float) -> Case:
    at, split = {"n_beta": n_beta, "gamma": 1.0}, [hidden * inputs, outputs * hidden]

    def loss(w: Tensor) -> Tensor:
        first, second = w.split(split)
        return (second.view(outputs, hidden) @ first.view(hidden, inputs)).square().sum() / 2

    return Case(
        name=f"reduced rank {inputs} {hidden} {outputs} of 0, n_beta {n_beta:g}", group=GROUP, loss=of_weights(loss),
        params={"w": torch.zeros(sum(split))}, known="reduced-rank",
        value=partial(reduced_rank_value, inputs, hidden, outputs, **at), **at,
    )  # fmt: skip


def _unit(inputs: int, outputs: int, strength: float, n_beta: float) -> Case:
    at = {"n_beta": n_beta, "gamma": 10.0}
    start = torch.zeros(inputs + outputs)
    start[0] = start[inputs] = strength**0.5

    def loss(w: Tensor) -> Tensor:
        away = torch.outer(w[inputs:], w[:inputs]) - torch.outer(start[inputs:], start[:inputs]).to(w)
        return away.square().sum() / 2

    return Case(
        name=f"unit {inputs} {outputs} of {strength:g}, n_beta {n_beta:g}", group=GROUP, loss=of_weights(loss),
        params={"w": start}, known="linear-unit", value=partial(unit_value, inputs, outputs, strength=strength, **at),
        holds=frozenset({"not-local"}) if 0 < strength < 0.5 else frozenset(), **at,
    )  # fmt: skip
