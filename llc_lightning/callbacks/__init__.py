"""Lightning callbacks: when to measure, without touching the training, and where to keep what was measured."""
