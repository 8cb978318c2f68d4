"""The connections of a network: which of them make its computation."""
