"""The local learning coefficient: estimates, their errors, and whether to trust them."""
