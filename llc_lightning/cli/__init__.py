"""The two commands: train, and analyze what a run left."""
