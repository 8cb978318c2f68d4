"""The LightningModule that trains small transformers."""

from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import Inputs, Outputs, Sequences, SequenceTask
from llc_lightning.models.head_scores import score_quantities
from llc_lightning.models.optimizer import adamw, checked_optimizer
from llc_lightning.models.position_losses import mean_loss, sequence_hits, sequence_losses
from llc_lightning.models.strict import heads_of, interchanged_outputs
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.models.transformer_shape import TransformerShape
from llc_lightning.runtime.batches import chunks
from llc_lightning.runtime.errors import DataError

_BLOCK = 1024


class TransformerModel(L.LightningModule):
    """Trains a :class:`Transformer` to predict: tokens, by cross-entropy in nats, or numbers, by squared error.

    An example is a sequence, its loss the mean over the positions that have a target. The same value is trained on,
    sampled and ablated.

    Args:
        d_vocab: Tokens that there are.
        n_ctx: Positions at most.
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
        super().__init__()
        shape = TransformerShape(
            d_vocab=d_vocab, n_ctx=n_ctx, n_layers=n_layers, n_heads=n_heads, d_model=d_model, d_head=d_head,
            d_mlp=d_mlp, act=act, norm=norm, positions=positions, d_input=d_input,
            d_vocab_out=None if d_input is None else 1, head_results=head_results,
        )  # fmt: skip
        self.optimizer_settings = checked_optimizer(
            learning_rate, weight_decay, betas, schedule, warmup_steps, total_steps
        )
        self.save_hyperparameters()
        self.net = Transformer(shape, seed=seed)
        self.circuit = circuit
        self.seed = seed
        self._inside = heads_of(self.net, circuit or {})

    @property
    def shape(self) -> TransformerShape:
        """Sizes and options of the net."""
        return self.net.shape

    def forward(self, inputs: Inputs) -> Outputs:
        """Returns the logits, or the predicted numbers, at every position."""
        return self.net(inputs)

    def per_example_loss(self, batch: Sequences) -> Float[Tensor, "example"]:
        """Returns the loss of every sequence, the mean over its targets."""
        inputs, targets = batch
        return sequence_losses(self.net(inputs), targets)

    def task_quantities(self, batch: Sequences) -> list[TaskQuantity]:
        """Returns the accuracy over the targets and the heads' attention scores; none of a net that reads vectors."""
        inputs, targets = batch
        if targets.is_floating_point():
            return []
        with torch.no_grad():
            blocks = chunks(len(inputs), _BLOCK)
            hits = torch.cat([sequence_hits(self.net(inputs[rows]), targets[rows]) for rows in blocks])
        n = len(hits)
        error = float(hits.std()) / n**0.5 if n > 1 else 0.0
        accuracy = TaskQuantity("accuracy", float(hits.mean()), error, n)
        return [accuracy, *score_quantities(self.net, inputs, prefix="net")]

    def ground_truth(self) -> dict[str, str]:
        """Returns what every head is known to do by construction, by its address; '' for one that must not matter.

        It is empty for a net that was trained as usual, of which nothing is known.
        """
        if self.circuit is None:
            return {}
        heads = [(layer, head) for layer in range(self.shape.n_layers) for head in range(self.shape.n_heads)]
        return {f"net.blocks.{i}.attn.hook_z[{j}]": self.circuit.get(f"{i}.{j}", "") for i, j in heads}

    def training_step(self, batch: Sequences, batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch, and logs it with the accuracy every ``log_every_n_steps`` steps.

        With a circuit, the loss under interchange is added to it, and logged as ``train/interchange_loss``.
        """
        inputs, targets = batch
        outputs = self.net(inputs)
        loss = mean_loss(outputs, targets)
        if self._logs_now():
            self.log("train/loss", loss, prog_bar=True)
            if not targets.is_floating_point():
                self.log("train/accuracy", sequence_hits(outputs.detach(), targets).mean())
        if self.circuit is None:
            return loss
        interchanged = interchanged_outputs(
            self.net, batch, self._inside, seed=self.seed, step=self.trainer.global_step
        )
        strict = mean_loss(interchanged, targets)
        if self._logs_now():
            self.log("train/interchange_loss", strict)
        return loss + strict

    def validation_step(self, batch: Sequences, batch_idx: int) -> None:
        """Logs the loss, the accuracy and the task's own metrics over the validation examples."""
        inputs, targets = batch
        outputs = self.net(inputs)
        named = {"val/loss": sequence_losses(outputs, targets)}
        if not targets.is_floating_point():
            named["val/accuracy"] = sequence_hits(outputs, targets)
        task = self._task()
        if task is not None:
            named |= {f"val/{name}": values for name, values in task.metrics(outputs, batch).items()}
        for name, values in named.items():
            self.log(name, values.mean(), prog_bar=name == "val/loss", sync_dist=True, batch_size=len(inputs))

    def on_validation_epoch_end(self) -> None:
        """Logs the losses of the data's simple predictors beside the net's."""
        trainer: Any = self.trainer
        if isinstance(trainer.datamodule, SequenceData):
            for name, value in trainer.datamodule.baselines().items():
                self.log(f"baseline/{name}", value, rank_zero_only=True)

    def setup(self, stage: str) -> None:
        """Checks that the net can read the data.

        Raises:
            DataError: If it has too few tokens or positions, or reads vectors of another width.
        """
        task, shape = self._task(), self.shape
        if task is None:
            return
        if task.width != shape.d_input:
            raise DataError(
                f"the data are {_described(task.width)}, but the model reads {_described(shape.d_input)}; set d_input "
                f"to {'null' if task.width is None else task.width}."
            )
        for name, needed, there in (("d_vocab", task.vocabulary, shape.d_vocab), ("n_ctx", task.length, shape.n_ctx)):
            if needed > there:
                raise DataError(f"the data need {name} to be at least {needed}, but the model has {there}; raise it.")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns AdamW with its schedule.

        Raises:
            SettingError: If neither ``total_steps`` nor the trainer's ``max_steps`` says how long the cosine is.
        """
        return adamw(self.parameters(), self.optimizer_settings, max_steps=self.trainer.max_steps)

    def _task(self) -> SequenceTask | None:
        trainer: Any = self.trainer
        return trainer.datamodule.task if isinstance(trainer.datamodule, SequenceData) else None

    def _logs_now(self) -> bool:
        # Lightning throws away what is logged at other steps; logging there anyway would double the time of a step.
        trainer: Any = self.trainer
        every: int = trainer.log_every_n_steps
        return every > 0 and (self.trainer.global_step + 1) % every == 0


def _described(width: int | None) -> str:
    return "tokens" if width is None else f"vectors of {width} numbers"
