"""Metrics refuse what would give a number that means nothing."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.metrics import Metric, Own
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import DataError

X = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (100,), generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A classifier that gives its logits."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.one, self.two = nn.Linear(4, 5), nn.Linear(5, classes)

    def logits(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.two(self.one(batch[0]).relu())

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(self.logits(batch), batch[1].flatten(), reduction="none")


def values(data: Batch, metric: str | Metric, net: nn.Module | None = None) -> dict[str, float]:
    table = ablation_effects(net or Net(), data, "one[0]", "zero", metrics=[metric])
    return {row.loss: row.value for row in table.itertuples()}


def test_targets_of_another_shape_are_refused() -> None:
    assert math.isfinite(values((X, Y), "accuracy")["metric:accuracy"])
    with pytest.raises(
        DataError, match=r"the targets '1' of 'accuracy' have shape \(100, 1\) and the answers \(100,\)"
    ):
        values((X, Y[:, None]), "accuracy")


def test_a_metric_of_ones_own_gives_one_number_for_each_example() -> None:
    with pytest.raises(DataError, match="the metric 'mean' returned shape"):
        values((X, Y), Own(function=lambda outputs, clean, batch: outputs.mean(), title="mean"))


def test_one_class_has_no_divergence() -> None:
    with pytest.raises(DataError, match="'kl' compares the probabilities of classes, and the outputs have one"):
        values((X, torch.zeros(100, dtype=torch.long)), "kl", Net(classes=1))


@pytest.mark.parametrize("metric", ["accuracy", "kl"])
def test_outputs_that_are_no_numbers_give_none(metric: str) -> None:
    broken = X.clone()
    broken[3] = math.nan
    assert math.isnan(values((broken, Y), metric)[f"metric:{metric}"])
