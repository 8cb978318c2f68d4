"""What else is asked by exchanging activations: patching, paths, tracing, scrubbing, and constants as weights."""
