"""Ablations of weights the slow literal way: a copy of the module whose weights are written over."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from llc_lightning.components.component import Component
from llc_lightning.runtime.seeding import generator

Edit = Callable[[str, Tensor], Tensor]
"""From a parameter's name and the component's entries of it to what takes their place."""


def zero(name: str, weight: Tensor) -> Tensor:
    return torch.zeros_like(weight)


def rounded(bits: int) -> Edit:
    """Symmetric rounding to nearest, with one scale for the entries of each parameter."""

    def edit(name: str, weight: Tensor) -> Tensor:
        largest, levels = weight.double().abs().max(), 2 ** (bits - 1) - 1
        return weight if largest == 0 else torch.round(weight.double() * levels / largest) * largest / levels

    return edit


def projected(rank: int) -> Edit:
    """Matrices projected on their first right singular vectors, which are eigenvectors of ``W^T W``."""

    def edit(name: str, weight: Tensor) -> Tensor:
        if weight.ndim < 2 or ".b_" in name:
            return weight
        matrix = weight.double().flatten(1) if name.endswith(".weight") else weight.double()
        vectors = torch.linalg.eigh(matrix.mT @ matrix).eigenvectors[..., -rank:]
        return (matrix @ vectors @ vectors.mT).reshape(weight.shape)

    return edit


def noisy(scale: float, *, seed: int, draw: int) -> Edit:
    """Noise from one stream, tensor by tensor."""
    stream = generator(seed, "weight-noise", draw)

    def edit(name: str, weight: Tensor) -> Tensor:
        spread = scale * weight.double().square().mean().sqrt()
        return weight + spread * torch.randn(weight.shape, generator=stream)

    return edit


EDITS: dict[str, list[Edit]] = {
    "weight_zero": [zero],
    "quantise(bits=3)": [rounded(3)],
    "low_rank": [projected(1)],
    "low_rank(rank=2)": [projected(2)],
}
METHODS = [*EDITS, "weight_noise", "weight_noise(draws=2,scale=0.5)"]


def edits_of(method: str, *, seed: int) -> list[Edit]:
    """Returns what a method does in each of its draws."""
    if method == "weight_noise":
        return [noisy(0.1, seed=seed, draw=0)]
    return EDITS.get(method) or [noisy(0.5, seed=seed, draw=draw) for draw in range(2)]


@torch.no_grad()
def edited_copies(module: nn.Module, component: Component, method: str, *, seed: int) -> list[nn.Module]:
    """Returns a copy for each draw, with the component's weights edited."""
    copies: list[nn.Module] = []
    for edit in edits_of(method, seed=seed):
        copied = copy.deepcopy(module).eval()
        for part in component.weights:
            whole, own = copied.get_parameter(part.parameter), module.get_parameter(part.parameter)
            index = list(range(own.shape[part.axis]) if part.index is None else part.index)
            at = (slice(None),) * part.axis + (index,)
            whole[at] = edit(part.parameter, own[at]).to(own.dtype)
        copies.append(copied)
    return copies
