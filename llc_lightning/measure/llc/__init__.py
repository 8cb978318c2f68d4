"""The local learning coefficient, as a kind of measurement."""

from llc_lightning.measure.llc.rows import LLCMeasurement as LLCMeasurement
