"""The net of dense layers for images."""

from jaxtyping import Float, Num
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.models.init import linear
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
