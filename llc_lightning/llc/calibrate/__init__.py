"""Chooses how to run chains, and says whether the choice can be trusted."""
