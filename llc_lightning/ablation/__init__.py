"""What happens to the loss when a part of a network is taken away: methods, the batched sweep, a table."""

from llc_lightning.ablation.base import METHODS, Activations, Method, Shared, method_of, resolve_methods
from llc_lightning.ablation.counterfactual import Counterfactual
from llc_lightning.ablation.effect import Effect
from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.ablation.fitted import Fitted
from llc_lightning.ablation.mean import Mean
from llc_lightning.ablation.metrics import KL, METRICS, Accuracy, LogitDifference, Metric, Own
from llc_lightning.ablation.noise import Noise
from llc_lightning.ablation.optimal import Optimal
from llc_lightning.ablation.patching import patching
from llc_lightning.ablation.path_patching import path_patching
from llc_lightning.ablation.project import Project
from llc_lightning.ablation.resample import Resample
from llc_lightning.ablation.scrubbing import Node, Scrubbed, scrubbing
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.tracing import tracing
from llc_lightning.ablation.weight_edit import weight_edit
from llc_lightning.ablation.zero import Zero

__all__ = [
    "KL",
    "METHODS",
    "METRICS",
    "Accuracy",
    "Activations",
    "Counterfactual",
    "Effect",
    "Fitted",
    "LogitDifference",
    "Mean",
    "Method",
    "Metric",
    "Node",
    "Noise",
    "Optimal",
    "Own",
    "Project",
    "Resample",
    "Scrubbed",
    "Shared",
    "Zero",
    "ablation_effects",
    "method_of",
    "patching",
    "path_patching",
    "resolve_methods",
    "scrubbing",
    "sweep",
    "tracing",
    "weight_edit",
]
