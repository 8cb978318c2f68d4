"""The local learning coefficient under ablation, as a kind of measurement."""

from llc_lightning.measure.ablated_llc.rows import AblatedLLCMeasurement as AblatedLLCMeasurement
