"""What happens to the loss when a part of a network is taken away: methods, the batched sweep, a table."""

from llc_lightning.ablation.base import METHODS, Method, resolve_methods
from llc_lightning.ablation.effect import Effect
from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.ablation.mean import Mean
from llc_lightning.ablation.noise import Noise
from llc_lightning.ablation.resample import Resample
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.zero import Zero

__all__ = [
    "METHODS",
    "Effect",
    "Mean",
    "Method",
    "Noise",
    "Resample",
    "Zero",
    "ablation_effects",
    "resolve_methods",
    "sweep",
]
