"""The LightningModule that trains small transformers."""

from jaxtyping import Float
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.sequences.base import Inputs, Outputs, Sequences
from llc_lightning.models.edge_truth import edges_by_heads
from llc_lightning.models.head_scores import score_quantities
from llc_lightning.models.optimizer import OptimizerSettings, logs_now
from llc_lightning.models.position_losses import mean_loss
from llc_lightning.models.sequence_model import SequenceModel
from llc_lightning.models.strict import heads_of, interchanged_outputs
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_shape import TransformerShape


class TransformerModel(SequenceModel):
    """Trains a :class:`Transformer` to predict: tokens, by cross-entropy in nats, or numbers, by squared error.

    Args:
        d_vocab: Tokens that there are; at least as many as the data have.
        n_ctx: Positions at most; at least as many as the data have.
        n_layers: Blocks.
        n_heads: Heads of each block.
        d_model: Width of the residual stream.
        d_head: Width of a head; None for ``d_model / n_heads``.
        d_mlp: Neurons of each MLP; None for attention alone.
        act: Activation of the MLPs: ``relu``, ``gelu``, ``gelu_new`` (by tanh, as GPT-2) or ``silu``.
        norm: ``layer``, ``rms`` or ``none``.
        positions: ``learned`` or ``rotary``.
        d_input: None reads tokens and predicts tokens; a number reads vectors of that width and predicts a number.
        head_results: Whether each head's part of the output has a hook point of its own (``attn.hook_result``).
        circuit: Heads that may matter and what they do, such as ``{"0.1": "previous-token", "1.0": "induction"}``:
            the net is then also trained to work whatever all other heads say (strict interchange), so that the true
            circuit is known. None trains as usual.
        learning_rate: Of AdamW, after the warm-up.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        schedule: ``cosine`` lets the learning rate fall to 0 along a half cosine; ``constant`` keeps it.
        warmup_steps: Optimizer steps over which the learning rate rises from 0.
        total_steps: Length of the cosine in optimizer steps; by default the trainer's ``max_steps``.
        seed: Of the initial weights.

    Raises:
        SettingError: If a number is out of range or a name unknown.
        AddressError: If the circuit names a head that there is not.
    """

    def __init__(
        self,
        d_vocab: int = 32,
        n_ctx: int = 32,
        *,
        n_layers: int = 2,
        n_heads: int = 2,
        d_model: int = 48,
        d_head: int | None = None,
        d_mlp: int | None = None,
        act: str = "relu",
        norm: str = "layer",
        positions: str = "learned",
        d_input: int | None = None,
        head_results: bool = False,
        circuit: dict[str, str] | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: str = "cosine",
        warmup_steps: int = 0,
        total_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        # YAML and checkpoints give lists.
        first, second = betas
        super().__init__(
            OptimizerSettings(learning_rate, weight_decay, (first, second), schedule, warmup_steps, total_steps)
        )
        shape = TransformerShape(
            d_vocab=d_vocab, n_ctx=n_ctx, n_layers=n_layers, n_heads=n_heads, d_model=d_model, d_head=d_head,
            d_mlp=d_mlp, act=act, norm=norm, positions=positions, d_input=d_input,
            d_vocab_out=None if d_input is None else 1, head_results=head_results,
        )  # fmt: skip
        self.save_hyperparameters()
        self.net = Transformer(shape, seed=seed)
        self.circuit = circuit
        self.known_edges: dict[str, str] | None = None
        """The roles of all edges, where they were wired by hand."""
        self.seed = seed
        self._inside = heads_of(self.net, circuit)

    @property
    def shape(self) -> TransformerShape:
        """Sizes and options of the net."""
        return self.net.shape

    def forward(self, inputs: Inputs) -> Outputs:
        """Returns the logits, or the predicted numbers, at every position."""
        return self.net(inputs)

    @property
    def embedding(self) -> Float[Tensor, "token d_model"]:
        """What stands for each token."""
        return self.net.embed.W_E

    @property
    def limits(self) -> tuple[int, int, int | None]:
        """The tokens and positions that the net has, and the width of the vectors that it reads instead of tokens."""
        return self.shape.d_vocab, self.shape.n_ctx, self.shape.d_input

    def task_quantities(self, batch: Sequences) -> list[TaskQuantity]:
        """Returns the accuracy over the targets and the heads' attention scores; none of a net that reads vectors."""
        found = super().task_quantities(batch)
        return [*found, *score_quantities(self.net, batch[0], prefix="net")] if found else []

    def ground_truth(self, *, edges: bool = False) -> dict[str, str]:
        """Returns what every head is known to do by construction, by its address; '' for one that must not matter.

        It is empty for a net that was trained as usual, of which nothing is known.

        Args:
            edges: Whether to add the edges of which something is known, by their texts: the role of one that matters,
                '' of one that must not. A ``?`` in a text stands for the one of queries, keys and values, unknown
                which, that matters (:func:`~llc_lightning.models.edge_truth.edges_by_heads`).
        """
        if self.circuit is None:
            return {}
        heads = [(layer, head) for layer in range(self.shape.n_layers) for head in range(self.shape.n_heads)]
        known = {f"net.blocks.{i}.attn.hook_z[{j}]": self.circuit.get(f"{i}.{j}", "") for i, j in heads}
        if not edges:
            return known
        return known | (self.known_edges or edges_by_heads(self.shape, self.circuit))

    def matters(self) -> dict[str, bool]:
        """Returns by address whether a head matters; nothing of a net whose circuit was not enforced."""
        return {address: bool(role) for address, role in self.ground_truth().items()}

    def training_loss(self, outputs: Outputs, batch: Sequences) -> Tensor:
        """Returns what is minimised: the mean loss of a batch.

        With a circuit, the loss under interchange is added to it, and logged as ``train/interchange_loss``.
        """
        loss = super().training_loss(outputs, batch)
        if self.circuit is None:
            return loss
        draw = self.trainer.global_step * self.trainer.world_size + self.trainer.global_rank
        strict = mean_loss(interchanged_outputs(self.net, batch, self._inside, seed=self.seed, draw=draw), batch[1])
        if logs_now(self):
            self.log("train/interchange_loss", strict)
        return loss + strict
