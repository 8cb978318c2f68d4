"""Connections and circuits, as a kind of measurement."""

from llc_lightning.measure.circuit.rows import CircuitMeasurement as CircuitMeasurement
