"""What happens to the loss when a part of a network is taken away: methods, the batched sweep, a table."""

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.ablation.engine.base import (
    METHODS,
    Activations,
    Method,
    Shared,
    WeightMethod,
    method_of,
    resolve_methods,
)
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.replacing import Fitted
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.ablation.memory import effects_memory
from llc_lightning.ablation.methods.counterfactual import Counterfactual
from llc_lightning.ablation.methods.low_rank import LowRank
from llc_lightning.ablation.methods.mean import Mean
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.ablation.methods.optimal import Optimal
from llc_lightning.ablation.methods.project import Project
from llc_lightning.ablation.methods.quantise import Quantise
from llc_lightning.ablation.methods.resample import Resample
from llc_lightning.ablation.methods.weight_noise import WeightNoise
from llc_lightning.ablation.methods.weight_zero import WeightZero
from llc_lightning.ablation.methods.zero import Zero
from llc_lightning.ablation.metrics import KL, METRICS, Accuracy, LogitDifference, Metric, Own
from llc_lightning.ablation.procedures.attribution import attribution
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.path_patching import path_patching
from llc_lightning.ablation.procedures.scrubbing import Node, Scrubbed, scrubbing
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.ablation.procedures.weight_edit import weight_edit
from llc_lightning.runtime.registry import register_all

register_all("llc_lightning.ablation.methods")

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
    "LowRank",
    "Mean",
    "Method",
    "Metric",
    "Node",
    "Noise",
    "Optimal",
    "Own",
    "Project",
    "Quantise",
    "Resample",
    "Scrubbed",
    "Shared",
    "Weight",
    "WeightMethod",
    "WeightNoise",
    "WeightZero",
    "Zero",
    "ablation_effects",
    "attribution",
    "effects_memory",
    "method_of",
    "patching",
    "path_patching",
    "resolve_methods",
    "scrubbing",
    "sweep",
    "tracing",
    "weight_edit",
]
