"""What the stored rows say: trajectories, the headline curve, agreement, the verdict on superposition, health.

Everything here is a function of the measurement table alone: no model, no weights, no sampling.
"""
