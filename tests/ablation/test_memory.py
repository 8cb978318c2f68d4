"""What is told of the memory before a call is kept."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from llc_lightning import ablation_effects
from llc_lightning.ablation import effects_memory
from llc_lightning.ablation.memory import Live
from tests.ablation.nets import Circuits, Images, Tokens, circuits_data

_STREAM = torch.Generator().manual_seed(0)
CASES: dict[str, tuple[Callable[[], nn.Module], Any, Any, dict[str, Any]]] = {
    "a sweep with tasks": (Circuits, circuits_data(2000), "neurons", {"methods": ["zero", "mean", "resample"]}),
    "resamples": (Circuits, circuits_data(1000), "neurons", {"methods": ["mean", "resample"], "resamples": 99}),
    "few examples": (Circuits, circuits_data(5), "neurons", {"methods": ["zero", "noise"]}),
    "edited weights": (Circuits, circuits_data(2000), "neurons", {"methods": ["weight_zero", "quantise"]}),
    "channels of images": (
        Images,
        {"image": torch.randn(300, 2, 8, 8, generator=_STREAM), "label": torch.arange(300) % 4},
        ["conv[*]", "mix[*]"],
        {"methods": ["zero", "resample"]},
    ),
    "tokens, few at a time": (
        Tokens,
        torch.randint(11, (200, 9), generator=_STREAM),
        ["hook_z", "embed"],
        {"methods": ["mean", "resample"], "chunk": 2},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_below_what_was_told(name: str) -> None:
    make, batch, components, more = CASES[name]
    module = make().eval()
    told = effects_memory(module, batch, components, **more)
    with Live() as live:
        ablation_effects(module, batch, components, **more)
    assert told / 20 < live.peak <= told
