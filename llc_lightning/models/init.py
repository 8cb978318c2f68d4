"""Layers whose first weights come from a generator of their own."""

import torch
from torch import nn


def linear(n_inputs: int, n_outputs: int, draws: torch.Generator) -> nn.Linear:
    """Returns a linear layer with weights and biases drawn uniformly within ``1 / sqrt(inputs)``, as torch does."""
    # On the meta device the layer draws no weights of its own, which would come from the global generator.
    layer = nn.Linear(n_inputs, n_outputs, device="meta").to_empty(device="cpu")
    _draw(layer, n_inputs, draws)
    return layer


def convolution(n_inputs: int, n_outputs: int, kernel: int, draws: torch.Generator) -> nn.Conv2d:
    """Returns a convolution that halves rows and columns, drawn as :func:`linear` draws.

    Args:
        n_inputs: Input channels.
        n_outputs: Output channels.
        kernel: Rows and columns of the kernel, an odd number.
        draws: Gives the weights.
    """
    layer = nn.Conv2d(n_inputs, n_outputs, kernel, stride=2, padding=kernel // 2, device="meta").to_empty(device="cpu")
    _draw(layer, n_inputs * kernel**2, draws)
    return layer


def _draw(layer: nn.Module, n_inputs: int, draws: torch.Generator) -> None:
    bound = n_inputs**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=draws)
