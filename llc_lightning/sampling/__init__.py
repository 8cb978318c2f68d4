"""Markov chains around a weight setting: posterior, samplers, and the batched driver."""
