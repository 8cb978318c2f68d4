"""What happens to the loss when a part of a network is taken away: methods, the batched sweep, a table."""

from llc_lightning.ablation.base import METHODS, Method, Seen, Shared, method_of, resolve_methods
from llc_lightning.ablation.counterfactual import Counterfactual
from llc_lightning.ablation.effect import Effect
from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.ablation.fitted import Fitted
from llc_lightning.ablation.mean import Mean
from llc_lightning.ablation.metrics import METRICS, Metric
from llc_lightning.ablation.noise import Noise
from llc_lightning.ablation.optimal import Optimal
from llc_lightning.ablation.project import Project
from llc_lightning.ablation.resample import Resample
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.zero import Zero

__all__ = [
    "METHODS",
    "METRICS",
    "Counterfactual",
    "Effect",
    "Fitted",
    "Mean",
    "Method",
    "Metric",
    "Noise",
    "Optimal",
    "Project",
    "Resample",
    "Seen",
    "Shared",
    "Zero",
    "ablation_effects",
    "method_of",
    "resolve_methods",
    "sweep",
]
