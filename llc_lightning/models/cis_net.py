"""The net that computes in superposition: one hidden layer of ReLUs, fewer than its circuits need."""

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.models.init import linear
from llc_lightning.runtime.seeding import generator


class CISNet(HookedRootModule):
    """``W_out relu(W_in x + b_in) + b_out``, hooked after the ReLU (``hook_hidden``) and at the output (``hook_out``).

    With an ``embedding``, ``W_E x`` stands for ``x`` (``hook_embed``): the inputs themselves are in superposition, in
    fewer dimensions than there are inputs. ``W_E`` is a buffer, which is not trained; its columns are random unit
    vectors.

    The weights are drawn as ``nn.Linear`` draws them, uniformly within ``1 / sqrt(inputs)``, but from a generator of
    the net's own, in the order of its parameters.

    Args:
        n_inputs: The number of inputs.
        width: The number of hidden neurons.
        n_outputs: The number of outputs.
        seed: Of the weights.
        skip: Whether ``W_skip x`` is added to the output, with ``W_skip`` 0 at first.
        embedding: Into how many dimensions the inputs are embedded; None for no embedding.
    """

    W_E: Float[Tensor, "dimension input"] | None

    def __init__(
        self,
        n_inputs: int,
        width: int,
        n_outputs: int,
        *,
        seed: int = 0,
        skip: bool = False,
        embedding: int | None = None,
    ) -> None:
        super().__init__()
        draws = generator(seed, "init")
        self.register_buffer("W_E", None if embedding is None else _unit_columns(embedding, n_inputs, seed))
        if embedding is not None:
            n_inputs = embedding
            self.hook_embed = HookPoint()
        self.W_in = linear(n_inputs, width, draws)
        self.hook_hidden = HookPoint()
        self.W_out = linear(width, n_outputs, draws)
        self.W_skip = nn.Parameter(torch.zeros(n_outputs, n_inputs)) if skip else None
        self.hook_out = HookPoint()
        self.setup()

    def forward(self, x: Num[Tensor, "*example input"]) -> Float[Tensor, "*example output"]:
        """Returns the outputs; inputs are cast to the type of the weights."""
        x = x.to(self.W_in.weight.dtype)
        if self.W_E is not None:
            x = self.hook_embed(x @ self.W_E.T)
        outputs = self.W_out(self.hook_hidden(self.W_in(x).relu()))
        if self.W_skip is not None:
            outputs = outputs + x @ self.W_skip.T
        return self.hook_out(outputs)

    @property
    def n_inputs(self) -> int:
        """The number of inputs, before they are embedded."""
        return self.W_in.in_features if self.W_E is None else self.W_E.shape[1]

    @property
    def width(self) -> int:
        """The number of hidden neurons."""
        return self.W_in.out_features

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a hidden neuron (its row, bias and column) and an output (its row and bias)."""
        skip = () if self.W_skip is None else (("W_skip", 0),)
        return {
            "hook_hidden": WeightAxes(
                incoming=(("W_in.weight", 0),), bias=(("W_in.bias", 0),), outgoing=(("W_out.weight", 1),), unit="neuron"
            ),
            "hook_out": WeightAxes(incoming=(("W_out.weight", 0), *skip), bias=(("W_out.bias", 0),), unit="output"),
        }


def _unit_columns(n_rows: int, n_columns: int, seed: int) -> Float[Tensor, "row column"]:
    columns = torch.randn(n_rows, n_columns, generator=generator(seed, "embedding"))
    return columns / columns.square().sum(dim=0).sqrt()


def error_unit(power: float) -> str:
    """Returns what ``|error|^power`` is counted in.

    Example:
        >>> error_unit(4.0)
        'error^4'
    """
    return f"error^{power:g}"


def power_of(error: Float[Tensor, "*shape"], power: float) -> Float[Tensor, "*shape"]:
    """Returns ``|error|^power``; 2 and 4 by products, whose derivatives are several times faster than those of ``pow``.

    Example:
        >>> import torch
        >>> power_of(torch.tensor([-2.0, 3.0]), 4.0)
        tensor([16., 81.])
    """
    if power in (2, 4):
        square = error * error
        return square if power == 2 else square * square
    return error.abs().pow(power)
