"""The nets for images: of dense layers, and of convolutions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.models.init import convolution, linear
from llc_lightning.runtime.seeding import generator


class ImageMLP(HookedRootModule):
    """Layers of ReLUs, hooked after each (``hook_hidden.0``, ...) and at the output (``hook_out``).

    The weights are drawn as ``nn.Linear`` draws them, but from a generator of the net's own, in the order of its
    parameters.

    Args:
        n_pixels: Pixels of an image.
        width: Neurons of each hidden layer.
        depth: Hidden layers.
        n_outputs: The number of outputs.
        seed: Of the weights.
    """

    def __init__(self, n_pixels: int, width: int, depth: int, n_outputs: int, *, seed: int = 0) -> None:
        super().__init__()
        draws = generator(seed, "init")
        sizes = (n_pixels, *(width for _ in range(depth)))
        self.hidden = nn.ModuleList(linear(sizes[i], sizes[i + 1], draws) for i in range(depth))
        self.hook_hidden = nn.ModuleList(HookPoint() for _ in range(depth))
        self.head = linear(width, n_outputs, draws)
        self.hook_out = HookPoint()
        self.setup()

    def forward(self, images: Num[Tensor, "*example row column"]) -> Float[Tensor, "*example output"]:
        """Returns the outputs; images are cast to the type of the weights."""
        activation = images.flatten(-2).to(self.head.weight.dtype)
        for layer, hook in zip(self.hidden, self.hook_hidden, strict=True):
            activation = hook(layer(activation).relu())
        return self.hook_out(self.head(activation))

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a neuron (its row, bias and column) and an output (its row and bias)."""
        readers = [*(f"hidden.{i}.weight" for i in range(1, len(self.hidden))), "head.weight"]
        neurons = {
            f"hook_hidden.{i}": WeightAxes(
                incoming=((f"hidden.{i}.weight", 0),), bias=((f"hidden.{i}.bias", 0),), outgoing=((reader, 1),)
            )
            for i, reader in enumerate(readers)
        }
        outputs = WeightAxes(incoming=(("head.weight", 0),), bias=(("head.bias", 0),), unit="output")
        return {**neurons, "hook_out": outputs}


_KERNELS = (5, 3)


class ImageCNN(HookedRootModule):
    """Convolutions with ReLUs, hooked after each (``hook_channels.0``, ...), and a linear map (``hook_out``).

    Each convolution halves rows and columns; the first has kernels of 5 x 5, the others of 3 x 3. The linear map reads
    every place of every channel and keeps its weights as [output, channel, row, column], so that a channel owns a slice
    of them. All are drawn as torch draws them, but from a generator of the net's own.

    Args:
        rows: Rows of an image.
        columns: Columns of an image.
        channels: Channels after each convolution.
        n_outputs: The number of outputs.
        seed: Of the weights.
    """

    def __init__(self, rows: int, columns: int, channels: Sequence[int], n_outputs: int, *, seed: int = 0) -> None:
        super().__init__()
        draws = generator(seed, "init")
        before = (1, *channels[:-1])
        kernels = [_KERNELS[min(i, len(_KERNELS) - 1)] for i in range(len(channels))]
        self.convolutions = nn.ModuleList(
            convolution(n_in, n_out, kernel, draws)
            for n_in, n_out, kernel in zip(before, channels, kernels, strict=True)
        )
        self.hook_channels = nn.ModuleList(HookPoint() for _ in channels)
        for _ in channels:
            rows, columns = -(-rows // 2), -(-columns // 2)
        head = linear(channels[-1] * rows * columns, n_outputs, draws)
        self.W_out = nn.Parameter(head.weight.detach().view(n_outputs, channels[-1], rows, columns))
        self.b_out = nn.Parameter(head.bias.detach())
        self.hook_out = HookPoint()
        self.setup()

    def forward(self, images: Num[Tensor, "*example row column"]) -> Float[Tensor, "*example output"]:
        """Returns the outputs; images are cast to the type of the weights."""
        activation = images.to(self.W_out.dtype)[..., None, :, :]
        for layer, hook in zip(self.convolutions, self.hook_channels, strict=True):
            activation = hook(layer(activation).relu())
        return self.hook_out(torch.nn.functional.linear(activation.flatten(-3), self.W_out.flatten(1), self.b_out))

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a channel (its kernels, bias and readers) and an output (its weights and bias)."""
        readers = [*(f"convolutions.{i}.weight" for i in range(1, len(self.convolutions))), "W_out"]
        channels = {
            f"hook_channels.{i}": WeightAxes(
                incoming=((f"convolutions.{i}.weight", 0),),
                bias=((f"convolutions.{i}.bias", 0),),
                outgoing=((reader, 1),),
                unit="channel",
                unit_axis=-3,
            )
            for i, reader in enumerate(readers)
        }
        return {**channels, "hook_out": WeightAxes(incoming=(("W_out", 0),), bias=(("b_out", 0),), unit="output")}
