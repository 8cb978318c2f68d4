"""Small transformers whose weights are as large as trained ones, and examples for them."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.models.transformer import TransformerModel

SMALL: dict[str, Any] = {"d_vocab": 7, "n_ctx": 5, "d_model": 8, "n_heads": 2}
NETS: dict[str, Callable[[], TransformerModel]] = {
    "hand_built": hand_built_induction,
    "layer": lambda: TransformerModel(**SMALL, norm="layer", d_mlp=12, seed=1),
    "rms": lambda: TransformerModel(**SMALL, norm="rms", d_mlp=12, act="silu", seed=2),
    "rotary": lambda: TransformerModel(**SMALL, norm="layer", positions="rotary", seed=3),
    "no_norm": lambda: TransformerModel(**SMALL, norm="none", d_mlp=6, act="gelu", seed=4),
}
N = 12

Sequences = tuple[Tensor, Tensor]


@functools.cache
def net(name: str) -> tuple[TransformerModel, Sequences]:
    """Returns a net and examples."""
    model = NETS[name]()
    if name == "hand_built":
        return model, SequenceData(TASK, analysis_size=N).analysis_set()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
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
