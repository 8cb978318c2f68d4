"""What is captured of a module stays as it was, whatever the module does with it afterwards."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.runtime.errors import DataError, SettingError

X = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 1))

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return (self.net(batch)[:, 0] - batch.sum(-1)).square()


METHODS = ["zero", "mean", "resample", "noise", "optimal(steps=5)"]


@pytest.mark.parametrize("components", [["net.0[1]"], ["net.0[0,2]"], ["net.0"]])
def test_a_module_that_writes_over_an_activation_has_the_effects_of_one_that_does_not(components: list[str]) -> None:
    plain, writing = (
        ablation_effects(Net(inplace=inplace), X, components=components, methods=METHODS, seed=0)
        for inplace in (False, True)
    )
    assert plain["value"].tolist() == pytest.approx(writing["value"].tolist(), rel=1e-5, abs=1e-7)


class Positions(nn.Module):
    """An activation that belongs to positions, of which there are as many as examples in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(64, 4), nn.Linear(4, 1)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.read(batch[..., None] + self.embed(torch.arange(64))).square().mean((1, 2))


def test_an_activation_without_an_axis_of_examples_is_refused() -> None:
    with pytest.raises(DataError, match=r"the activation at 'embed' has shape \(64, 4\) .* on a batch of 3"):
        ablation_effects(Positions(), torch.randn(64, 64), components="embed", methods="mean", seed=0)


class Writing(Net):
    """A loss that halves its batch in place."""

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return super().per_example_loss(batch.mul_(0.5))


def test_a_loss_that_writes_to_its_batch_is_refused_and_the_data_stay() -> None:
    data = X[:64].clone()
    with pytest.raises(SettingError, match="do not write to the batch"):
        ablation_effects(Writing(inplace=False), data, components="net.0[1]", methods="mean", seed=0)
    assert torch.equal(data, X[:64])


class Together(Net):
    """A loss that looks at the other examples."""

    def per_example_loss(self, batch: Tensor) -> Tensor:
        losses = super().per_example_loss(batch)
        return losses / losses.mean()


class Chance(Net):
    """Dropout that is never switched off."""

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return super().per_example_loss(torch.nn.functional.dropout(batch, 0.5))


@pytest.mark.parametrize("kind", [Together, Chance])
@pytest.mark.parametrize("n", [2, 10, 80])
def test_a_loss_of_more_than_weights_and_example_is_refused(kind: type[Net], n: int) -> None:
    torch.manual_seed(0)
    with pytest.raises(SettingError, match=r"in one batch and .* in another"):
        ablation_effects(kind(inplace=False), X[:n], components="net.0[1]", methods="zero", seed=0)
