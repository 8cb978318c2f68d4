"""The smallest net that groks: embedded tokens into one hidden layer."""

import lightning as L
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from llc_lightning.components.hooks import WeightAxes
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import has_target
from llc_lightning.models.init import linear
from llc_lightning.models.optimizer import OptimizerSettings
from llc_lightning.models.sequence_model import SequenceModel
from llc_lightning.runtime.errors import DataError, at_least
from llc_lightning.runtime.seeding import generator


class TokenMLP(HookedRootModule):
    """``W_out relu(W_in [W_E[t_1] ... W_E[t_n]] + b_in) + b_out``: what follows after n tokens, read all at once.

    It is hooked at the embeddings (``hook_embed``), after the ReLU (``hook_hidden``) and at the output (``hook_out``).
    The weights are drawn as torch draws them, but from a generator of the net's own, in the order of its parameters.

    Args:
        d_vocab: Tokens that there are; at least as many as the data have.
        n_ctx: Positions.
        d_embed: Width of an embedding.
        width: Hidden neurons.
        seed: Of the weights.
    """

    def __init__(self, d_vocab: int, n_ctx: int, *, d_embed: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.n_ctx = n_ctx
        draws = generator(seed, "init")
        self.W_E = nn.Parameter(torch.randn(d_vocab, d_embed, generator=draws))
        self.hook_embed = HookPoint()
        self.W_in = linear(n_ctx * d_embed, width, draws)
        self.hook_hidden = HookPoint()
        self.W_out = linear(width, d_vocab, draws)
        self.hook_out = HookPoint()
        self.setup()

    def forward(self, tokens: Int64[Tensor, "example position"]) -> Float[Tensor, "example position token"]:
        """Returns the logits of what follows the last position; before it, where nothing is predicted, they are 0.

        Raises:
            DataError: If there are more or fewer positions than the net reads.
        """
        if tokens.shape[1] != self.n_ctx:
            raise DataError(
                f"the sequences have {tokens.shape[1]} positions, but the net reads {self.n_ctx}; set n_ctx."
            )
        embedded = self.hook_embed(nn.functional.embedding(tokens, self.W_E))
        logits = self.hook_out(self.W_out(self.hook_hidden(self.W_in(embedded.flatten(1)).relu())))
        return nn.functional.pad(logits[:, None], (0, 0, tokens.shape[1] - 1, 0))

    def weight_axes(self) -> dict[str, WeightAxes]:
        """Returns which weights make a hidden neuron (its row, bias and column) and an output (its row and bias)."""
        return {
            "hook_hidden": WeightAxes(
                incoming=(("W_in.weight", 0),), bias=(("W_in.bias", 0),), outgoing=(("W_out.weight", 1),), unit="neuron"
            ),
            "hook_out": WeightAxes(incoming=(("W_out.weight", 0),), bias=(("W_out.bias", 0),), unit="output"),
        }


class TokenMLPModel(SequenceModel):
    """Trains a :class:`TokenMLP` on sequences of one length, of which the last token is to be continued.

    Args:
        d_vocab: Tokens that there are.
        n_ctx: Positions, as many as the data have.
        d_embed: Width of an embedding.
        width: Hidden neurons.
        learning_rate: Of AdamW, after the warm-up.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        schedule: ``cosine`` lets the learning rate fall to 0 along a half cosine; ``constant`` keeps it.
        warmup_steps: Optimizer steps over which the learning rate rises from 0.
        total_steps: Length of the cosine in optimizer steps; by default the trainer's ``max_steps``.
        seed: Of the initial weights.

    Raises:
        SettingError: If a number is out of range or a name unknown.
    """

    def __init__(
        self,
        d_vocab: int = 54,
        n_ctx: int = 3,
        *,
        d_embed: int = 12,
        width: int = 48,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.3,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: str = "cosine",
        warmup_steps: int = 0,
        total_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        at_least(1, d_vocab=d_vocab, n_ctx=n_ctx, d_embed=d_embed, width=width)
        # YAML and checkpoints give lists.
        first, second = betas
        super().__init__(
            OptimizerSettings(learning_rate, weight_decay, (first, second), schedule, warmup_steps, total_steps)
        )
        self.save_hyperparameters()
        self.net = TokenMLP(d_vocab, n_ctx, d_embed=d_embed, width=width, seed=seed)

    def forward(self, inputs: Int64[Tensor, "example position"]) -> Float[Tensor, "example position token"]:
        """Returns the logits of what follows the last position."""
        return self.net(inputs)

    @property
    def embedding(self) -> Float[Tensor, "token d_embed"]:
        """What stands for each token."""
        return self.net.W_E

    @property
    def limits(self) -> tuple[int, int, int | None]:
        """The tokens and positions that the net has; it reads no vectors."""
        return len(self.net.W_E), self.net.n_ctx, None

    def fit_to(self, data: L.LightningDataModule) -> None:
        """Notes what the data's tokens and trivial loss are, and checks that the net can read and answer them.

        Raises:
            DataError: If it has too few tokens or positions, or if more than the token after the last is asked for.
        """
        super().fit_to(data)
        if isinstance(data, SequenceData):
            _, targets = data.task.sample(1, generator(0, "fit"))
            if bool(has_target(targets)[:, :-1].any()):
                raise DataError(
                    "something is predicted at other positions than the last, where this net predicts nothing; train a "
                    "transformer on such data."
                )
