"""A small transformer whose activations can be hooked by the names of TransformerLens."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.models.transformer_parts import Block, Embed, Inputs, PosEmbed, Unembed, normalization
from llc_lightning.models.transformer_shape import TransformerShape
from llc_lightning.runtime.errors import DataError
from llc_lightning.runtime.seeding import generator


class Transformer(HookedRootModule):
    """A decoder-only transformer of any :class:`TransformerShape`.

    Its parameters and hook points have the names and shapes of TransformerLens: ``blocks.0.attn.W_Q`` [head, d_model,
    d_head], ``blocks.0.attn.hook_pattern`` [example, head, query, key] and so on.

    Weights are drawn from a generator of the net's own, in the order of its parameters: normal with standard deviation
    ``0.8 / sqrt(d_model)``, those that write into the residual stream smaller by ``sqrt(2 n_layers)``, as
    TransformerLens draws them; biases are 0.

    Args:
        shape: Sizes and options.
        seed: Of the weights.
    """

    def __init__(self, shape: TransformerShape, *, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.embed = Embed(shape)
        self.hook_embed = HookPoint()
        if shape.positions == "learned":
            self.pos_embed = PosEmbed(shape)
            self.hook_pos_embed = HookPoint()
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.ln_final = normalization(shape)
        self.unembed = Unembed(shape)
        self._draw(seed)
        self.setup()

    def forward(self, inputs: Inputs) -> Float[Tensor, "example position output"]:
        """Returns the logits, or the predicted numbers, at every position.

        Raises:
            DataError: If there are more positions than the net has.
        """
        if inputs.shape[1] > self.shape.n_ctx:
            raise DataError(
                f"the sequences have {inputs.shape[1]} positions, but the net has {self.shape.n_ctx}; raise n_ctx."
            )
        x = self.hook_embed(self.embed(inputs))
        if self.shape.positions == "learned":
            x = x + self.hook_pos_embed(self.pos_embed(inputs))
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.ln_final(x))

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a coordinate of what is embedded."""
        axes = {"hook_embed": WeightAxes((("embed.W_E", 1),), unit="output")}
        if self.shape.positions == "learned":
            axes["hook_pos_embed"] = WeightAxes((("pos_embed.W_pos", 1),), unit="output")
        return axes

    def _draw(self, seed: int) -> None:
        draws = generator(seed, "init")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                kind = name.rpartition(".")[2]
                if kind.startswith("W_"):
                    writes = kind in ("W_O", "W_out")
                    scale = 0.8 * self.shape.d_model**-0.5 * ((2 * self.shape.n_layers) ** -0.5 if writes else 1.0)
                    parameter.normal_(0.0, scale, generator=draws)
