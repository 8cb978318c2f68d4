"""A net of few hidden layers that all read one stream and add to it, as the MLPs of a transformer do."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes


class StreamNet(HookedRootModule):
    """``s <- s + W_out relu(W_in s + b_in)``, layer by layer, from ``s = W_E x``; the answer is ``s W_U``.

    Hooked after every ReLU (``hook_hidden.0``, ...) and at the answer (``hook_out``). ``W_E`` and ``W_U`` are buffers,
    which are not trained. All weights are 0 at first.

    Args:
        n_inputs: The number of inputs.
        dimension: That of the stream.
        widths: Neurons of each layer.
        n_outputs: The number of answers.
    """

    W_E: Float[Tensor, "dimension input"]
    W_U: Float[Tensor, "dimension output"]

    def __init__(self, n_inputs: int, dimension: int, widths: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        self.register_buffer("W_E", torch.zeros(dimension, n_inputs))
        self.register_buffer("W_U", torch.zeros(dimension, n_outputs))
        self.W_in = nn.ParameterList(torch.zeros(width, dimension) for width in widths)
        self.b_in = nn.ParameterList(torch.zeros(width) for width in widths)
        self.W_out = nn.ParameterList(torch.zeros(dimension, width) for width in widths)
        self.hook_hidden = nn.ModuleList(HookPoint() for _ in widths)
        self.hook_out = HookPoint()
        self.setup()

    def forward(self, x: Num[Tensor, "*example input"]) -> Float[Tensor, "*example output"]:
        """Returns the answers; inputs are cast to the type of the weights."""
        stream = x.to(self.W_E.dtype) @ self.W_E.T
        for layer, hook in enumerate(self.hook_hidden):
            hidden = torch.nn.functional.linear(stream, self.W_in[layer], self.b_in[layer]).relu()
            stream = stream + hook(hidden) @ self.W_out[layer].T
        return self.hook_out(stream @ self.W_U)

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a hidden neuron: its row, bias and column."""
        return {
            f"hook_hidden.{layer}": WeightAxes(
                incoming=((f"W_in.{layer}", 0),),
                bias=((f"b_in.{layer}", 0),),
                outgoing=((f"W_out.{layer}", 1),),
                unit="neuron",
            )
            for layer in range(len(self.hook_hidden))
        }
