"""Ablation effects, as a kind of measurement."""

from llc_lightning.measure.ablation.rows import AblationMeasurement as AblationMeasurement
