"""Copies among the examples are told, and what independent draws repeat is not."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation import patching
from llc_lightning.ablation.engine.repeats import warn_of_repeats
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        nn.init.eye_(self.layer.weight)
        nn.init.ones_(self.layer.bias)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.layer(batch[0]).sum(-1) - batch[1]).square()


def _examples(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=stream), torch.randn(n, generator=stream)


def _twice(batch: tuple[Tensor, Tensor], first: int) -> tuple[Tensor, Tensor]:
    x, y = batch
    return torch.cat([x, x[:first]]), torch.cat([y, y[:first]])


@pytest.mark.parametrize("first", [100, 40])
def test_copies_are_told(first: int) -> None:
    batch = _twice(_examples(100), first)
    with pytest.warns(UserWarning, match=f"of the {100 + first} examples only 100 differ"):
        table = ablation_effects(Net(), batch, "layer", "zero")
    once = ablation_effects(Net(), _examples(100), "layer", "zero")
    if first == 100:  # the reason to tell it
        assert float(once["stderr"].iloc[0] / table["stderr"].iloc[0]) == pytest.approx(2**0.5, rel=0.01)


def _sampled(values: Tensor, n: int) -> Tensor:
    return values[torch.randint(len(values), (n,), generator=torch.Generator().manual_seed(1))]


_STREAM = torch.Generator().manual_seed(0)
INDEPENDENT = {
    "no two alike": torch.randn(300, 4, generator=_STREAM),
    "a few copies": torch.cat([torch.randn(300, 4, generator=_STREAM)] * 2)[:310],
    "four values": _sampled(torch.arange(4), 999),
    "many values": _sampled(torch.arange(150), 1000),
    "often the same": torch.where(torch.rand(1000, generator=_STREAM) < 0.6, 0.0, torch.rand(1000, generator=_STREAM)),
    "all the same": torch.ones(64, 2),
    "one example": torch.ones(1, 1),
    "sparse circuits": CISData(size=4).analysis_set(2048),
    "bits": torch.rand(5000, 6, generator=_STREAM) < 0.5,
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_what_independent_draws_repeat_is_not(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_repeats(INDEPENDENT[name])


def test_examples_with_other_targets_or_partners_are_not_the_same() -> None:
    (x, y), (_, other) = _examples(100), _examples(100, seed=1)
    doubled = torch.cat([x, x]), torch.cat([y, other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_repeats(doubled)
        warn_of_repeats(_twice((x, y), 100), torch.randn(200, 3))
    loss, params = loss_fn(Net()), snapshot_params(Net())
    with pytest.warns(UserWarning, match="only 100 differ"):
        patching(loss, params, _twice((x, y), 100), _twice(_examples(100, seed=2), 100), "layer")
