"""The LLC under ablation where the truth is known: what removing a unit changes, and whether the numbers close."""

from benchmarks.under_ablation.command import main as main
