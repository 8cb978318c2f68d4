"""Losses whose posteriors are known exactly, as functions of parameters and a batch."""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.func import grad, jacrev

from llc_lightning.runtime.batches import LossFn, Params

ONE_EXAMPLE = torch.zeros(1)
# Radius and bias near the minimum, by the number of sides.
POLYGONS = {4: (1.0, 0.0), 5: (1.17, -0.28), 6: (1.32, -0.62), 7: (1.5, -1.0), 8: (1.6, -1.3)}
CURVATURE = (*[1.0] * 5, *[0.1] * 5, *[0.01] * 5, *[0.0] * 5)


@dataclass(frozen=True)
class Known:
    """A loss, the weights that it is measured at, and the examples."""

    loss: LossFn
    params: Params
    data: Tensor = ONE_EXAMPLE


def quadratic(curvature: tuple[float, ...] = CURVATURE) -> Known:
    """``1/2 sum_i h_i w_i^2``, the same for every example."""
    h = torch.tensor(curvature)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (h * params["w"].square()).sum() / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(len(h))})


def noisy_quadratic(spread: float, curvature: tuple[float, ...] = CURVATURE, n: int = 256) -> Known:
    """``1/2 sum_i h_i w_i^2 + c . w``, c of each example: plus or minus ``spread``, averaging to 0 over them."""
    h = torch.tensor(curvature)
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(i)) for i in range(len(h))]
    c = spread * torch.stack([1.0 - 2.0 * (order % 2) for order in orders], dim=1)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (h * params["w"].square()).sum() / 2 + batch @ params["w"]

    return Known(loss, {"w": torch.zeros(len(h))}, c)


def rotated_quadratic(
    dimension: int, rank: int, *, displaced_by: float = 0.0, seed: int = 0
) -> tuple[Known, Tensor, Tensor]:
    """``1/2 (w - mu)^T H (w - mu)`` with a dense H of a given rank; returns it with H and mu."""
    draws = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dimension, dimension, generator=draws, dtype=torch.float64)).Q[:, :rank]
    hessian = basis @ torch.diag(0.5 + torch.rand(rank, generator=draws, dtype=torch.float64)) @ basis.T
    mu = displaced_by * torch.randn(dimension, generator=draws, dtype=torch.float64)
    h, m = hessian.float(), mu.float()

    def loss(params: Params, batch: Tensor) -> Tensor:
        away = params["w"] - m
        return away @ h @ away / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(dimension)}), hessian, mu


def quartic() -> Known:
    """``w^4``, one weight."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return params["w"].square().square().sum() + 0 * batch

    return Known(loss, {"w": torch.zeros(1)})


def crossing() -> Known:
    """``(w_1 w_2)^2``."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        return (params["w"][0] * params["w"][1]).square() + 0 * batch

    return Known(loss, {"w": torch.zeros(2)})


def reduced_rank(inputs: int = 2, hidden: int = 2, outputs: int = 2) -> Known:
    """``1/2 |B A|^2`` at ``A = B = 0``, the entries of ``A`` and then those of ``B`` in one tensor."""

    def loss(params: Params, batch: Tensor) -> Tensor:
        first, second = params["w"].split([hidden * inputs, outputs * hidden])
        product = second.view(outputs, hidden) @ first.view(hidden, inputs)
        return product.square().sum() / 2 + 0 * batch

    return Known(loss, {"w": torch.zeros(hidden * (inputs + outputs))})


def deep_linear(widths: tuple[int, ...] = (6, 4, 5), rank: int = 2, *, seed: int = 0) -> Known:
    """``1/2 |W_L ... W_1 - M|^2`` where the product is ``M``, whose singular values are 1, 1/2, 1/3 and so on.

    The weights, "1" to "L", are balanced: all have the same singular values.
    """
    draws = torch.Generator().manual_seed(seed)
    depth = len(widths) - 1
    bases = [torch.linalg.qr(torch.randn(width, rank, generator=draws, dtype=torch.float64)).Q for width in widths]
    singular = torch.arange(1, rank + 1, dtype=torch.float64) ** (-1 / depth)
    weights = {str(i + 1): bases[i + 1] * singular @ bases[i].T for i in range(depth)}

    def product(params: Params) -> Tensor:
        return reduce(lambda below, name: params[name] @ below, list(weights)[1:], params["1"])

    target = product(weights)

    def loss(params: Params, batch: Tensor) -> Tensor:
        away = product(params) - target.to(params["1"])
        return away.square().sum() / 2 + 0 * batch

    return Known(loss, {name: weight.float() for name, weight in weights.items()})


def unit(inputs: int, outputs: int, strength: float) -> Known:
    """``1/2 |b a^T - b* a*^T|^2`` at ``a*`` and ``b*``, equally long along their first axes: one linear unit."""
    start = {"a": torch.zeros(inputs), "b": torch.zeros(outputs)}
    for vector in start.values():
        vector[0] = strength**0.5

    def loss(params: Params, batch: Tensor) -> Tensor:
        away = torch.outer(params["b"], params["a"]) - torch.outer(start["b"], start["a"])
        return away.square().sum() / 2 + 0 * batch

    return Known(loss, start)


def superposition(columns: int, sides: int, *, dead: str = "negative", dtype: torch.dtype = torch.float32) -> Known:
    """The toy model of superposition at a regular polygon: ``|x - ReLU(W^T W x + b)|^2``, two rows in ``W``.

    The example ``e_i`` stands for all ``x = u e_i`` with u uniform in [0, 1]: its loss is the integral over u. Radius
    and bias of the polygon are at their minimum. Dead biases are -1, where nothing depends on them, or at their own
    minimum, ``1 / (2 columns)``.
    """
    data = torch.eye(columns, dtype=dtype)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return batch @ superposition_losses(params["W"], params["b"])

    def placed(radius_and_bias: Tensor) -> Params:
        radius, bias = radius_and_bias
        angle = torch.arange(sides, dtype=torch.float64) * (2 * torch.pi / sides)
        polygon = radius * torch.stack([angle.cos(), angle.sin()])
        off = -1.0 if dead == "negative" else 1 / (2 * columns)
        gone = columns - sides
        return {
            "W": torch.cat([polygon, torch.zeros(2, gone, dtype=torch.float64)], dim=1),
            "b": torch.cat([bias.expand(sides), torch.full((gone,), off, dtype=torch.float64)]),
        }

    def population(radius_and_bias: Tensor) -> Tensor:
        return loss(placed(radius_and_bias), data.double()).mean()

    at = torch.tensor(POLYGONS[sides], dtype=torch.float64)
    for _ in range(20):
        at = at - torch.linalg.solve(jacrev(grad(population))(at), grad(population)(at))
    return Known(loss, {name: value.to(dtype) for name, value in placed(at).items()}, data)


def superposition_losses(w: Tensor, b: Tensor) -> Tensor:
    """Returns the integral over u of ``|u e_i - ReLU(u W^T W e_i + b)|^2`` for every column i."""
    slope = w.T @ w
    # Row i holds what is shown, column j the output; the output u slope + bias is positive from low to high.
    safe = torch.where(slope.abs() < 1e-12, 1e-12, slope)
    crossing = (-b / safe).clamp(0, 1)
    low, high = torch.where(safe > 0, crossing, 0), torch.where(safe > 0, 1, crossing)
    first, second, third = (high**power - low**power for power in (1, 2, 3))
    square = slope.square() * third / 3 + slope * b * second + b.square() * first
    match = slope * third / 3 + b * second / 2
    return (square + torch.eye(len(b), dtype=w.dtype) * (1 / 3 - 2 * match)).sum(1)


def population_hessian(known: Known) -> Tensor:
    """Returns the Hessian of the mean loss over the examples at the weights, in double precision."""
    params = {name: value.double() for name, value in known.params.items()}
    data = known.data.double()
    shapes = {name: value.shape for name, value in params.items()}

    def mean(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes.values()])
        return known.loss(
            {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}, data
        ).mean()

    return jacrev(grad(mean))(torch.cat([value.flatten() for value in params.values()]))
