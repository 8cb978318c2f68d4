"""How ablations are run: what a method is, many of them in one forward pass, effects with their errors."""
