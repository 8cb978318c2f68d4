"""Zero ablation."""

import torch

from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.methods.zero import Zero


def test_zeros_of_the_activation_s_shape_and_type() -> None:
    values = list(
        Zero().values(
            Activations(torch.ones(1, 3, 2, dtype=torch.bfloat16)), [torch.arange(4), torch.arange(4)], seed=0
        )
    )
    assert len(values) == 2
    assert all(torch.equal(value, torch.zeros(1, 1, 3, 2, dtype=torch.bfloat16)) for value in values)
