"""Ways to score edges: a file here is one of them."""
