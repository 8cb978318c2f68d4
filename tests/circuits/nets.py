"""Small transformers whose weights are as large as trained ones, and examples for them."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.base import SequenceTask
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.data.sequences.ioi import IndirectObject
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.models.transformer import TransformerModel

Sequences = tuple[Tensor, Tensor]


class Bridged(nn.Module):
    """A bridge of TransformerLens with a loss per example."""

    def __init__(self, **options: Any) -> None:
        from transformer_lens.config import TransformerBridgeConfig
        from transformer_lens.model_bridge import TransformerBridge

        super().__init__()
        sizes = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 6, "n_ctx": 5, "d_vocab": 7}
        self.net = TransformerBridge.boot_native(TransformerBridgeConfig(**sizes, act_fn="gelu", seed=0, **options))

    def per_example_loss(self, batch: Sequences) -> Tensor:
        tokens, targets = batch
        return F.cross_entropy(self.net(tokens).mT, targets, reduction="none").mean(-1)


SMALL: dict[str, Any] = {"d_vocab": 7, "n_ctx": 5, "d_model": 8, "n_heads": 2}
NETS: dict[str, Callable[[], TransformerModel]] = {
    "hand_built": hand_built_induction,
    "layer": lambda: TransformerModel(**SMALL, norm="layer", d_mlp=12, seed=1),
    "rms": lambda: TransformerModel(**SMALL, norm="rms", d_mlp=12, act="silu", seed=2),
    "rotary": lambda: TransformerModel(**SMALL, norm="layer", positions="rotary", seed=3),
    "no_norm": lambda: TransformerModel(**SMALL, norm="none", d_mlp=6, act="gelu", seed=4),
}
WIDE: dict[str, Any] = {"n_heads": 4, "d_model": 64}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "induction_strict": lambda: TransformerModel(32, 32, **WIDE, circuit={"0.1": "previous-token", "1.2": "induction"}),
    "ioi_strict": lambda: TransformerModel(
        25, 12, **WIDE, circuit={"0.0": "subject-finder", "0.3": "subject-finder", "1.1": "name-mover"}
    ),
    "bridge": Bridged,
}
"""Nets on which edges are exact as well, of the shapes of the strict nets that the zoo trains, and of another make."""
TASKS: dict[str, SequenceTask] = {"hand_built": TASK, "induction_strict": Induction(), "ioi_strict": IndirectObject()}
N = 12


@functools.cache
def net(name: str) -> tuple[Any, Sequences]:
    """Returns a net and examples."""
    model = (NETS | OTHERS)[name]()
    stream = torch.Generator().manual_seed(0)
    if name != "hand_built":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_((0.1 if name in TASKS else 0.3) * torch.randn(parameter.shape, generator=stream))
    if name in TASKS:
        return model, SequenceData(TASKS[name], analysis_size=N).analysis_set()
    tokens = torch.randint(7, (N, 6), generator=stream)
    return model, (tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


def partner(batch: Sequences) -> Sequences:
    """Returns a counterfactual partner of each example."""
    return batch[0].flip(0), batch[1]


def question(name: str, donor: str = "resample(draws=1)", metric: str = "", **options: Any) -> Question:
    """Returns what is asked of a net's edges."""
    model, batch = net(name)
    graph = Graph.of(model, **options)
    return Question.of(
        loss_fn(model), snapshot_params(model), batch, graph, donor, metric, seed=0, counterfactual=partner(batch)
    )
