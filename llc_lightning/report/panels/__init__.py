"""The figures of a run: which rows each shows, and the sentence above it."""
