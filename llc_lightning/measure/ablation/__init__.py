"""Ablation effects, as a kind of measurement."""

from llc_lightning.measure.ablation.kind import AblationKind as AblationKind
