"""Masked runs of attention alone, without the module, are those with it."""

import pytest
import torch

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.by_hand import ByHand
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from tests.circuits.nets import SMALL, net, question


def of_heads(metric: str = "") -> Question:
    """Returns what is asked of a transformer of attention alone, with three layers."""
    model, batch = TransformerModel(**SMALL, n_layers=3, norm="layer", seed=5), net("layer")[1]
    with torch.no_grad():
        stream = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    return Question.of(
        loss_fn(model), snapshot_params(model), batch, Graph.of(model), "resample(draws=2)", metric, seed=0
    )


@pytest.mark.parametrize("metric", ["", "kl"])
def test_losses_are_those_of_the_module_under_every_mask(metric: str) -> None:
    by_hand, by_module = (MaskedRuns(Subject(of_heads(metric), block=8)) for _ in range(2))
    assert by_hand.by_hand.holds
    by_module.by_hand.holds = False
    stream = torch.Generator().manual_seed(1)
    count = len(by_hand.edges)
    masks = (torch.rand(9, count, generator=stream) < torch.linspace(0.5, 1, 9)[:, None]).float()
    shares, given = torch.rand(2, 3, count, generator=stream)
    with torch.no_grad():
        assert torch.allclose(by_hand(masks), by_module(masks), atol=1e-5)
        assert torch.allclose(by_hand(shares, given=given), by_module(shares, given=given), atol=1e-5)
        # What was read of donors is kept, and serves other masks with the same shares.
        assert torch.allclose(by_hand(masks[[8, 0, 0, 3, 5]]), by_module(masks[[8, 0, 0, 3, 5]]), atol=1e-5)


def test_only_transformers_of_attention_alone_are_run_by_hand() -> None:
    assert ByHand(Subject(question("hand_built"))).holds
    assert not ByHand(Subject(question("layer"))).holds
    assert not ByHand(Subject(question("rotary"))).holds
