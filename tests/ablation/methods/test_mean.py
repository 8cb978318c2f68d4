"""Mean ablation."""

import torch

from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.methods.mean import Mean


def test_the_mean_over_examples_at_each_position() -> None:
    reference = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, -2.0], [3.0, 0.5]]])
    (values,) = Mean().values(Activations(reference), [torch.arange(2)], seed=0)
    assert torch.equal(values, torch.tensor([[[[3.0, 0.0], [3.0, 2.25]]]]))


def test_a_long_mean_is_exact() -> None:
    reference = torch.full((1 << 20, 1), 0.1)
    reference[0] = 1e6
    (values,) = Mean().values(Activations(reference), [torch.arange(2)], seed=0)
    exact = (1e6 + ((1 << 20) - 1) * float(torch.tensor(0.1))) / (1 << 20)
    assert values.item() == torch.tensor(exact).item()
