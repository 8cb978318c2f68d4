"""Projection off the principal directions."""

import pytest
import torch

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import Activations
from llc_lightning.ablation.methods.project import Project
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data


def test_the_largest_direction_is_taken_out_and_the_rest_stays() -> None:
    direction = torch.tensor([3.0, 4.0, 0.0]) / 5
    rest = torch.tensor([0.0, 0.0, 1.0]) * torch.randn(200, 1)
    reference = 2 + 10 * torch.randn(200, 1) * direction + rest
    (value,) = Project().values(Activations(reference), [torch.arange(200)], seed=0)
    kept = value[0] - value[0].mean(0)
    assert (kept @ direction).abs().max() < 0.05
    torch.testing.assert_close(value[0].mean(0), reference.mean(0), atol=1e-4, rtol=1e-4)
    assert (kept[:, 2] - (rest - rest.mean(0))[:, 2]).abs().max() < 0.3


def test_all_directions_leave_the_mean() -> None:
    reference = torch.randn(50, 4, 3)
    (value,) = Project(rank=3).values(Activations(reference), [torch.arange(50)], seed=0)
    torch.testing.assert_close(value[0], reference.mean((0, 1)).expand(50, 4, 3), atol=1e-5, rtol=1e-5)


def test_what_is_not_allowed() -> None:
    with pytest.raises(SettingError, match=r"^rank is 0; project off at least 1 direction\.$"):
        Project(rank=0)
    with pytest.raises(SettingError, match=r"^rank is 4, but the activation has 3 directions; give at most that\.$"):
        list(Project(rank=4).values(Activations(torch.randn(9, 3)), [torch.arange(9)], seed=0))
    with pytest.raises(SettingError) as error:
        ablation_effects(Circuits(), circuits_data(9), "hook_hidden[0]", "project")
    assert str(error.value) == (
        "the ablation method 'project' mixes units, so it cannot ablate 'hook_hidden[0]'; ablate whole hook points "
        "with "
        "it, such as 'layers'."
    )
