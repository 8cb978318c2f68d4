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


class Sequence(nn.Module):
    """A classifier of every position, whose last block can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        return self.two(self.one(batch["x"]).relu())

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(self.logits(batch).mT, batch["y"], reduction="none").mean(-1)


@torch.no_grad()
def test_all_last_and_chosen_positions_by_hand() -> None:
    stream = torch.Generator().manual_seed(4)
    n, size = 40, 6
    batch = {
        "x": torch.randn(n, size, 4, generator=stream),
        "y": torch.randint(3, (n, size), generator=stream),
        "right": torch.randint(3, (n,), generator=stream),
        "wrong": torch.randint(3, (n,), generator=stream),
        "place": torch.randint(-size, size, (n,), generator=stream),
        "some": torch.arange(size).expand(n, size) % 2 == 0,
        "counts": torch.arange(size) < torch.randint(1, size + 1, (n, 1), generator=stream),
    }
    batch["within"] = torch.minimum(batch["counts"].sum(1) - 1, batch["place"].abs() % size)
    net, row = Sequence(), torch.arange(n)
    clean = net.logits(batch)
    ablated = net.two(torch.where(torch.arange(5) == 0, 0.0, net.one(batch["x"])).relu())
    kl = F.kl_div(ablated.log_softmax(-1), clean.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    right = (ablated.argmax(-1) == batch["y"]).float() - (clean.argmax(-1) == batch["y"]).float()
    gap = [logits[row, :, batch["right"]] - logits[row, :, batch["wrong"]] for logits in (ablated, clean)]
    values = {"kl": kl, "accuracy(target=y": right, "logit_difference(right=right,wrong=wrong": gap[0] - gap[1]}
    for masked in (False, True):
        real = batch["counts"] if masked else torch.ones_like(batch["counts"])
        last = real.sum(1) - 1
        for name, each in values.items():
            ways = {
                "": each[row, last] if name.startswith("logit") else (each * real).sum(1) / real.sum(1),
                "at=within": each[row, batch["within"]],
                "at=some": (each * (real & batch["some"])).sum(1) / (real & batch["some"]).sum(1),
            }
            if not masked:
                ways["at=place"] = each[row, batch["place"]]
            if not name.startswith("logit"):
                ways["last=true"] = each[row, last]
            for way, expected in ways.items():
                options = [one for one in (name.partition("(")[2], way) if one]
                text = f"{name.partition('(')[0]}({','.join(options)})" if options else name
                found = ablation_effects(net, batch, "one[0]", "zero", metrics=text, mask="counts" if masked else "")
                assert found["value"][1] == pytest.approx(float(expected.mean()), abs=1e-6), (text, masked)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("last", [False, True])
@torch.no_grad()
def test_targets_some_positions_ahead_by_hand(masked: bool, last: bool) -> None:
    stream = torch.Generator().manual_seed(5)
    n, size = 40, 6
    lengths = torch.randint(3, size + 1, (n, 1), generator=stream) if masked else torch.full((n, 1), size)
    batch = {
        "x": torch.randn(n, size, 4, generator=stream),
        "y": torch.randint(3, (n, size), generator=stream),
        "counts": torch.arange(size) < lengths,
    }
    net = Sequence()
    ablated = net.two(torch.where(torch.arange(5) == 1, 0.0, net.one(batch["x"])).relu())
    by_example: list[float] = []
    for i, length in enumerate(lengths.flatten().tolist()):
        places = [length - 3] if last else range(length - 2)
        right = [
            float(logits[i, at].argmax() == batch["y"][i, at + 2])
            for logits in (ablated, net.logits(batch))
            for at in places
        ]
        half = len(right) // 2
        by_example.append((sum(right[:half]) - sum(right[half:])) / half)
    name = f"accuracy(target=y,shift=2,last={str(last).lower()})"
    found = ablation_effects(net, batch, "one[1]", "zero", metrics=name, mask="counts" if masked else "")
    assert found["value"][1] == pytest.approx(sum(by_example) / n, abs=1e-6)
    assert any(by_example)
