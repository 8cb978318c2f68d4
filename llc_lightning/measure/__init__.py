"""What to measure and how a measurement becomes rows: the one room where sampling and ablation meet."""
