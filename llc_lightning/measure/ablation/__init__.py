"""Ablation effects, as a kind of measurement."""

from llc_lightning.measure.ablation.measurement import AblationMeasurement as AblationMeasurement
